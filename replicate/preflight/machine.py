"""Reasons that lie in the machine: GPUs, the libraries, memory."""

from collections.abc import Iterator

from replicate import devices, engine, odapi
from replicate.doctor import FAIL, OK, hardware, software
from replicate.doctor.asked import ask
from replicate.doctor.examination import ask_all
from replicate.preflight import memory
from replicate.preflight.forecast import Forecast
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.result import CheckFinding, Note, breaks, differs, mind

_TIGHT = 0.8
_SMALLER_STEP = {
    engine.ODAPI: "--gradient_accumulation_steps",
    engine.TFVISION: "a smaller batch and rate",
}


def gpus(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """10: the GPU is silently not used."""
    expected = facts.intent.num_gpus
    if expected is not None and len(facts.gpus) < expected:
        yield breaks(
            f"{expected} GPUs were asked for, the driver lists {len(facts.gpus)}",
            "python tools/doctor.py says why",
        )
        return
    if not devices.gpus():
        yield from _without_gpu()
        return
    if not facts.gpus:
        yield mind(
            "CUDA_VISIBLE_DEVICES hides every GPU: training runs on the CPU",
            "unset it, or name the GPUs that are meant",
        )
        return
    answers = ask_all(("engine", "cuda_libraries"), progress=False)
    findings = list(hardware.findings(answers))
    bad = [finding for finding in findings if finding.gravity == FAIL]
    for finding in bad:
        yield differs(f"{finding.about}: {finding.seen}", finding.do or "python tools/doctor.py")
    if not bad:
        names = ", ".join(gpu.name for gpu in facts.gpus)
        yield Note(f"TensorFlow uses {len(facts.gpus)}: {names}")


def _without_gpu() -> Iterator[CheckFinding]:
    """No GPU that the driver lists: none at all, or one that cannot be used."""
    answers = ask_all(("cuda_libraries",), progress=False)
    libraries, missing = hardware.libraries(answers["cuda_libraries"])
    if hardware.DRIVER_LIBRARY in libraries:
        problem = hardware.cuda({}, missing, has_gpu=True)
        if problem.gravity == FAIL:
            yield differs(f"{problem.about}: {problem.seen}", problem.do)
            return
    problem = hardware.without_gpu()
    if problem.gravity == FAIL:
        yield differs(problem.seen, problem.do)
    else:
        yield mind("no GPU: training runs on the CPU", "for a full run, a machine with GPUs")


def executed(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """10, beside it: steps that cannot be executed as it is asked."""
    for obstacle in engine.obstacles(facts.message, facts.intent):
        yield breaks(obstacle, f"leave {obstacle.partition(':')[0]} out")


def ran_on(facts: LaunchFacts, trial: dict, forecast: Forecast) -> Iterator[CheckFinding]:
    """10, the other half: whether the trial ran on a GPU."""
    if facts.gpus and trial.get("steps") and not trial["steps"]["gpus"]:
        yield breaks("the two steps ran on the CPU", "python tools/doctor.py says why")


def libraries(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """11: Keras 3, or another protobuf, or a changed API."""
    answers = [software.python(), software.packages(), software.protobuf(ask("protobuf"))]
    answers.append(software.api())
    try:
        odapi.require_keras_2()
    except odapi.LoadError as error:
        yield breaks(str(error), "python tools/doctor.py says where it comes from")
    for answer in answers:
        if answer.gravity == FAIL:
            yield breaks(f"{answer.about}: {answer.seen}", answer.do)
        elif answer.gravity != OK:
            yield mind(f"{answer.about}: {answer.seen}", answer.do)
    keras, protobuf = software.version("tf-keras"), software.version("protobuf")
    yield Note(f"Keras 2 (tf_keras {keras}), protobuf {protobuf}, the API unmodified")


def buffers(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """12, before the trial: the shuffle buffer alone against the memory."""
    held, available = memory.shuffle_bytes(facts), memory.available_bytes()
    records = facts.described.shuffle_buffer
    if held > available:
        fitting = int(records * available / held / 2)
        yield breaks(
            f"the shuffle buffer of {records:,} records holds "
            f"{held / 2**30:.1f} GiB, {available / 2**30:.1f} are free",
            f"--set {engine.SHUFFLE[facts.engine]}={fitting}",
        )
    max_to_keep = facts.intent.checkpoint_max_to_keep
    all_of_them = max(1, facts.num_steps // max(facts.intent.checkpoint_every_n, 1))
    yield Note(
        f"evaluation follows training in one process, of the {min(max_to_keep, all_of_them)} last "
        "checkpoints"
    )


def memory_needed(facts: LaunchFacts, trial: dict, forecast: Forecast) -> Iterator[CheckFinding]:
    """12, the other half: training and evaluation against the memory there is."""
    if trial.get("stage") == "none":
        yield mind("two steps were not tried: something fails before them", "mend that first")
        return
    if "error" in trial:
        yield breaks(f"the trial did not end: {trial['error']}", trial.get("fix", "mend it first"))
        return
    if "error" in trial.get("start", {}):
        yield mind("not told: the starting checkpoint ended the trial", "mend that first")
        return
    if "steps" not in trial:
        yield mind("not told without the trial", "without --notrial")
        return
    fix = f"a smaller {engine.SHUFFLE[facts.engine]}, or {_SMALLER_STEP[facts.engine]}"
    for what, sure, needed, there in (
        (
            "memory",
            forecast.host_tried_bytes,
            forecast.host_bytes,
            forecast.host_available_bytes,
        ),
        ("GPU memory", forecast.gpu_bytes, forecast.gpu_bytes, forecast.gpu_available_bytes),
    ):
        seen = f"{what}: {needed / 2**30:.1f} GiB needed, {there / 2**30:.1f} there"
        if sure > there:
            yield breaks(seen, fix)
        elif needed > _TIGHT * there:
            scaled = forecast.tried_batch < forecast.batch
            yield mind(seen + f" (scaled from batch {forecast.tried_batch})" * scaled, fix)
        elif there:
            yield Note(seen)
