"""Where to listen while the API computes a loss: one tap a family of models.

A tap replaces, while the loss is traced, a few attributes of the model by functions that keep what
passes through them. Nothing the model computes changes.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from replicate.errors import UserError
from replicate.inspection.targets import AnchorTargets, HeatMapTargets, Level

Replacement = tuple[Any, str, Any]  # object, name of its attribute, what takes its place


def of(model: Any) -> "_Tap":
    """The tap for a DetectionModel of the API.

    Raises:
      UserError: a family of models that none is made for.
    """
    for owner, tap in (
        ("_target_assigner_dict", HeatMapTap),
        ("_proposal_target_assigner", FirstStageTap),
        ("_target_assigner", SsdTap),
    ):
        if hasattr(model, owner):
            return tap(model)
    raise UserError(
        f"{type(model).__name__}: only SSD, Faster R-CNN and CenterNet can be looked into"
    )


class _Tap:
    """What all taps share: functions that keep what they hand on."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tensors: dict[str, list] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, what passes through the model's target assignment is kept."""
        self._tensors = {}
        with replaced(*self._replacements()):
            yield

    def heard(self) -> dict[str, Any]:
        """What was kept, as tensors: of what a trace of the loss is asked for."""
        raise NotImplementedError

    def read(self, heard: dict[str, Any], labels: dict, image_hw: tuple[int, ...]) -> Any:
        """The targets of `heard`, whose tensors have become arrays."""
        raise NotImplementedError

    def _replacements(self) -> Iterator[Replacement]:
        raise NotImplementedError

    def _keep(self, name: str, value: Any) -> None:
        self._tensors.setdefault(name, []).append(value)

    def _listening_matcher(self, assigner: Any) -> Replacement:
        """Keeps the best similarity of every object, whatever the thresholds."""
        match = assigner._matcher.match

        def matched(similarity: tf.Tensor, valid_rows: tf.Tensor | None = None) -> Any:
            self._keep("best_iou", tf.reduce_max(similarity, axis=1))
            return match(similarity, valid_rows=valid_rows)

        return assigner._matcher, "match", matched

    def _listening_generator(self, generator: Any) -> Replacement:
        """Keeps the anchors of each feature map."""
        generate = generator.generate

        def generated(feature_map_shapes: list, **more: Any) -> list:
            levels = generate(feature_map_shapes, **more)
            self._keep("feature_maps", [tf.stack(shape) for shape in feature_map_shapes])
            self._keep("levels", [level.get() for level in levels])
            return levels

        return generator, "generate", generated

    def _listening_loss(self, holder: Any, attribute: str) -> Callable:
        """Keeps the targets and the weights that a loss is called with."""
        loss = getattr(holder, attribute)

        def lost(
            predictions: tf.Tensor, targets: tf.Tensor, weights: Any = None, **more: Any
        ) -> Any:
            self._keep("targets", targets)
            self._keep("weights", weights)
            return loss(predictions, targets, weights=weights, **more)

        return lost


class _AnchorTap(_Tap):
    """What SSD and the first stage of Faster R-CNN share."""

    _anchors_normalized: bool

    def read(self, heard: dict[str, Any], labels: dict, image_hw: tuple[int, ...]) -> AnchorTargets:
        """As `_Tap.read`."""
        anchors = np.concatenate(heard["levels"])
        level_of = np.repeat(
            np.arange(len(heard["levels"])), [len(level) for level in heard["levels"]]
        )
        inside = heard.get("inside", np.arange(len(anchors)))
        outside = np.bincount(level_of, minlength=len(heard["levels"])) - np.bincount(
            level_of[inside], minlength=len(heard["levels"])
        )
        scale = _to_pixels(self._anchors_normalized, image_hw)
        counts = labels["num_groundtruth_boxes"]
        return AnchorTargets(
            levels=[
                Level(tuple(map(int, shape)), len(level), int(left_out))
                for shape, level, left_out in zip(
                    heard["feature_maps"], heard["levels"], outside, strict=True
                )
            ],
            anchors_yxyx_px=heard["anchors"] * scale,
            level_of=level_of[inside],
            match=heard["match"],
            counted=heard["counted"],
            best_iou=[iou[:count] for iou, count in zip(heard["best_iou"], counts, strict=True)],
            objects_yxyx_px=_objects(labels, image_hw),
        )


class SsdTap(_AnchorTap):
    """One-stage detectors: the anchors of the loss are all that the generator makes."""

    _anchors_normalized = True

    def _replacements(self) -> Iterator[Replacement]:
        model = self._model
        assign = model._assign_targets

        def kept_targets(*args: Any, **more: Any) -> Any:
            targets = assign(*args, **more)
            self._keep("match", targets[-1])
            return targets

        yield self._listening_generator(model._anchor_generator)
        yield self._listening_matcher(model._target_assigner)
        yield model, "_assign_targets", kept_targets
        classification = self._listening_loss(model, "_classification_loss")
        yield model, "_classification_loss", classification
        if model._hard_example_miner:
            yield model, "_hard_example_miner", self._listening_miner()

    def _listening_miner(self) -> Callable:
        """Keeps which anchors' losses the miner adds up: the gradient of its sum to each is 1."""
        miner = self._model._hard_example_miner

        def mined(
            location_losses: tf.Tensor, cls_losses: tf.Tensor, *args: Any, **more: Any
        ) -> tuple:
            location_loss, cls_loss = miner(location_losses, cls_losses, *args, **more)
            self._keep("mined", tf.gradients(cls_loss, cls_losses)[0] > 0)
            return location_loss, cls_loss

        # What else the model asks of it (summaries).
        mined.summarize = miner.summarize
        return mined

    def heard(self) -> dict[str, Any]:
        """As `_Tap.heard`."""
        tensors = self._tensors
        weights = tensors["weights"][0]
        counted = tf.reduce_any(tf.reshape(weights, [*weights.shape[:2], -1]) > 0, axis=-1)
        if "mined" in tensors:
            counted &= tensors["mined"][0]
        return {
            "feature_maps": tensors["feature_maps"][0],
            "levels": tensors["levels"][0],
            "anchors": tf.concat(tensors["levels"][0], axis=0),
            "match": tensors["match"][0],
            "counted": counted,
            "best_iou": tensors["best_iou"],
        }


class FirstStageTap(_AnchorTap):
    """Faster R-CNN's region proposals: anchors clipped to the image, or those that leave it out."""

    _anchors_normalized = False

    def _replacements(self) -> Iterator[Replacement]:
        model = self._model
        assigner = model._proposal_target_assigner
        assign, remove = assigner.assign, model._remove_invalid_anchors_and_predictions

        def kept_assign(anchors: Any, *args: Any, **more: Any) -> Any:
            targets = assign(anchors, *args, **more)
            self._keep("anchors", anchors.get())
            self._keep("match", targets[-1])
            return targets

        def kept_remove(
            encodings: tf.Tensor, objectness: tf.Tensor, anchors: Any, window: tf.Tensor
        ) -> Any:
            from object_detection.core import box_list_ops

            _, inside = box_list_ops.prune_outside_window(anchors, window)
            self._keep("inside", inside)
            return remove(encodings, objectness, anchors, window)

        yield self._listening_generator(model._first_stage_anchor_generator)
        yield self._listening_matcher(assigner)
        yield assigner, "assign", kept_assign
        yield model, "_remove_invalid_anchors_and_predictions", kept_remove
        objectness = self._listening_loss(model, "_first_stage_objectness_loss")
        yield model, "_first_stage_objectness_loss", objectness

    def heard(self) -> dict[str, Any]:
        """As `_Tap.heard`."""
        tensors = self._tensors
        heard = {
            "feature_maps": tensors["feature_maps"][0],
            "levels": tensors["levels"][0],
            "anchors": tensors["anchors"][0],
            "match": tf.stack(tensors["match"]),
            "counted": tensors["weights"][0][:, :, 0] > 0,
            "best_iou": tensors["best_iou"],
        }
        return heard | ({"inside": tensors["inside"][0]} if "inside" in tensors else {})


class HeatMapTap(_Tap):
    """CenterNet: Gaussians round the objects' centres."""

    def _replacements(self) -> Iterator[Replacement]:
        from object_detection.utils import target_assigner_utils

        model = self._model
        to_heat_map = target_assigner_utils.coordinates_to_heatmap

        def kept_heat_map(**arguments: Any) -> tf.Tensor:
            centre = (arguments["y_coordinates"], arguments["x_coordinates"])
            self._keep("centres", tf.floor(tf.stack(centre, axis=-1)))
            self._keep("sigma", arguments["sigma"])
            heat = to_heat_map(**arguments)
            self._keep("map_hw", tf.shape(heat)[:2])
            return heat

        parameters = model._center_params._replace(
            classification_loss=self._listening_loss(model._center_params, "classification_loss")
        )
        yield target_assigner_utils, "coordinates_to_heatmap", kept_heat_map
        yield model, "_center_params", parameters

    def heard(self) -> dict[str, Any]:
        """As `_Tap.heard`."""
        tensors = self._tensors
        targets, weights = tensors["targets"][0], tensors["weights"][0]
        batch = targets.shape[0]
        counted = tf.broadcast_to(weights, tf.shape(targets)) > 0

        def cells(which: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(tf.cast(which & counted, tf.int32), axis=[1, 2])

        peak = tf.equal(targets, 1.0)  # as the API's penalty-reduced focal loss tells them
        map_hw = tensors["map_hw"][0]
        return {
            "heat": tf.reshape(tf.reduce_max(targets, axis=-1), [batch, map_hw[0], map_hw[1]]),
            "peak": cells(peak),
            "gaussian": cells((targets > 0) & ~peak),
            "background": cells(targets <= 0),
            # A keypoint task makes heat maps of its own, after these.
            "centres": tensors["centres"][:batch],
            "sigma": tensors["sigma"][:batch],
        }

    def read(
        self, heard: dict[str, Any], labels: dict, image_hw: tuple[int, ...]
    ) -> HeatMapTargets:
        """As `_Tap.read`."""
        counts = labels["num_groundtruth_boxes"]
        classes = np.argmax(labels["groundtruth_classes"], axis=-1)
        return HeatMapTargets(
            stride=int(self._model._stride),
            heat=heard["heat"],
            cells={role: heard[role] for role in ("peak", "gaussian", "background")},
            peaks_yxc=[
                np.column_stack([centres[:count].astype(int), of_class[:count]])
                for centres, of_class, count in zip(heard["centres"], classes, counts, strict=True)
            ],
            # sigma = (2 radius + 1) / 6, in the API as in the paper's code.
            radius=[
                np.rint((6 * sigma[:count] - 1) / 2).astype(int)
                for sigma, count in zip(heard["sigma"], counts, strict=True)
            ],
            objects_yxyx_px=_objects(labels, image_hw),
        )


@contextlib.contextmanager
def replaced(*replacements: Replacement) -> Iterator[None]:
    """Inside, these attributes are replaced."""
    originals = [(holder, name, getattr(holder, name)) for holder, name, _ in replacements]
    for holder, name, replacement in replacements:
        setattr(holder, name, replacement)
    try:
        yield
    finally:
        for holder, name, original in originals:
            setattr(holder, name, original)


def _objects(labels: dict, image_hw: tuple[int, ...]) -> list[np.ndarray]:
    """The objects' boxes of each image, [number of objects, 4] yxyx in pixels."""
    scale = _to_pixels(True, image_hw)
    return [
        boxes[:count] * scale
        for boxes, count in zip(
            labels["groundtruth_boxes"], labels["num_groundtruth_boxes"], strict=True
        )
    ]


def _to_pixels(normalized: bool, image_hw: tuple[int, ...]) -> Any:
    height, width = image_hw
    return np.array([height, width, height, width], np.float32) if normalized else np.float32(1)
