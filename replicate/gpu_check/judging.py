"""The check's answer: every figure against a stated tolerance, as JSON and as a Markdown page."""

import dataclasses
import importlib.metadata
import pathlib
import platform
import re

from replicate import devices, environment
from replicate.errors import UserError
from replicate.gpu_check.variants import REHEARSED, VARIANTS
from replicate.run import write_json, write_text

TOTAL = "Loss/total_loss"
#: By how much losses may differ from the CPU's in float32, relative. Chosen, before any GPU was
#: seen: float32 sums in another order, TensorFloat-32 has 10 bits of mantissa, bfloat16 7.
TOLERANCES = {"float32": 1e-3, "TF32": 1e-2, "float16": 2e-2, "bfloat16": 5e-2}
#: Which proposals a two-stage model samples follows from the order of their scores, which a rounded
#: score changes; its total loss in a reduced precision is held to this alone.
OF_PROPOSALS = 0.5
_REPLICAS = 1e-4
#: Dense peaks in TFLOPS, (TensorFloat-32 or else float32, bfloat16 or else float16), of NVIDIA's
#: data sheets.
_PEAKS = (
    (r"H200|H100.*(SXM|HBM3)", (494.7, 989.4)),
    (r"H100.*PCIe", (378.0, 756.0)),
    (r"A100", (156.0, 312.0)),
    (r"\bL4\b", (60.0, 121.0)),
    (r"\bA10\b", (62.5, 125.0)),
    (r"V100", (15.7, 125.0)),
    (r"\bT4\b", (8.1, 65.0)),
)


@dataclasses.dataclass(frozen=True)
class MachineVerdict:
    """The answer.

    Attributes:
      page: path of the Markdown page; the JSON lies beside it.
      failed: what is outside its tolerance or came to no end.
      left: stages that there was no time for; the same command goes on with them.
    """

    page: pathlib.Path
    failed: list[str]
    left: list[str]


def name_of_machine(rehearse: bool) -> str:
    """The name of the page: device, driver and TensorFlow.

    Raises:
      UserError: no GPU, and no rehearsal.
    """
    tensorflow = f"tensorflow-{importlib.metadata.version('tensorflow')}"
    if rehearse:
        return f"rehearsal-{platform.machine()}-{tensorflow}"
    gpus, driver = devices.gpus(), devices.driver()
    if not gpus or driver is None:
        raise UserError(
            "no NVIDIA GPU that the driver lists; python tools/doctor.py says why. "
            "--rehearse tries the check itself on a CPU"
        )
    device = re.sub(r"[^A-Za-z0-9]+", "-", gpus[0].name).strip("-").lower()
    return f"{len(gpus)}x-{device}-driver-{driver.version}-{tensorflow}"


def write(
    path: pathlib.Path, stages: dict[str, dict], left: list[str], rehearse: bool
) -> MachineVerdict:
    """Writes PATH.json and PATH.md.

    Args:
      found: {name of a stage: what it gave}.
      left: names of stages that were not begun.
    """
    lines, failed = [], []
    sections = (
        _losses(stages, list(VARIANTS)),
        _throughput(stages),
        _replicas(stages),
        _commands(stages),
    )
    for section, bad in sections:
        lines += section
        failed += bad
    failed += [
        f"{name}: {result['error']}"
        for name, result in stages.items()
        if "error" in result and name not in left and not name.startswith("throughput")
    ]
    head = ["# GPU check: " + path.name, ""]
    if rehearse:
        head += [
            "A rehearsal on a CPU at tiny sizes: it shows that the check runs, and no more.",
            "",
        ]
    if left:
        head += [f"Not measured yet ({len(left)}):", "", *(f"- {name}" for name in left), ""]
    head += ["Outside its tolerance: " + ("; ".join(failed) or "nothing"), ""]
    described = {"stages": stages, "left": left, "failed": failed, "rehearsal": rehearse}
    write_json(
        path.with_name(path.name + ".json"),
        described | {"code": environment.code_sha256("train", "odapi", "gpu_check")},
    )
    page = path.with_name(path.name + ".md")
    write_text(page, "\n".join(head + lines) + "\n")
    return MachineVerdict(page, failed, left)


def tolerance_of(variant: str, label: str) -> float:
    """By how much a variant's losses may differ from the CPU's in float32."""
    for name in ("bfloat16", "float16", "TF32"):
        if name in variant:
            reduced = TOLERANCES[name]
            return max(reduced, OF_PROPOSALS) if "R-CNN" in label else reduced
    return TOLERANCES["float32"]


def _losses(stages: dict[str, dict], variants: list[str]) -> tuple[list[str], list[str]]:
    lines = [
        "## Losses against the CPU's in float32", "",
        "The largest relative difference over all steps and terms; of a reduced precision, of the "
        "first total loss.", "", "| model | execution | difference | tolerance | first step, s |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    failed = []
    for stage, result in stages.items():
        label = stage.removeprefix("losses, ")
        if label == stage or label.startswith("CPU, ") or "variants" not in result:
            continue
        reference = stages.get(f"losses, CPU, {label}", {}).get("variants", [{}])[0].get("losses")
        names = variants if len(result["variants"]) == len(variants) else REHEARSED
        for name, got in zip(names, result["variants"], strict=True):
            if "error" in got or reference is None:
                lines.append(f"| {label} | {name} | {got.get('error', 'no reference')} | | |")
                failed += [] if reference is None else [f"{label}, {name}: {got['error']}"]
                continue
            allowed = tolerance_of(name, label)
            apart = _apart(got["losses"], reference, whole=allowed == TOLERANCES["float32"])
            lines.append(
                f"| {label} | {name} | {apart:.1e} | {allowed:g} | {got['first_step_s']:.1f} |"
            )
            if not apart <= allowed:
                failed.append(f"{label}, {name}: losses differ by {apart:.1e}")
    return [*lines, ""], failed


def _apart(ours: list[dict], reference: list[dict], whole: bool) -> float:
    from replicate.gpu_check import small

    if whole:
        return small.difference(ours, reference)
    return abs(ours[0][TOTAL] - reference[0][TOTAL]) / abs(reference[0][TOTAL])


def _throughput(stages: dict[str, dict]) -> tuple[list[str], list[str]]:
    lines = [
        "## Images a second of training", "",
        "| stage | images/s | to first step, s | input wait | memory, GiB | share of peak |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for stage, result in stages.items():
        if not stage.startswith("throughput"):
            continue
        if "error" in result:
            lines.append(f"| {stage} | {result['error'][:120]} | | | | |")
            continue
        memory = max(result["peak_memory_bytes"], default=0) / 2**30
        lines.append(
            f"| {stage} | {result['images_per_second']:.1f} | "
            f"{result['seconds_to_first_step']:.0f} | {result['input_wait']:.0%} | "
            f"{memory:.1f} | {_share_of_peak(stage, result)} |"
        )
    return [*lines, ""], []


def _share_of_peak(stage: str, measured: dict) -> str:
    device = measured["devices"][0]
    peak = next((peaks for pattern, peaks in _PEAKS if re.search(pattern, device)), None)
    if peak is None:
        return "peak not known"
    flops = measured["images_per_second"] * measured["model_flops_per_image"]
    tera = peak["float16" in stage or "bfloat16" in stage] * len(measured["devices"])
    return f"{flops / 1e12 / tera:.1%}"


def _replicas(stages: dict[str, dict]) -> tuple[list[str], list[str]]:
    lines = ["## The same losses over several devices", ""]
    failed = []
    alone = stages.get("replicas, 1", {}).get("losses")
    for stage, result in stages.items():
        if not stage.startswith("replicas, ") or "losses" not in result or alone is None:
            continue
        apart = _apart(result["losses"], alone, whole=True)
        lines.append(f"- {result['replicas']} of them: {apart:.1e} (tolerance {_REPLICAS:g})")
        if not apart <= _REPLICAS:
            failed.append(f"{stage}: losses differ by {apart:.1e}")
    one = stages.get("throughput, float32, TF32, batch 32", {}).get("images_per_second")
    for count in (2, 4, 8):
        several = stages.get(f"throughput, {count} GPUs", {}).get("images_per_second")
        if one and several:
            share = several / one / count
            lines.append(f"- {count} GPUs, 32 images each: {share:.0%} of {count} times one's")
    return [*lines, ""], failed


def _commands(stages: dict[str, dict]) -> tuple[list[str], list[str]]:
    lines = []
    for stage, result in stages.items():
        if "output" in result:
            status = f"exit status {result['status']}"
            lines += [f"## {stage}", "", status, "", "```", result["output"].strip(), "```", ""]
    failed = [
        f"{name}: exit status {result['status']}"
        for name, result in stages.items()
        if result.get("status") and name.startswith("beside")
    ]
    return lines, failed
