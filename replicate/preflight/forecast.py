"""What the whole run will need: memory, time and space, from two steps and two images."""

import dataclasses

from replicate.preflight import memory
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.memory import record_bytes


@dataclasses.dataclass(frozen=True)
class Forecast:
    """The whole run, from the steps that were tried.

    A step's time and, on a CPU, its memory above what the built model takes are scaled to the
    batch in proportion; on a GPU the batch itself is tried and nothing is scaled. The shuffle
    buffer, which two steps do not fill, is added as records times their mean size.

    Attributes:
      batch, tried_batch: images a step on this machine, and of the steps that were tried.
      gpus: devices the steps ran on; 0 is the CPU.
      step_seconds: of a step of `batch`.
      input_wait: share of the tried step that was spent waiting for input.
      first_step_seconds: building, tracing and the first step.
      num_steps: steps that are left to do.
      train_hours: `num_steps` of `step_seconds`.
      evaluations, images: checkpoints that will be evaluated, and images of each.
      eval_hours: of all of them; None where no image was evaluated.
      host_tried_bytes: memory at its peak in the steps that were tried, the shuffle buffer added.
      host_bytes, host_available_bytes: the same scaled to the batch; what is there.
      gpu_bytes, gpu_available_bytes: of the fullest GPU alike; 0 without one.
      checkpoint_bytes, checkpoints: size of one, and how many lie on the disk at most.
      records_bytes: of records that are still to be made.
      detections_bytes: of all evaluations.
    """

    batch: int = 0
    tried_batch: int = 0
    gpus: int = 0
    step_seconds: float | None = None
    input_wait: float | None = None
    first_step_seconds: float | None = None
    num_steps: int = 0
    train_hours: float | None = None
    evaluations: int = 0
    images: int = 0
    eval_hours: float | None = None
    host_tried_bytes: float = 0
    host_bytes: float = 0
    host_available_bytes: float = 0
    gpu_bytes: float = 0
    gpu_available_bytes: float = 0
    checkpoint_bytes: float = 0
    checkpoints: int = 0
    records_bytes: float = 0
    detections_bytes: float = 0

    @property
    def disk_bytes(self) -> float:
        """What is still to be written."""
        return self.checkpoint_bytes * self.checkpoints + self.records_bytes + self.detections_bytes

    @property
    def disk_parts(self) -> str:
        """Of which parts, in words."""
        parts = [f"records {size(self.records_bytes)}"] if self.records_bytes else []
        if self.checkpoint_bytes:
            parts.append(f"{self.checkpoints} checkpoints of {size(self.checkpoint_bytes)}")
        if self.detections_bytes:
            parts.append(f"detections {size(self.detections_bytes)}")
        return ", ".join(parts) or "nothing large known without the trial"

    def to_json(self) -> dict:
        """The fields as plain data, and the disk's sum."""
        return dataclasses.asdict(self) | {"disk_bytes": self.disk_bytes}

    def text(self) -> str:
        """The forecast in a few lines; "" where no step was tried."""
        if self.step_seconds is None or self.train_hours is None:
            return ""
        device = f"{self.gpus} GPU{'s' * (self.gpus > 1)}" if self.gpus else "the CPU"
        scaled = "" if self.tried_batch == self.batch else f", scaled to {self.batch}"
        lines = [
            f"Forecast, from two steps of batch {self.tried_batch} on {device}{scaled}:",
            f"  step        {self.step_seconds:.3g} s, {self.input_wait:.0%} of it waiting for "
            f"input (the first, with tracing, {self.first_step_seconds:.0f} s)",
            f"  training    {_hours(self.train_hours)} for {self.num_steps:,} steps",
        ]
        if self.eval_hours is not None:
            lines.append(
                f"  evaluation  {_hours(self.eval_hours)} for {self.evaluations} × {self.images:,} "
                "images"
            )
        lines.append(
            f"  memory      {self.host_bytes / 2**30:.1f} of "
            f"{self.host_available_bytes / 2**30:.1f} GiB"
            + (
                f"; GPU {self.gpu_bytes / 2**30:.1f} of {self.gpu_available_bytes / 2**30:.1f} GiB"
                if self.gpus
                else ""
            )
        )
        lines.append(f"  disk        {size(self.disk_bytes)}: {self.disk_parts}")
        return "\n".join(lines)


def of(facts: LaunchFacts, trial: dict) -> Forecast:
    """The Forecast of a run.

    Args:
      facts: LaunchFacts.
      trial: the dict of `trial.run`; {} without one.
    """
    known = Forecast(
        records_bytes=_records_to_make(facts),
        host_available_bytes=memory.available_bytes(),
        gpu_available_bytes=2**30 * min((gpu.memory_total_gib for gpu in facts.gpus), default=0),
    )
    tried = trial.get("steps")
    if tried is None:
        return known
    done = facts.checkpoint_steps[-1] if facts.checkpoint_steps else 0
    left = max(0, facts.num_steps - done)
    scale = tried["of_batch"] / tried["batch"]
    seconds = tried["seconds"] * scale
    every, keep = facts.intent.checkpoint_every_n, facts.intent.checkpoint_max_to_keep
    checkpoints = min(keep, max(1, -(-facts.num_steps // max(every, 1))))
    evaluated = trial.get("evaluation")
    images = len(facts.val_source.images) if facts.val_source is not None else 0
    peak = max(tried["peak_bytes"], (evaluated or {}).get("peak_bytes", 0))
    above = 0 if tried["gpus"] else max(0, tried["peak_bytes"] - tried["built_bytes"])
    return dataclasses.replace(
        known,
        batch=tried["of_batch"],
        tried_batch=tried["batch"],
        gpus=tried["gpus"],
        step_seconds=seconds,
        input_wait=tried["input_wait"],
        first_step_seconds=tried["seconds_to_first_step"],
        num_steps=left,
        train_hours=left * seconds / 3600,
        evaluations=checkpoints if evaluated else 0,
        images=images,
        eval_hours=checkpoints * images * evaluated["seconds_an_image"] / 3600
        if evaluated
        else None,
        host_tried_bytes=peak + memory.shuffle_bytes(facts),
        host_bytes=peak + (scale - 1) * above + memory.shuffle_bytes(facts),
        gpu_bytes=tried["gpu_peak_bytes"],
        checkpoint_bytes=trial.get("checkpoint_bytes", 0),
        checkpoints=checkpoints + 1,  # the oldest goes when the newest is there
        detections_bytes=checkpoints * images * evaluated["bytes_an_image"] if evaluated else 0,
    )


def _records_to_make(facts: LaunchFacts) -> float:
    """Bytes of the records that replicate will make: about those of the image files."""
    if not facts.intent.convert or facts.train_records.paths:
        return 0
    images = sum(
        len(source.images)
        for source in (facts.train_source, facts.val_source)
        if source is not None
    )
    return images * record_bytes(facts)


def size(count: float) -> str:
    """Bytes in GB, or in MB where they are fewer."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 72 else f"{hours:,.0f} h ({hours / 24:,.0f} days)"
