"""The Object Detection API's model as a function from images to detections."""

import os
import pathlib
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from pycocotools import mask as coco_mask

from replicate import odapi
from replicate.errors import UserError
from replicate.evaluate import suppression
from replicate.odapi import xla
from replicate.train import checkpoints

if TYPE_CHECKING:
    from google.protobuf.message import Message


# Of the API's outputs, those that detections are made of.
OUTPUTS = (
    "detection_boxes",
    "detection_scores",
    "detection_classes",
    "num_detections",
    "detection_masks",
    "detection_keypoints",
)


class Detector:
    """The API's model of a config, in batches; `restore` gives it weights.

    Args:
      config: TrainEvalPipelineConfig.
      device: name of the device that holds and computes it; None leaves it to TensorFlow.
      suppressed_by: whose non-maximum suppression to run, one of suppression.ASKED.
      jit_compile: whether XLA compiles the forward pass.

    Attributes:
      checkpoint: the prefix that was restored last, or None.
      suppression: whose runs, one of suppression.USED.
      static_shape: (height, width) that every image is resized to, or None where it varies.

    Raises:
      UserError: XLA cannot compile this model's forward pass.
    """

    def __init__(
        self,
        config: "Message",
        device: str | None = None,
        suppressed_by: str = suppression.KIT,
        jit_compile: bool = False,
    ) -> None:
        from object_detection.utils import config_util, ops

        self.checkpoint: str | None = None
        self._config = config
        self._device = device
        self._to_float32 = ops.bfloat16_to_float32_nested
        height, width = config_util.get_spatial_image_size(
            config_util.get_image_resizer_config(config.model)
        )
        self.static_shape = None if -1 in (height, width) else (height, width)
        self._jit_compile = jit_compile
        if jit_compile:
            reason = xla.obstacle_to_predicting(config.model, self.static_shape)
            if reason:
                raise UserError(
                    f"--jit_compile: XLA cannot compile this model: {reason}. Leave it out"
                )
        with tf.device(device):
            self.model = odapi.build_model(config.model, is_training=False)
            tf.keras.backend.set_learning_phase(False)
            self._build(*(self.static_shape or (128, 128)))
            averaged = config.eval_config.use_moving_averages
            self._averages = self._moving_averages() if averaged else None
        self.suppression = suppression.choose(self.model, suppressed_by)
        self._predict = xla.predicting(self.model) if jit_compile else self.model.predict
        self._detect = tf.function(self._detect, input_signature=self._signature(), autograph=False)

    def restore(self, checkpoint: str | os.PathLike) -> None:
        """Takes the weights of a checkpoint: its moving averages where the config evaluates them.

        Args:
          checkpoint: prefix of a TF2 object-based checkpoint (`…/ckpt-400`), or a folder with one.

        Raises:
          UserError: no such checkpoint, or it does not hold every variable of this model.
        """
        prefix = find_checkpoint(checkpoint)
        with tf.device(self._device):
            checkpoints.read_model(prefix, self.model, self._averages, "pipeline.config")
        self.checkpoint = prefix

    def preprocess(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One image as the API's input pipeline prepares it.

        Args:
          image: uint8 [height, width, 3].

        Returns:
          (float32 [resized height, resized width, 3], int32 [3] true shape in it).
        """
        images, true_shapes = self.model.preprocess(tf.cast(image, tf.float32)[tf.newaxis])
        return images[0], true_shapes[0]

    def trace(self, batch_size: int) -> None:
        """Traces the function for batches of `batch_size`, so that the first call does not.

        With XLA the forward pass is compiled too, and how long that took is told.
        """
        begun = time.monotonic()
        with tf.device(self._device):
            self._detect.get_concrete_function(*self._specs(batch_size))
        if self._jit_compile:
            height, width = self.static_shape or (0, 0)
            self(
                tf.zeros([batch_size, height, width, 3]),
                tf.tile(tf.constant([[height, width, 3]]), [batch_size, 1]),
            )
            seconds = time.monotonic() - begun
            print(f"forward pass traced and compiled by XLA in {seconds:.0f} s", file=sys.stderr)

    def __call__(self, images: tf.Tensor, true_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The API's postprocessed detections.

        Args:
          images: float32 [batch, height, width, 3] from `preprocess`.
          true_shapes: int32 [batch, 3].

        Returns:
          dict of float32 tensors, of OUTPUTS those the model has: detection_boxes [batch, n, 4]
          (yxyx, normalized to the image), detection_scores and detection_classes (0-based)
          [batch, n], num_detections [batch].
        """
        with tf.device(self._device):
            return self._detect(images, true_shapes)

    @staticmethod
    def masks(
        output: dict[str, np.ndarray], rows: np.ndarray, height: int, width: int
    ) -> list[dict] | None:
        """As `pasted_masks`."""
        return pasted_masks(output, rows, height, width)

    def _specs(self, batch_size: int | None) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        """Input shapes, with an open batch where `batch_size` is None.

        With a known batch the API unrolls suppression over images and classes. CenterNet
        suppresses nothing, and its keypoints need a known batch.
        """
        if self._config.model.WhichOneof("model") != "center_net":
            batch_size = None
        return (
            tf.TensorSpec([batch_size, *(self.static_shape or (None, None)), 3], tf.float32),
            tf.TensorSpec([batch_size, 3], tf.int32),
        )

    def _signature(self) -> tuple[tf.TensorSpec, tf.TensorSpec] | None:
        """The signature of the function, or None to trace for each batch at hand."""
        return None if self._config.model.WhichOneof("model") == "center_net" else self._specs(None)

    def _detect(self, images: tf.Tensor, true_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
        predictions = self._to_float32(self._predict(images, true_shapes))
        detections = self.model.postprocess(predictions, true_shapes)
        return {name: detections[name] for name in OUTPUTS if name in detections}

    def _build(self, height: int, width: int) -> None:
        """Creates the variables, which the API's models do in their first `predict`.

        In a graph that is thrown away: TensorFlow lifts variables out of it, and tracing a
        `tf.function` that makes variables would go through the model twice.
        """
        # The API's code needs no AutoGraph, whose rewriting takes longer than the building.
        predict = tf.autograph.experimental.do_not_convert(self.model.predict)
        with tf.__internal__.FuncGraph("build").as_default():
            predict(tf.zeros([1, height, width, 3]), tf.constant([[height, width, 3]]))

    def _moving_averages(self) -> Any:
        """The recipe's optimizer, which holds the moving averages of the weights."""
        from object_detection.builders import optimizer_builder

        step = tf.Variable(0, trainable=False, dtype=tf.int64)
        optimizer, _ = optimizer_builder.build(
            self._config.train_config.optimizer, global_step=step
        )
        if not hasattr(optimizer, "shadow_copy"):
            raise UserError(
                "eval_config.use_moving_averages is true, but train_config.optimizer."
                "use_moving_average is false: there are no averages to evaluate. Make the two "
                "agree, as the recipe has them"
            )
        optimizer.shadow_copy(self.model)
        return optimizer


def pasted_masks(
    output: dict[str, np.ndarray], rows: np.ndarray, height: int, width: int
) -> list[dict] | None:
    """Box-relative masks pasted into the image, cut at 0.5 as the API's evaluation does.

    Args:
      output: postprocessed detections of one image, numpy, without batch dimension.
      rows: int [N], which of them.
      height, width: of the image, pixels.

    Returns:
      N compressed RLEs, or None where the model has no masks or N is 0.
    """
    if "detection_masks" not in output or not len(rows):
        return None
    from object_detection.utils import ops

    pasted = ops.reframe_box_masks_to_image_masks(
        tf.constant(output["detection_masks"][rows]),
        tf.constant(output["detection_boxes"][rows]),
        height,
        width,
    ).numpy()
    encoded = [coco_mask.encode(np.asfortranarray(mask > 0.5, np.uint8)) for mask in pasted]
    return [{"size": rle["size"], "counts": rle["counts"].decode()} for rle in encoded]


def find_checkpoint(checkpoint: str | os.PathLike) -> str:
    """The prefix of the checkpoint that `checkpoint` names: itself, or the last one in a folder.

    Raises:
      UserError: there is none.
    """
    if pathlib.Path(f"{checkpoint}.index").is_file():
        return str(checkpoint)
    latest = (
        tf.train.latest_checkpoint(str(checkpoint)) if pathlib.Path(checkpoint).is_dir() else None
    )
    if not latest:
        raise UserError(
            f"{checkpoint}: no checkpoint there; give the prefix of one (…/ckpt-400, without "
            ".index) or a folder that holds one"
        )
    return latest
