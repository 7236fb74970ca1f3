"""The report's sections on training: how steps were executed, the schedule, what was logged."""

import statistics

from replicate import engine
from replicate.errors import UserError
from replicate.evenly import evenly
from replicate.report.run_files import RunFiles
from replicate.run import RunDir, read_json

# Points of a plotted line; a longer log is thinned out evenly, its last step kept.
MAX_POINTS = 600
# Operations of a profile that are named.
_LONGEST = 5
# Measurements of the machine in metrics.jsonl: title, label of the axis.
_MEASUREMENTS = {
    "host.cpu_percent": ("Processor use of the machine", "processor use (%)"),
    "host.memory_gib": ("Memory of the training process", "memory (GiB)"),
    "device.memory_gib": ("GPU memory in use", "memory, all GPUs (GiB)"),
    "device.utilization_percent": ("GPU use", "mean GPU use (%)"),
    "device.power_watts": ("GPU power", "power, all GPUs (W)"),
    "device.temperature_celsius": ("GPU temperature", "hottest GPU (°C)"),
}


def execution(files: RunFiles) -> list[str]:
    """How steps were executed, where that is not one whole batch in float32: sentences."""
    executed = (files.environment or {}).get("execution")
    if not executed or files.message is None:
        return []
    batch = engine.describe(files.message).batch_size
    micro, replicas = executed.get("gradient_accumulation_steps", 1), executed["replicas"]
    said = []
    if micro * replicas > 1:
        said.append(
            f"Each batch of {batch} was computed in {micro * replicas} parts ({replicas} replicas, "
            f"{micro} micro-batches each): batch-norm statistics and loss normalizers are those of "
            f"{batch // (micro * replicas)} images, a deviation from one whole batch"
        )
    if executed["precision"] != "float32":
        said.append(f"Computed in {executed['precision']} with float32 weights")
    if executed["precision"] == "float32" and executed.get("tf32"):
        said.append(
            "Convolutions and products of float32 were computed in TensorFloat-32, with 10 bits of "
            "mantissa, as TensorFlow does by default on such a GPU (--notf32 keeps all)"
        )
    if executed.get("jit_compile"):
        said.append("Steps were compiled by XLA, which rounds in another order")
    return said + _profiled(files.run)


def _profiled(run: RunDir) -> list[str]:
    """Where the time of the profiled steps went, as a sentence."""
    if not run.profile.is_file():
        return []
    profile = read_json(run.profile)
    longest = ", ".join(
        f"{operation['operation']} {operation['share']:.0%} of {operation['device']}"
        for operation in profile["operations"][:_LONGEST]
    )
    first, last = profile["first_step"], profile["first_step"] + profile["steps"] - 1
    return [
        f"Steps {first} to {last} were profiled, "
        f"{profile['seconds'] / profile['steps']:.3g} s each; "
        f"most of what devices and threads executed: {longest or 'not traced'}"
    ]


def schedule_of(files: RunFiles) -> dict | None:
    """The learning rate that was planned and the one that was used, and how far it went."""
    if files.message is None:
        return None
    message = files.message
    facts = engine.describe(message)
    steps = evenly(range(facts.num_steps + 1), MAX_POINTS) if facts.num_steps else []
    try:
        planned, marks, kind = engine.schedule(message, steps)
    except UserError as error:
        files.cannot_say("the planned learning rate", str(error))
        planned, marks, kind, steps = [], [], None, []
    actual = evenly(files.log, MAX_POINTS)
    return {
        "kind": kind,
        "batch_size": facts.batch_size,
        "num_steps": facts.num_steps,
        "steps_run": files.log[-1]["step"] if files.log else None,
        "images_planned": facts.num_steps * facts.batch_size,
        "images_seen": files.log[-1]["step"] * facts.batch_size if files.log else None,
        "marks": marks,
        "planned": {"step": steps, "learning_rate": planned},
        "actual": {
            "step": [logged["step"] for logged in actual],
            "learning_rate": [logged.get("learning_rate") for logged in actual],
        },
    }


def training(files: RunFiles) -> dict | None:
    """Losses and speed by step, and the speed's middle.

    Args:
      files: RunFiles with its log.

    Returns:
      dict, or None without a log.
    """
    log = files.log
    if not log:
        return None
    shown = evenly(log, MAX_POINTS)
    names = list(dict.fromkeys(name for logged in log for name in logged.get("losses", {})))
    speeds = [logged["images_per_second"] for logged in log[1:] if logged.get("images_per_second")]
    waits = [logged["input_wait"] for logged in log if logged.get("input_wait") is not None]
    measured = _measured(log)
    for what in ("images_per_second", "input_wait"):
        if not any(what in logged for logged in log):
            files.cannot_say(what.replace("_", " "), "not in metrics.jsonl")
    if not measured:
        files.cannot_say("device use", "metrics.jsonl does not record it")
    return {
        "logged_steps": len(log),
        "step": [logged["step"] for logged in shown],
        "losses": {
            name: [logged.get("losses", {}).get(name) for logged in shown] for name in names
        },
        "final_losses": {name: log[-1].get("losses", {}).get(name) for name in names},
        "images_per_second": [logged.get("images_per_second") for logged in shown],
        "input_wait": [logged.get("input_wait") for logged in shown],
        "system": {name: [_at(logged, name) for logged in shown] for name in measured},
        # The first logged steps hold the tracing of the graph.
        "median_images_per_second": statistics.median(speeds) if speeds else None,
        "median_input_wait": statistics.median(waits) if waits else None,
    }


def _measured(log: list[dict]) -> list[str]:
    """Names of the measurements of the machine in the log, such as "device.memory_bytes"."""
    names = dict.fromkeys(
        f"{group}.{name}"
        for logged in log
        for group in ("device", "host", "system")
        if isinstance(logged.get(group), dict)
        for name, value in logged[group].items()
        if isinstance(value, (int, float))
    )
    return list(names)


def measurement(name: str) -> tuple[str, str]:
    """What a measurement of the machine, as metrics.jsonl names it, is called: title, axis."""
    return _MEASUREMENTS.get(name, (name, name))


def _at(entry: dict, name: str) -> float | None:
    group, _, key = name.partition(".")
    return (entry.get(group) or {}).get(key)
