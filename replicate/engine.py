"""The seam: what an engine does for the rest of the kit, and where each engine does it.

A config says which engine it is of: a TrainEvalPipelineConfig is the Object Detection API's, a
VisionConfig TF-Vision's. The rest asks here and nowhere else:

    config = engine.read("params.yaml")             # or pipeline.config, a run, a published row
    engine.describe(config).num_classes
    trainer = engine.trainer(config, execution)     # built
    trainer.resume("ckpt-400")                      # restored
    trainer.train(100)                              # steps
    detector = engine.detector(config)              # built
    detector.restore("ckpt-500")                    # and restored
    detector(images, facts)                         # detections
    engine.text(config), engine.deviations(config, recipe)     # what a run keeps of it

`_FILLED` names, of each engine, the function or class that does each part; they are imported when
asked for, because importing an engine takes seconds. A part that an engine lacks is told.
"""

import dataclasses
import importlib
import os
from typing import TYPE_CHECKING, Any, Protocol

from replicate.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


ODAPI, TFVISION = "odapi", "tfvision"
NAMES = {ODAPI: "the Object Detection API", TFVISION: "TF-Vision"}
#: What a run directory's config is called.
FILES = {ODAPI: "pipeline.config", TFVISION: "params.yaml"}
#: Where a config has the steps of its training.
STEPS = {ODAPI: "train_config.num_steps", TFVISION: "trainer.train_steps"}
#: Where it has its starting checkpoint.
START = {ODAPI: "train_config.fine_tune_checkpoint", TFVISION: "task.init_checkpoint"}
#: Where it says what of that checkpoint is loaded.
START_KIND = {
    ODAPI: "train_config.fine_tune_checkpoint_type",
    TFVISION: "task.init_checkpoint_modules",
}
#: What of a detector's checkpoint is loaded where it is to learn other classes.
FOR_OTHER_CLASSES = {ODAPI: "detection", TFVISION: "[backbone, decoder]"}
#: What a checkpoint to continue from calls the number of its step.
STEP = {ODAPI: "step", TFVISION: "global_step"}
#: Where it has the images of a step, over all devices, and the records of its shuffle buffer.
BATCH = {ODAPI: "train_config.batch_size", TFVISION: "task.train_data.global_batch_size"}
SHUFFLE = {
    ODAPI: "train_input_reader.shuffle_buffer_size",
    TFVISION: "task.train_data.shuffle_buffer_size",
}
_FILLED = {
    ODAPI: {
        "read": "replicate.config:read",
        "describe": "replicate.config.facts:described",
        "detector": "replicate.evaluate.detector:Detector",
        "trainer": "replicate.train.trainer:Trainer",
        "text": "replicate.config:text_of",
        "parse": "replicate.config:parse",
        "diff": "replicate.config:diff",
        "deviations": "replicate.config:deviations",
        "recipe_of": "replicate.config:recipe_of",
        "scaling": "replicate.config:linear_scaling",
        "compose": "replicate.config.composed:composed",
        "schedule": "replicate.config.schedule:planned",
        "schedule_problems": "replicate.config.lint_rules:schedule_length",
        "set_field": "replicate.config:set_field",
        "detecting_as": "replicate.config.composed:detecting_as",
        "stopping_at": "replicate.config.composed:stopping_at",
        "reading": "replicate.config.composed:reading",
        "of_step": "replicate.config.composed:of_step",
        "obstacles": "replicate.odapi.xla:obstacles",
    },
    TFVISION: {
        "read": "replicate.tfvision.configs:read",
        "describe": "replicate.tfvision.describe:described",
        "detector": "replicate.tfvision.detector:Detector",
        "trainer": "replicate.tfvision.trainer:Trainer",
        "text": "replicate.tfvision.render:text_of",
        "parse": "replicate.tfvision.configs:of_text",
        "diff": "replicate.tfvision.diff:of_configs",
        "deviations": "replicate.tfvision.diff:deviations",
        "recipe_of": "replicate.tfvision.configs:recipe_of",
        "scaling": "replicate.tfvision.diff:no_scaling",
        "compose": "replicate.tfvision.render:composed",
        "schedule": "replicate.tfvision.schedule:planned",
        "schedule_problems": "replicate.tfvision.lint_rules:schedule_length",
        "set_field": "replicate.tfvision.render:set_config_field",
        "detecting_as": "replicate.tfvision.render:detecting_as",
        "stopping_at": "replicate.tfvision.render:stopping_at",
        "reading": "replicate.tfvision.render:reading",
        "of_step": "replicate.tfvision.render:of_step",
        "obstacles": "replicate.tfvision.obstacles:obstacles",
        "saved_model": "replicate.tfvision.export:saved_model",
    },
}


@dataclasses.dataclass(frozen=True)
class Description:
    """What the rest has to know of a config.

    Attributes:
      num_classes: that the model tells apart, without a background.
      label_map: path of the names of its classes, "" where the config names none; None where class
        index i is category id i + 1 by the records.
      predicts_masks, predicts_keypoints: what it detects beside boxes.
      batch_size: images a training step.
      num_steps: of the training.
      low_precision: whether the config asks for bfloat16.
      train_records, val_records: patterns of the records' files.
      train_label_map: path of the label map that the training reads, "" where it needs none.
      start: the starting checkpoint's prefix or folder, "" for random weights.
      start_kind: what of it is loaded, in the config's words.
      input_hw: the images' size in pixels, as the model gets them; 0 where they keep their own, of
        a shorter and a longer bound these.
      shuffle_buffer: records that the training's shuffle buffer holds, 0 without one.
      score_cut: the score below which its detections are left out; None where it has no such field.
    """

    num_classes: int
    label_map: str | None
    predicts_masks: bool
    predicts_keypoints: bool
    batch_size: int
    num_steps: int
    low_precision: bool = False
    train_records: tuple[str, ...] = ()
    val_records: tuple[str, ...] = ()
    train_label_map: str = ""
    start: str = ""
    start_kind: str = ""
    input_hw: tuple[int, int] = (0, 0)
    shuffle_buffer: int = 0
    score_cut: float | None = None


@dataclasses.dataclass(frozen=True)
class Composition:
    """What a replication makes its config of, see `compose`.

    Attributes:
      source: a published model's name, a config or a run.
      overrides: (field path, value) pairs, set last.
      train_records, val_records: patterns of the records' files.
      label_map: path of the label map without its ending.
      categories: {id: name} of the training's annotations.
      val_annotations: COCO JSON of the evaluation.
      start: the starting checkpoint, "" for random weights, None for the config's own.
      num_steps: steps to train, None for the config's.
      shorten_schedule: the schedule becomes as much shorter.
    """

    source: str
    overrides: tuple[tuple[str, str], ...]
    train_records: str
    val_records: str
    label_map: str
    categories: dict[int, str]
    val_annotations: str
    start: str | None
    num_steps: int | None
    shorten_schedule: bool


class Detector(Protocol):
    """A model as a function from images to detections, in batches.

    Made of (config, device: str | None, suppressed_by: "kit" or "api", jit_compile: bool).

    Attributes:
      checkpoint: the prefix that was restored last, or None.
      suppression: whose non-maximum suppression runs: "kit", "api", "none" or "model".
      static_shape: (height, width) that every image gets, or None where it varies.
    """

    checkpoint: str | None
    suppression: str
    static_shape: tuple[int, int] | None

    def restore(self, checkpoint: str | os.PathLike) -> None:
        """Takes a checkpoint's weights; raises UserError where it is not this model's."""

    def preprocess(self, image: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
        """One image (uint8 [height, width, 3]) as the model takes it, and what `__call__` needs of
        how it was made; called in the graph of an input pipeline."""

    def trace(self, batch_size: int) -> None:
        """Traces the function for batches of this size."""

    def __call__(self, images: "tf.Tensor", facts: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """detection_boxes [batch, n, 4] (yxyx, normalized to the image), detection_scores and
        detection_classes (0-based) [batch, n], num_detections [batch]; detection_masks."""

    @staticmethod
    def masks(
        output: "dict[str, np.ndarray]", rows: "np.ndarray", height: int, width: int
    ) -> list[dict] | None:
        """The masks of the detections `rows` of one image as RLEs in its pixels, or None."""


def of(config: Any) -> str:
    """The engine that a config is of: ODAPI or TFVISION."""
    return TFVISION if type(config).__name__ == "VisionConfig" else ODAPI


def read(source: str | os.PathLike) -> Any:
    """The config that `source` names, whichever engine's.

    Raises:
      UserError: as of the engine's own reader.
    """
    return _part(of_source(source), "read")(os.fspath(source))


def of_source(source: str | os.PathLike) -> str:
    """The engine of what `read` takes, by its name or ending."""
    is_one = importlib.import_module("replicate.tfvision.configs").is_one
    return TFVISION if is_one(os.fspath(source)) else ODAPI


def describe(config: Any) -> Description:
    """What the rest has to know of a config."""
    return _part(of(config), "describe")(config)


def detector(
    config: Any,
    device: str | None = None,
    suppressed_by: str = "kit",
    jit_compile: bool = False,
) -> Detector:
    """The engine's Detector of a config, built.

    Raises:
      UserError: XLA is asked for and cannot compile this model's forward pass.
    """
    return _part(of(config), "detector")(config, device, suppressed_by, jit_compile)


def trainer(config: Any, execution: Any, strategy: Any = None) -> Any:
    """The engine's `replicate.train.stepping.EngineTrainer` of a config, built.

    Args:
      execution: Execution, its precision chosen.
      strategy: tf.distribute.Strategy; None takes the default one.
    """
    return _part(of(config), "trainer")(config, execution, strategy)


def text(config: Any, recipe: str | None = None) -> str:
    """The config as a file's text, complete; its head names the published model `recipe`."""
    return _part(of(config), "text")(config, recipe)


def parse(text: str, origin: str) -> Any:
    """The config that `text` gave."""
    vision = text.lstrip().startswith("# --experiment_type=")
    return _part(TFVISION if vision else ODAPI, "parse")(text, origin)


def of_run(path: str | os.PathLike) -> Any:
    """The config of a run's file, `RunDir.config`, as it was written.

    Raises:
      UserError: it is not there, is damaged, or does not parse.
    """
    read_text = importlib.import_module("replicate.config.textproto").read_text
    return parse(read_text(path), os.fspath(path))


def diff(a: Any, b: Any) -> list:
    """The differences of two configs as config.Operations.

    Raises:
      UserError: they are of two engines, whose configs have no field in common.
    """
    if of(a) != of(b):
        raise UserError(
            f"a config of {NAMES[of(a)]} and one of {NAMES[of(b)]} have no field in common"
        )
    return _part(of(a), "diff")(a, b)


def deviations(config: Any, recipe: str) -> list:
    """A config's differences from a published model's, as config.Operations."""
    if of_source(recipe) != of(config):
        raise UserError(f"{recipe} is no model of {NAMES[of(config)]}, as this config is")
    return _part(of(config), "deviations")(config, recipe)


def scaling(recipe: Any, config: Any) -> Any:
    """config.Scaling: the linear rule by which a config's batch follows the recipe's, or None."""
    return _part(of(config), "scaling")(recipe, config) if of(recipe) == of(config) else None


def schedule(config: Any, steps: Any) -> tuple[list[float], list[list], str | None]:
    """The learning rate that a config plans.

    Args:
      steps: sequence of steps, from 0.

    Returns:
      (the rate of each, [[step, what happens there]], the schedule's kind).

    Raises:
      UserError: a schedule that the kit does not compute.
    """
    return _part(of(config), "schedule")(config, steps)


def schedule_problems(config: Any) -> list:
    """What is wrong with a config's schedule and its length, with `level`, `path` and `message`."""
    return list(_part(of(config), "schedule_problems")(config))


def recipe_of(source: str | os.PathLike) -> Any:
    """config.Recipe: the published model that a config is of."""
    return _part(of_source(source), "recipe_of")(os.fspath(source))


def stopping_at(config: Any, num_steps: int) -> Any:
    """The config with another number of steps; its schedule stays."""
    return _part(of(config), "stopping_at")(config, num_steps)


def reading(config: Any, records: str, label_map: str) -> Any:
    """A copy of the config whose training reads the records of a pattern.

    Args:
      records: with masks where the model learns them; for TF-Vision with class labels.
      label_map: path of their StringIntLabelMap, for an engine that reads one.
    """
    return _part(of(config), "reading")(config, records, label_map)


def of_step(config: Any) -> str:
    """The part of a config, as text, that a traced training step depends on: all but where its
    data lie and how it is evaluated."""
    return _part(of(config), "of_step")(config)


def obstacles(config: Any, execution: Any) -> list[str]:
    """Why a config cannot be trained as it is asked for, each a sentence that begins with its flag.

    Args:
      execution: Execution.
    """
    return list(_part(of(config), "obstacles")(config, execution))


def set_field(config: Any, path: str, value: str) -> None:
    """Sets the field at a path of a config, as `--set` says it.

    Raises:
      UserError: there is no such field, or it does not take the value.
    """
    _part(of(config), "set_field")(config, path, value)


def detecting_as(config: Any, other: Any) -> Any:
    """A copy of the config whose detections are kept and suppressed as the other's are; None of
    another engine, or another kind of model, whose settings of this are others."""
    if of(config) != of(other):
        return None
    return _part(of(config), "detecting_as")(config, other)


def compose(composition: Composition) -> Any:
    """The config that a replication trains."""
    return _part(of_source(composition.source), "compose")(composition)


def saved_model(config: Any, checkpoint: str | os.PathLike, folder: str | os.PathLike) -> str:
    """Exports a checkpoint in the engine's own form alone; the API's forms are `replicate.export`.

    Returns:
      the checkpoint's prefix.
    """
    return _part(of(config), "saved_model")(config, checkpoint, folder)


def _part(engine: str, name: str) -> Any:
    """What fills a part; raises UserError where the engine does not have it."""
    if name not in _FILLED[engine]:
        raise UserError(f"{NAMES[engine]}: the kit has no {name} of it yet (docs/tfvision.md)")
    module, _, attribute = _FILLED[engine][name].partition(":")
    return getattr(importlib.import_module(module), attribute)
