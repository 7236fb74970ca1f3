"""What the commands of a report are made from: the run, as far as it is known."""

import dataclasses
import os
import re
from typing import Any

from replicate import engine, verdict
from replicate.report.run_files import RunFiles

#: Words that stand for what only the user knows.
PLACEHOLDERS = {
    "EARLIER_RUN": "a run directory, or a metrics.json",
    "MODEL": "the zoo model that the run is of",
    "CHECKPOINT": "the recipe's starting checkpoint, its path without .index",
    "TRAIN_ANNOTATIONS": "the COCO JSON trained on",
    "TRAIN_IMAGES": "the folder of its images",
    "VAL_ANNOTATIONS": "the COCO JSON evaluated on",
    "VAL_IMAGES": "the folder of its images",
}


@dataclasses.dataclass(frozen=True)
class CommandContext:
    """What the commands are made from.

    Attributes:
      root: the run directory.
      model: the zoo model's name; "MODEL" where it is not known.
      request: what spec.json says was asked.
      trained_alone: whether tools/train.py made it, which takes a config and records.
      command: the command that made it, None where it is not known.
      rehearsal: whether it was launched as one; finetunes: whether for data of its own.
      batch_size: of its config; None where that is not at hand.
      finished: whether it has run all its steps.
      annotations: the annotation file of its last evaluation, None where there is none.
      step: of its last evaluation.
      train_records: where its records lie, as tools/verify_tf_record.py takes them.
      published: dict path -> the recipe's value, of fields that differ and whose value is plain.
      engine: the config's, as `replicate.engine` names it.
    """

    root: str
    model: str
    request: dict
    trained_alone: bool
    command: str | None
    rehearsal: bool
    finetunes: bool
    batch_size: int | None
    finished: bool
    annotations: str | None
    step: int | None
    train_records: str
    published: dict[str, Any]
    engine: str = engine.ODAPI

    @property
    def config(self) -> str:
        """The run's config."""
        return os.path.join(self.root, engine.FILES[self.engine])

    def beside(self, name: str) -> str:
        """A config to be written beside the run, such as "next"."""
        ending = os.path.splitext(engine.FILES[self.engine])[1]
        return f"{self.root}-{name}{ending}"


def of_run(files: RunFiles, model: str | None, content: dict) -> CommandContext:
    """The CommandContext of a report.

    Args:
      files: RunFiles.
      model: the zoo model's name, None where it is not known.
      content: the report's dict, with metrics and schedule.
    """
    spec, plan = files.spec or {}, content["schedule"] or {}
    metrics = content["metrics"] or {}
    alone = spec.get("kind") == "training"
    return CommandContext(
        root=str(files.run.root),
        model=model or "MODEL",
        request=files.request,
        trained_alone=alone,
        command=spec.get("command"),
        rehearsal=bool((files.preflight or {}).get("rehearsal")),
        finetunes=verdict.finetunes(files.run),
        batch_size=plan.get("batch_size"),
        finished=plan.get("steps_run") is None or plan["steps_run"] >= plan["num_steps"],
        annotations=(metrics.get("annotations") or {}).get("file"),
        step=metrics.get("step"),
        train_records=_records(files, alone),
        published={
            deviation["path"]: deviation["a"]
            for deviation in files.deviations or ()
            if isinstance(deviation["a"], (bool, int, float))
        },
        engine=engine.of(files.message),
    )


def _records(files: RunFiles, alone: bool) -> str:
    """The common prefix of the training shards."""
    if alone and files.message is not None:
        paths = engine.describe(files.message).train_records
        if paths:
            return re.sub(r"-[\d?*]+-of-[\d?*]+(\.tfrecord)?$", "", paths[0])
    return os.path.join(files.run.data, "train")
