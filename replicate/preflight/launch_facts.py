"""What is about to be launched, and everything the checks read of it, each thing read once."""

import dataclasses
import functools
import os
import pathlib
from typing import Any

from replicate import checkpoint_files, devices, engine, reasons, records, zoo
from replicate import config as configs
from replicate.config import Operation
from replicate.errors import UserError
from replicate.execution import Execution
from replicate.run import RunDir, read_json_or_none
from replicate.verdict import comparable
from replicate.zoo import vision
from tfrecords import coco, label_map
from tfrecords.errors import InputError


@dataclasses.dataclass(frozen=True)
class Intent(Execution):
    """What is about to be launched, and how it is executed.

    Attributes:
      message: the config that would be trained, of either engine.
      run_dir: where it would go.
      model: the zoo model (or config, archive, run directory) that is to be replicated; "" where
        no published recipe is.
      train_annotations, train_images, val_annotations, val_images: COCO JSON and image folders, ""
        where they are not at hand.
      asked_for: config paths that the user set on purpose.
      rehearsal: differences from the published experiment are meant.
      purpose: "replicate" the published figure, or "finetune" on data of one's own: the recipe is
        then a starting point, and what makes the run another experiment is as expected.
      num_steps: steps to train, where they are not the config's.
      include_masks: whether records are made with masks.
      convert: the records are still to be made from the annotations, into run_dir/data.
      num_gpus: devices that are expected, None where whatever is there will do.
      num_workers: machines that train together.
    """

    message: Any
    run_dir: str
    model: str = ""
    train_annotations: str = ""
    train_images: str = ""
    val_annotations: str = ""
    val_images: str = ""
    asked_for: tuple[str, ...] = ()
    rehearsal: bool = False
    purpose: str = "replicate"
    num_steps: int | None = None
    include_masks: bool = False
    convert: bool = False
    num_gpus: int | None = None
    num_workers: int = 1


class LaunchFacts:
    """Everything the checks read. What cannot be read is None, and `problems` says why.

    Args:
      intent: Intent.
      trial: the dict that the trial came back with, None where there was none.

    Attributes:
      intent, trial: as given.
      run: RunDir of the intent.
      problems: dict name ("train_annotations", "val_annotations", "recipe") -> the error.
    """

    def __init__(self, intent: Intent, trial: dict | None = None) -> None:
        self.intent, self.trial = intent, trial
        self.run = RunDir.at(intent.run_dir)
        self.problems: dict[str, str] = {}

    @property
    def message(self) -> Any:
        return self.intent.message

    @property
    def train(self) -> Any:
        return self.message.train_config

    def of_recipe(self, value: object) -> str:
        """A value of the recipe in words: of a replication what was published, of a fine-tuning
        where it began."""
        return f"the recipe's {value}" if self.finetunes else f"published {value}"

    @property
    def as_recipe(self) -> str:
        """The same of what is not another."""
        return "as in the recipe" if self.finetunes else "as published"

    @functools.cached_property
    def described(self) -> engine.Description:
        """What either engine's config says."""
        return engine.describe(self.message)

    @functools.cached_property
    def published(self) -> engine.Description | None:
        """The same of the recipe, or None."""
        return engine.describe(self.recipe) if self.recipe is not None else None

    @property
    def engine(self) -> str:
        """The config's, as `replicate.engine` names it."""
        return engine.of(self.message)

    @property
    def finetunes(self) -> bool:
        """Whether the run is a fine-tuning on data of its own."""
        return self.intent.purpose == "finetune"

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.intent.num_steps or self.described.num_steps

    @functools.cached_property
    def facts(self) -> configs.ConfigFacts:
        return configs.facts(self.message)

    @functools.cached_property
    def recipe(self) -> Any:
        """The published config of the model, or None."""
        if not self.intent.model:
            self.problems["recipe"] = "no zoo model was named to compare with"
            return None
        try:
            return engine.read(self.intent.model)
        except UserError as error:
            self.problems["recipe"] = str(error)
            return None

    @functools.cached_property
    def row(self) -> zoo.Row | None:
        """The zoo's row, or None; of a fine-tuning, whose figure is another one, there is none."""
        if self.finetunes:
            return None
        row = zoo.get(pathlib.Path(self.intent.model).name) if self.intent.model else None
        published = vision.get(self.intent.model) if row is None else None
        return published.as_row() if published is not None else row

    @functools.cached_property
    def deviations(self) -> list[Operation]:
        """Config differences that can change AP: list of config.Operation."""
        if self.recipe is None:
            return []
        return [
            deviation
            for deviation in engine.deviations(self.message, self.intent.model)
            if deviation.cls in comparable.AFFECTING["training"]
        ]

    def deviations_of(self, number: int) -> list[Operation]:
        """Those of them that are this reason's."""
        return [deviation for deviation in self.deviations if self._number_of(deviation) == number]

    def _number_of(self, operation: Operation) -> int:
        reason = reasons.of_path(operation.path)
        of_evaluation = operation.cls == "evaluation" and self.engine == engine.ODAPI
        if of_evaluation and reason not in (reasons.IMAGES, reasons.AVERAGES):
            reason = reasons.CUT
        return reason.number

    def meant(self, path: str) -> bool:
        """Whether the user set this config path, or a message around it, on purpose."""
        return any(
            path == asked or path.startswith((asked + ".", asked + "["))
            for asked in self.intent.asked_for
        )

    @functools.cached_property
    def train_source(self) -> coco.Source | None:
        """The training annotations, as the converter reads them: coco.Source or None."""
        return self._source("train_annotations", self.intent.include_masks)

    @functools.cached_property
    def val_source(self) -> coco.Source | None:
        """The evaluation annotations, likewise."""
        return self._source("val_annotations", False)

    def _source(self, field: str, segmentations: bool) -> coco.Source | None:
        path = getattr(self.intent, field)
        if not path:
            self.problems[field] = "no annotation file was given"
            return None
        try:
            return coco.load(path, segmentations=segmentations)
        except InputError as error:
            self.problems[field] = str(error)
            return None

    @functools.cached_property
    def _records(self) -> dict[str, records.Records]:
        return records.of_config(self.message)

    @property
    def train_records(self) -> records.Records:
        return self._records["train"]

    @property
    def val_records(self) -> records.Records:
        return self._records["val"]

    @functools.cached_property
    def labels(self) -> dict[int, str] | None:
        """The label map: dict id -> name; None where there is none yet or it cannot be read."""
        path = self.message.train_input_reader.label_map_path
        if not os.path.isfile(path):
            return None
        try:
            return label_map.read(path)
        except InputError as error:
            self.problems["labels"] = str(error)
            return None

    @functools.cached_property
    def gpus(self) -> list[devices.Gpu]:
        """GPUs that this process may use, as their driver lists them."""
        return devices.visible(devices.gpus())

    @property
    def replicas(self) -> int:
        """Devices that the global batch is split among."""
        of_worker = self.intent.num_gpus or len(self.gpus) or 1
        return of_worker * self.intent.num_workers

    @functools.cached_property
    def checkpoint_steps(self) -> list[int]:
        """Steps of the run directory's own checkpoints, ascending."""
        return checkpoint_files.steps_of(self.run.checkpoints)

    @functools.cached_property
    def launched(self) -> dict:
        """preflight.json of an earlier launch into this run directory, or {}."""
        return read_json_or_none(self.run.preflight) or {}
