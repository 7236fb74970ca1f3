"""The targets that a model's training loss is given, taken from the loss itself.

The API's own loss is traced on a batch; what its anchor generator, matcher, target assigner and
samplers hand on is kept (`taps.py`), and only the part of the graph that those need is run. The
network is not run, unless a hard-example miner wants its losses.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from replicate.errors import UserError
from replicate.inspection import taps
from replicate.inspection.targets import AnchorTargets, HeatMapTargets
from replicate.train import randomness

if TYPE_CHECKING:
    from google.protobuf.message import Message

Arrays = dict[str, np.ndarray]


class LossTargets:
    """Computes the targets of batches.

    Args:
      config: TrainEvalPipelineConfig.
      model: the API's DetectionModel of it, built for training.
      seed: of the run; what the loss samples follows from it and from the step.
    """

    def __init__(self, config: "Message", model: Any, seed: int = 0) -> None:
        self._config, self._model, self._seed = config, model, seed
        self._traced = functools.cache(self._trace)
        self._has_variables = False

    def of(self, features: Arrays, labels: Arrays, step: int = 0) -> AnchorTargets | HeatMapTargets:
        """The targets of a batch as training gets it.

        Args:
          features, labels: as `train.input_stream.train_dataset` yields them.
          step: updates done before; with the whole batch of a step, what is sampled is what
            that step samples.

        Returns:
          HeatMapTargets for CenterNet.

        Raises:
          UserError: the API's loss refuses the batch.
        """
        any_rows = self._config.model.HasField("center_net")
        if any_rows:
            labels = _without_padding(labels)
        batch = _Batch.of(features, labels, any_rows)
        function, read = self._traced(batch)
        flat = tf.nest.flatten((features, labels))
        tensors = function(tf.constant(step, tf.int64), *map(tf.convert_to_tensor, flat))
        arrays = tf.nest.map_structure(lambda tensor: tensor.numpy(), tensors)
        return read(arrays, labels, batch.image_hw)

    def _trace(self, batch: "_Batch") -> tuple[Callable, Callable]:
        """(function of step and flat batch to what the tap heard, how to read that)."""
        tap = taps.of(self._model)

        def targets(step: tf.Tensor, *flat: tf.Tensor) -> dict:
            with tap.listening():
                self._losses(step, *batch.packed(flat))
                return tap.heard()

        specs = [tf.TensorSpec([], tf.int64), *batch.specs]
        try:
            self._make_variables(batch, specs)
            wrapped = tf.compat.v1.wrap_function(targets, specs)
        except (ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
            raise UserError(
                f"the Object Detection API's loss refuses this input: {_last_line(error)}; "
                "python tools/lint_config.py may name the field"
            ) from None
        return wrapped.prune(wrapped.inputs[: len(specs)], wrapped.structured_outputs), tap.read

    def _losses(self, step: tf.Tensor, features: dict, labels: dict) -> None:
        from object_detection import model_lib, model_lib_v2

        self._model._is_training = True
        tf.keras.backend.set_learning_phase(True)
        labels = model_lib.unstack_batch(
            labels, unpad_groundtruth_tensors=self._config.train_config.unpad_groundtruth_tensors
        )
        with randomness.drawn_from(randomness.of_step(self._seed, step)):
            model_lib_v2._compute_losses_and_predictions_dicts(
                self._model, features, labels, training_step=step, add_regularization_loss=False
            )

    def _make_variables(self, batch: "_Batch", specs: Sequence[tf.TensorSpec]) -> None:
        """Builds the network's variables, which a wrapped function could not."""
        if self._has_variables:
            return
        self._has_variables = True
        function = tf.function(
            lambda step, *flat: self._losses(step, *batch.packed(flat)), autograph=False
        )
        function.get_concrete_function(*specs)


@dataclasses.dataclass(frozen=True)
class _Batch:
    """The structure of a batch and its tensors' specs: the key of a trace."""

    names: tuple[tuple[str, ...], tuple[str, ...]]
    specs: tuple[tf.TensorSpec, ...]
    image_hw: tuple[int, ...]

    @classmethod
    def of(cls, features: Arrays, labels: Arrays, any_rows: bool) -> "_Batch":
        """Of a batch; with `any_rows`, traced for any number of rows that hold objects."""
        names = (tuple(sorted(features)), tuple(sorted(labels)))

        def spec(name: str, array: np.ndarray) -> tf.TensorSpec:
            free = any_rows and name in _ROWS
            shape: tuple = (array.shape[0], None, *array.shape[2:]) if free else array.shape
            return tf.TensorSpec(shape, tf.as_dtype(array.dtype))

        specs = [spec("", features[name]) for name in names[0]]
        specs += [spec(name, labels[name]) for name in names[1]]
        return cls(names, tuple(specs), tuple(features["image"].shape[1:3]))

    def packed(self, flat: Sequence[tf.Tensor]) -> tuple[dict, dict]:
        """(features, labels) of flat tensors."""
        of_features, of_labels = self.names
        return (
            dict(zip(of_features, flat, strict=False)),
            dict(zip(of_labels, flat[len(of_features) :], strict=True)),
        )


# Labels with a row for each object.
_ROWS = frozenset(
    f"groundtruth_{name}"
    for name in (
        "boxes", "classes", "weights", "confidences", "area", "is_crowd", "group_of", "difficult",
        "instance_masks", "instance_mask_weights", "keypoints", "keypoint_visibilities",
        "keypoint_weights", "keypoint_depths", "keypoint_depth_weights", "track_ids",
        "dp_num_points", "dp_part_ids", "dp_surface_coords",
    )
)  # fmt: skip


def _without_padding(labels: Arrays) -> Arrays:
    """Labels without the rows that pad all images to as many objects; they weigh nothing.

    CenterNet's dense heat map takes memory in proportion to the rows.
    """
    rows = max(1, int(np.max(labels["num_groundtruth_boxes"])))
    return {name: array[:, :rows] if name in _ROWS else array for name, array in labels.items()}


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
