"""What the check measures, in order of worth, and how it goes on after an interruption."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from replicate import devices, environment, run
from replicate.gpu_check import judging
from replicate.gpu_check.variants import REHEARSED, VARIANTS
from tfrecords.whole_files import in_temporary_folder

MODELS = (
    "SSD MobileNet v2 FPNLite",
    "SSD MobileNet v2",
    "SSD ResNet-50 v1 FPN",
    "EfficientDet-D0",
    "Faster R-CNN ResNet-50 v1",
    "CenterNet ResNet-101 v1 FPN",
)
#: A rehearsal is of the model that is traced and compiled soonest.
REHEARSED_MODELS = ("SSD MobileNet v2",)
_STEPS = 10
_FIRST_BATCH, _LARGEST_BATCH = 32, 4096
_LIMIT_S = 600
_PROJECT = pathlib.Path(__file__).resolve().parents[2]
_OF_CODE = ("train", "odapi", "gpu_check", "execution.py")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One process.

    Attributes:
      name: of its file, and in the page.
      job: what `measuring.py` is told; or {"command": a command line of this project}.
      gpus: CUDA_VISIBLE_DEVICES, or None for all.
    """

    name: str
    job: dict
    gpus: str | None = None


def check(
    work: str | os.PathLike,
    pages: str | os.PathLike,
    *,
    rehearse: bool = False,
    minutes: float = 10,
    models: tuple[str, ...] = (),
) -> judging.MachineVerdict:
    """Measures what is not measured yet and writes the page.

    Args:
      work: folder of the stages' results; what it has of this code and machine is taken from there.
      pages: folder that gets NAME.json and NAME.md, named for device, driver and TensorFlow.
      rehearse: on a CPU, at tiny sizes, to try the check itself; the page claims nothing.
      minutes: after which no further stage is begun.
      models: labels of `replicate.parity.models.MODELS` on which losses are compared; those of
        MODELS, or of REHEARSED_MODELS, where none is given.

    Raises:
      UserError: no GPU, and no rehearsal.
    """
    name = judging.name_of_machine(rehearse)
    work = pathlib.Path(work) / f"{name}-{environment.code_sha256(*_OF_CODE)[:12]}"
    begun = time.monotonic()
    results: dict[str, dict] = {}
    left = []
    stages = _stages(results, rehearse, models or (REHEARSED_MODELS if rehearse else MODELS))
    with tqdm(desc="gpu check", unit="stage") as bar:
        for stage in stages:
            bar.set_postfix_str(stage.name)
            file = work / f"{stage.name}.json"
            if file.is_file():
                results[stage.name] = json.loads(file.read_text(encoding="utf-8"))
            elif time.monotonic() - begun > minutes * 60:
                left.append(stage.name)
                results[stage.name] = {"error": "not measured yet"}
            else:
                results[stage.name] = _measured(stage)
                run.write_json(file, results[stage.name])
            bar.update()
    return judging.write(pathlib.Path(pages) / name, results, left, rehearse)


def _stages(results: dict[str, dict], rehearse: bool, models: tuple[str, ...]) -> Iterator[Stage]:
    """The stages, one after the other; some depend on what was `found` before."""
    yield Stage("doctor", {"command": ["tools/doctor.py"]})
    names = list(VARIANTS) if not rehearse else list(REHEARSED)
    variants = [VARIANTS[name] for name in names]
    steps = 2 if rehearse else _STEPS
    for label in models:
        of_model = {"what": "losses", "label": label, "steps": steps}
        yield Stage(f"losses, CPU, {label}", of_model | {"variants": variants[:1]}, gpus="")
        yield Stage(f"losses, {label}", of_model | {"variants": variants})
    yield from _throughputs(results, rehearse)
    count = 2 if rehearse else len(devices.gpus())
    for number in [1, *(n for n in (2, 4, 8) if n <= count)]:
        visible = None if rehearse else ",".join(map(str, range(number)))
        job = {"what": "replicas", "label": models[0], "steps": steps}
        job |= {"num_cpus": number, "batch_size": 2} if rehearse else {"batch_size": 8}
        yield Stage(f"replicas, {number}", job, visible)
    if rehearse:
        return
    for number in (n for n in (2, 4, 8) if n <= count):
        visible = ",".join(map(str, range(number)))
        job = {"what": "throughput", "batch_size": _FIRST_BATCH * number, "execution": {}}
        yield Stage(f"throughput, {number} GPUs", job, visible)
    for bench in ("bench_train.py", "bench_evaluate.py"):
        path = _PROJECT / "tests" / "bench" / bench
        if path.is_file():
            yield Stage(f"beside the API, {bench}", {"command": [str(path)]}, gpus="0")


def _throughputs(results: dict[str, dict], rehearse: bool) -> Iterator[Stage]:
    """Each precision at twice the batch, until memory ends."""
    if rehearse:
        tiny = {"what": "throughput", "batch_size": 2, "side_px": 96, "seconds": 1.0}
        yield Stage("throughput, float32, batch 2", tiny | {"execution": {}})
        return
    for name in ("bfloat16, XLA", "bfloat16", "float32, TF32"):
        batch = _FIRST_BATCH
        while batch <= _LARGEST_BATCH:
            job = {"what": "throughput", "batch_size": batch, "execution": VARIANTS[name]}
            stage = Stage(f"throughput, {name}, batch {batch}", job, gpus="0")
            yield stage
            if "error" in results[stage.name]:
                break
            batch *= 4


def _measured(stage: Stage) -> dict:
    """What the stage's process found; {"error"} where it did not come to its end."""
    surroundings = dict(os.environ)
    if stage.gpus is not None:
        surroundings["CUDA_VISIBLE_DEVICES"] = stage.gpus
    with in_temporary_folder("gpu-check-") as folder:
        if "command" in stage.job:
            command = [sys.executable, *stage.job["command"]]
        else:
            (folder / "job.json").write_text(json.dumps(stage.job), encoding="utf-8")
            module = "replicate.gpu_check.measuring"
            command = [sys.executable, "-m", module, str(folder / "job.json")]
            command.append(str(folder / "result.json"))
        try:
            done = subprocess.run(
                command, cwd=_PROJECT, env=surroundings, capture_output=True, text=True,
                errors="replace", timeout=_LIMIT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {_LIMIT_S} s"}
        if "command" in stage.job:
            return {"status": done.returncode, "output": done.stdout[-8000:]}
        if done.returncode == 0:
            return json.loads((folder / "result.json").read_text(encoding="utf-8"))
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return {"error": lines[-1][:500]}
