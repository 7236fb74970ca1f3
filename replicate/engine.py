"""The seam: what an engine does for the rest of the kit, and where each engine does it.

A config says which engine it is of: a TrainEvalPipelineConfig is the Object Detection API's, a
VisionConfig TF-Vision's. The rest asks here and nowhere else:

    config = engine.read("params.yaml")             # or pipeline.config, a run, a published row
    engine.describe(config).num_classes
    detector = engine.detector(config)              # built
    detector.restore("ckpt-400")                    # and restored
    detector(images, facts)                         # detections

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
_FILLED = {
    ODAPI: {
        "read": "replicate.config:read",
        "describe": "replicate.config.facts:described",
        "detector": "replicate.evaluate.detector:Detector",
    },
    TFVISION: {
        "read": "replicate.tfvision.configs:read",
        "describe": "replicate.tfvision.describe:described",
        "detector": "replicate.tfvision.detector:Detector",
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
    """

    num_classes: int
    label_map: str | None
    predicts_masks: bool
    predicts_keypoints: bool
    batch_size: int
    num_steps: int


class Detector(Protocol):
    """A model as a function from images to detections, in batches.

    Made of (config, device: str | None, suppressed_by: "kit" or "api").

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
    name = os.fspath(source)
    is_vision = importlib.import_module("replicate.tfvision.configs").is_one(name)
    return _part(TFVISION if is_vision else ODAPI, "read")(name)


def describe(config: Any) -> Description:
    """What the rest has to know of a config."""
    return _part(of(config), "describe")(config)


def detector(config: Any, device: str | None = None, suppressed_by: str = "kit") -> Detector:
    """The engine's Detector of a config, built."""
    return _part(of(config), "detector")(config, device, suppressed_by)


def _part(engine: str, name: str) -> Any:
    """What fills a part; raises UserError where the engine does not have it."""
    if name not in _FILLED[engine]:
        raise UserError(f"{NAMES[engine]}: the kit has no {name} of it yet (docs/tfvision.md)")
    module, _, attribute = _FILLED[engine][name].partition(":")
    return getattr(importlib.import_module(module), attribute)
