"""TF-Vision's model as a function from images to detections (`replicate.engine.Detector`).

The model, its detection generator and the preprocessing are the package's own; what its evaluator
does to boxes and masks afterwards is done as there (official/vision/evaluation/coco_evaluator.py,
coco_utils.py).
"""

import os
import threading
from typing import Any

import numpy as np
import tensorflow as tf
from pycocotools import mask as coco_mask

from replicate.errors import UserError
from replicate.tfvision import official_task
from replicate.tfvision.configs import VisionConfig
from replicate.train import checkpoints


class Detector:
    """See `replicate.engine.Detector`.

    Args:
      config: VisionConfig.
      device: name of the device that holds and computes it; None leaves it to TensorFlow.
      suppressed_by: the model's own suppression runs whatever is asked.
      jit_compile: refused; XLA has not been tried with its models.
    """

    def __init__(
        self,
        config: VisionConfig,
        device: str | None = None,
        suppressed_by: str = "kit",
        jit_compile: bool = False,
    ) -> None:
        from official.vision.ops import preprocess_ops

        if jit_compile:
            raise UserError(
                "--jit_compile: not for a TF-Vision config: XLA has not been tried with its "
                "models. Leave it out"
            )

        self.checkpoint: str | None = None
        self._one_call = threading.Lock()
        self.suppression = "model"
        self._device = device
        self._params = official_task.experiment(config)
        model = self._params.task.model
        self._input_hw = list(model.input_size[:2])
        self.static_shape: tuple[int, int] | None = tuple(
            preprocess_ops.compute_padded_size(self._input_hw, 2**model.max_level)
        )
        self._task = official_task.task_of(self._params)
        with tf.device(device):
            self.model = official_task.built(self._task)
            # As its trainer does it, of the variables that are there before the model's first call:
            # the heads of RetinaNet are not averaged.
            self._averages = self._moving_averages()
            self._anchors = self._anchor_boxes()
            self._model_outputs(*(tf.zeros(spec.shape, spec.dtype) for spec in self._specs(1)))
        self._detect: Any = tf.function(self._detections)

    def restore(self, checkpoint: str | os.PathLike) -> None:
        """Takes a checkpoint's weights: their moving averages where the config trains with them.

        Args:
          checkpoint: prefix of a checkpoint that holds `model`, as the package's trainer writes it.

        Raises:
          UserError: it does not hold every variable of this model, or cannot be read.
        """
        prefix = os.fspath(checkpoint)
        with tf.device(self._device):
            checkpoints.read_model(prefix, self.model, self._averages, "params.yaml")
        self.checkpoint = prefix

    def preprocess(self, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One image as the package's parsers prepare it for evaluation.

        Args:
          image: uint8 [height, width, 3].

        Returns:
          (the padded image, of validation_data's dtype; image_info float32 [4, 2]: original size,
          resized size, scale, offset).
        """
        from official.vision.ops import preprocess_ops

        parser = self._params.task.validation_data.parser
        resized, image_info = preprocess_ops.resize_and_crop_image(
            preprocess_ops.normalize_image(image),
            self._input_hw,
            padded_size=list(self.static_shape or ()),
            aug_scale_min=1.0,
            aug_scale_max=1.0,
            keep_aspect_ratio=getattr(parser, "keep_aspect_ratio", True),
        )
        return tf.cast(resized, self._params.task.validation_data.dtype), image_info

    def trace(self, batch_size: int) -> None:
        """Traces the function for batches of `batch_size`."""
        with tf.device(self._device):
            self._detect.get_concrete_function(*self._specs(batch_size))

    def __call__(self, images: tf.Tensor, facts: tf.Tensor) -> dict[str, tf.Tensor]:
        """The model's detections, their boxes normalized to the original image; classes from 0.

        One call at a time: TensorFlow's memory optimizer gives sums in the box decoding temporary
        variables, whose names two runs of one function share ("AlreadyExists … tmp_var").
        """
        with self._one_call, tf.device(self._device):
            return self._detect(images, facts)

    @staticmethod
    def masks(
        output: dict[str, np.ndarray], rows: np.ndarray, height: int, width: int
    ) -> list[dict] | None:
        """Box-relative masks pasted into the image as the package's evaluator does it; RLE."""
        if "detection_masks" not in output or not len(rows):
            return None
        from official.vision.ops import box_ops, mask_ops

        scale = np.array([height, width, height, width], np.float32)
        pasted = mask_ops.paste_instance_masks(
            output["detection_masks"][rows],
            box_ops.yxyx_to_xywh(output["detection_boxes"][rows] * scale),
            height,
            width,
        )
        encoded = [coco_mask.encode(np.asfortranarray(mask > 0, np.uint8)) for mask in pasted]
        return [{"size": list(rle["size"]), "counts": rle["counts"].decode()} for rle in encoded]

    def _detections(self, images: tf.Tensor, image_info: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = self._model_outputs(images, image_info)
        scale = tf.tile(image_info[:, 2:3, :], (1, 1, 2))
        size = tf.tile(image_info[:, 0:1, :], (1, 1, 2))
        detections = {
            "detection_boxes": tf.cast(outputs["detection_boxes"], tf.float32) / scale / size,
            "detection_scores": tf.cast(outputs["detection_scores"], tf.float32),
            "detection_classes": tf.cast(outputs["detection_classes"], tf.float32) - 1.0,
            "num_detections": outputs["num_detections"],
        }
        if "detection_masks" in outputs:
            detections["detection_masks"] = tf.cast(outputs["detection_masks"], tf.float32)
        return detections

    def _model_outputs(self, images: tf.Tensor, image_info: tf.Tensor) -> Any:
        count = tf.shape(images)[0]
        anchors = {
            level: tf.tile(boxes[tf.newaxis], (count, 1, 1, 1))
            for level, boxes in self._anchors.items()
        }
        return self.model(
            images, anchor_boxes=anchors, image_shape=image_info[:, 1, :], training=False
        )

    def _anchor_boxes(self) -> dict[str, tf.Tensor]:
        """The anchors of the padded image, by level, as the package's parsers give them."""
        from official.vision.ops import anchor

        model = self._params.task.model
        generator = anchor.build_anchor_generator(
            min_level=model.min_level,
            max_level=model.max_level,
            num_scales=model.anchor.num_scales,
            aspect_ratios=model.anchor.aspect_ratios,
            anchor_size=model.anchor.anchor_size,
        )
        return generator(image_size=self.static_shape)

    def _specs(self, batch_size: int) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        dtype = tf.as_dtype(self._params.task.validation_data.dtype)
        return (
            tf.TensorSpec([batch_size, *(self.static_shape or ()), 3], dtype),
            tf.TensorSpec([batch_size, 4, 2], tf.float32),
        )

    def _moving_averages(self) -> Any:
        """The optimizer that holds the weights' averages, None where the config has none."""
        if self._params.trainer.optimizer_config.ema is None:
            return None
        optimizer = self._task.create_optimizer(self._params.trainer.optimizer_config)
        optimizer.shadow_copy(self.model)
        return optimizer
