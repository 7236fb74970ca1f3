"""The API's multi-class suppression, computed over candidates in the order of their scores.

The API suppresses each class over all anchors and then keeps the best `max_total_size` of all
classes: 90 suppressions over 12,804 boxes an image for an SSD at 320 pixels, and a graph that
unrolls them. Greedy suppression looks at nothing but better boxes, so the best of all classes
are found by going through the candidates of all classes from the best one down and stopping
when enough are kept. Same boxes, same scores, same order; `tests/evaluate/test_suppression.py`
compares them.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from replicate.errors import UserError

# Where the API's models hold theirs: Faster R-CNN for its second stage, SSD.
_FUNCTIONS = ("_second_stage_nms_fn", "_non_max_suppression_fn")
# Candidates looked at: at first, then if those did not suffice, then all.
_CANDIDATES = (2048, 65536)
# Candidates taken into the matrix of overlaps at a time.
_CHUNK = 256


KIT, API, NONE = "kit", "api", "none"
#: What can be asked for.
ASKED = (KIT, API)
#: What can run: NONE is a model that suppresses nothing (CenterNet takes the peaks of its heatmap).
USED = (KIT, API, NONE)


def choose(model: Any, asked: str = KIT) -> str:
    """Gives a model the suppression that is asked for.

    Args:
      model: the API's DetectionModel.
      asked: KIT, this module's where it equals the model's; or API, the model's own.

    Returns:
      whose runs: one of USED. With KIT asked for it is API where this module's is not equal.

    Raises:
      UserError: `asked` is not one of ASKED.
    """
    if asked not in ASKED:
        raise UserError(f"suppression '{asked}'; there are: {', '.join(ASKED)}")
    if not any(getattr(model, name, None) for name in _FUNCTIONS):
        return NONE
    if getattr(model, "_number_of_stages", None) == 1:
        return API  # proposals are the detections, and their suppression is never replaced
    return KIT if asked == KIT and replace(model) else API


def replace(model: Any) -> bool:
    """Gives an SSD or Faster R-CNN this suppression where it equals the one it has.

    Args:
      model: the API's DetectionModel; soft, combined, class-agnostic and statically padded
        suppression stay the API's.

    Returns:
      whether it was replaced.
    """
    name = next(
        (attribute for attribute in _FUNCTIONS if _has(model, attribute)),
        None,
    )
    if name is None or not _can_replace(getattr(model, name).keywords):
        return False
    setattr(model, name, functools.partial(_suppress, theirs=getattr(model, name)))
    return True


def _has(model: Any, name: str) -> bool:
    function = getattr(model, name, None)
    return isinstance(function, functools.partial) and function.func is not _suppress


def _can_replace(settings: dict) -> bool:
    others = (
        *("soft_nms_sigma", "use_static_shapes", "use_class_agnostic_nms", "use_combined_nms"),
        "use_partitioned_nms",
    )
    return not any(settings[setting] for setting in others)


def _suppress(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    clip_window: tf.Tensor | None = None,
    change_coordinate_frame: bool | None = None,
    num_valid_boxes: tf.Tensor | None = None,
    masks: tf.Tensor | None = None,
    additional_fields: dict[str, tf.Tensor] | None = None,
    *,
    theirs: functools.partial,
) -> tuple:
    """`batch_multiclass_non_max_suppression` with the settings of the partial `theirs`.

    Args:
      boxes: float32 [batch, anchors, q, 4], yxyx; q is 1 or the number of classes.
      scores: float32 [batch, anchors, classes].
      clip_window: float32 [batch, 4].
      change_coordinate_frame: bool, overrides the setting.
      num_valid_boxes: int32 [batch], the anchors that count; None for all.
      masks: float32 [batch, anchors, q, height, width] or None.
      additional_fields: dict of float32 [batch, anchors, ...] or None.

    Returns:
      as the API's function: boxes, scores, classes, masks, additional fields, number.
    """
    settings = dict(theirs.keywords)
    if change_coordinate_frame is not None:
        settings["change_coordinate_frame"] = change_coordinate_frame
    fields = additional_fields or {}
    if settings["change_coordinate_frame"] and "keypoints" in fields:
        return theirs(
            boxes,
            scores,
            clip_window=clip_window,
            change_coordinate_frame=settings["change_coordinate_frame"],
            num_valid_boxes=num_valid_boxes,
            masks=masks,
            additional_fields=additional_fields,
        )
    if num_valid_boxes is not None:
        valid = tf.range(tf.shape(scores)[1])[tf.newaxis] < num_valid_boxes[:, tf.newaxis]
        scores = tf.where(valid[..., tf.newaxis], scores, -float("inf"))
    anchors, classes, selected_scores, number = _select(boxes, scores, clip_window, settings)
    at_anchor = anchors[..., tf.newaxis]
    at_box = tf.stack([anchors, _box_of_class(boxes, classes)], axis=-1)
    is_kept = tf.range(settings["max_total_size"])[tf.newaxis] < number[:, tf.newaxis]

    def gathered(values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """The selected values, and zeros in the places that nothing fills."""
        gathered = tf.gather_nd(values, indices, batch_dims=1)
        axes = tf.concat([tf.shape(is_kept), tf.ones([gathered.shape.rank - 2], tf.int32)], 0)
        return tf.where(tf.reshape(is_kept, axes), gathered, 0.0)

    selected_boxes = _clipped(tf.gather_nd(boxes, at_box, batch_dims=1), clip_window)
    if settings["change_coordinate_frame"]:
        selected_boxes = _in_frame_of(clip_window, selected_boxes)
    return (
        tf.where(is_kept[..., tf.newaxis], selected_boxes, 0.0),
        selected_scores,
        tf.cast(classes, tf.float32),
        None if masks is None else gathered(masks, at_box),
        {name: gathered(values, at_anchor) for name, values in fields.items()} or None,
        number,
    )


def _box_of_class(boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Which of an anchor's q boxes is that of a class."""
    return classes if boxes.shape[2] > 1 else tf.zeros_like(classes)


def _select(
    boxes: tf.Tensor, scores: tf.Tensor, clip_window: tf.Tensor | None, settings: dict
) -> tuple:
    """Anchor, class and score [batch, max_total_size] of what is kept, and how many [batch].

    Places that nothing fills hold zeros.
    """
    wanted = settings["max_total_size"]
    # The kernel takes scores above the threshold; NaN is not.
    best_of_anchor = tf.reduce_max(scores, axis=2)
    best_of_anchor = tf.where(best_of_anchor == best_of_anchor, best_of_anchor, float("inf"))

    def among(count: tf.Tensor) -> tuple:
        """What is kept of the best `count` candidates, and whether more would change nothing."""
        best, anchors, classes, certain = _candidates(scores, best_of_anchor, count, settings)
        where = tf.stack([anchors, _box_of_class(boxes, classes)], axis=-1)
        candidates = tf.gather_nd(boxes, where, batch_dims=1)
        with tf.device("/cpu:0"):
            places, number = tf.map_fn(
                lambda image: _greedy(image[0], image[1], image[2], image[3], settings),
                (candidates, classes, certain, _area(_clipped(candidates, clip_window)) > 0),
                fn_output_signature=(
                    tf.TensorSpec([wanted], tf.int32),
                    tf.TensorSpec([], tf.int32),
                ),
                parallel_iterations=32,
            )
        is_kept = tf.range(wanted) < number[:, tf.newaxis]
        outputs = [
            tf.where(is_kept, tf.gather(values, places, batch_dims=1), 0)
            for values in (anchors, classes, best)
        ]
        all_candidates = tf.size(scores[0]) <= count
        return *outputs, number, tf.reduce_all(number == wanted) | all_candidates

    counts = tf.stack([*_CANDIDATES, tf.size(scores[0])])
    shape = [tf.shape(scores)[0], wanted]
    nothing = (tf.zeros(shape, tf.int32), tf.zeros(shape, tf.int32), tf.zeros(shape))
    _, *outputs, number, _ = tf.while_loop(
        lambda turn, *results: ~results[-1],
        lambda turn, *results: (turn + 1, *among(counts[turn])),
        (0, *nothing, tf.zeros(shape[:1], tf.int32), False),
    )
    return *(tf.ensure_shape(output, [None, wanted]) for output in outputs), number


def _candidates(
    scores: tf.Tensor, best_of_anchor: tf.Tensor, count: tf.Tensor, settings: dict
) -> tuple:
    """The best of all anchors and classes, in the API's order: by score, class, anchor.

    Args:
      scores: float32 [batch, anchors, classes].
      best_of_anchor: float32 [batch, anchors], their maxima.
      count: how many are wanted.

    Returns:
      score, anchor, class [batch, n], and the number [batch] of those that are above the
      threshold and above all that was not looked at.
    """
    num_anchors, num_classes = tf.shape(scores)[1], tf.shape(scores)[2]
    # The best `count` are of `count` anchors at most, of those with the highest maxima.
    looked_at = tf.minimum(count, num_anchors)
    maxima, anchors = tf.math.top_k(best_of_anchor, tf.minimum(looked_at + 1, num_anchors))
    left_out = tf.where(looked_at < num_anchors, maxima[:, -1], -float("inf"))
    anchors = tf.sort(anchors[:, :looked_at], axis=1)
    by_class = tf.transpose(tf.gather(scores, anchors, batch_dims=1), [0, 2, 1])
    flat = tf.reshape(by_class, [tf.shape(scores)[0], -1])
    flat = tf.where(flat > settings["score_thresh"], flat, -float("inf"))
    size = looked_at * num_classes
    best, index = tf.math.top_k(flat, tf.minimum(count, size))
    certain = tf.math.count_nonzero(best > left_out[:, tf.newaxis], axis=1, dtype=tf.int32)
    anchors = tf.gather(anchors, index % looked_at, batch_dims=1)
    return best, anchors, index // looked_at, certain


def _greedy(
    boxes: tf.Tensor, classes: tf.Tensor, count: tf.Tensor, has_area: tf.Tensor, settings: dict
) -> tuple[tf.Tensor, tf.Tensor]:
    """Suppression within one image.

    Args:
      boxes: float32 [candidates, 4], in descending order of score.
      classes: int32 [candidates].
      count: how many of them are to be looked at.
      has_area: bool [candidates]; one without suppresses others but is not kept itself.

    Returns:
      places [max_total_size] of the kept among the candidates, and their number.
    """
    wanted = settings["max_total_size"]

    def shown(kept: tf.Tensor) -> tf.Tensor:
        """Of what survived, the ones that the API would return, before its cut at the total."""
        of_kept = tf.gather(classes, kept)
        same = tf.cast(of_kept[:, tf.newaxis] == of_kept, tf.int32)
        rank = tf.reduce_sum(tf.linalg.band_part(same, -1, 0), axis=1) - 1
        allowed = (rank < settings["max_size_per_class"]) & tf.gather(has_area, kept)
        return tf.boolean_mask(kept, allowed)

    def more(position: tf.Tensor, kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        end = tf.minimum(position + _CHUNK, count)
        looked_at = tf.concat([kept, tf.range(position, end)], 0)
        overlaps = _overlaps(tf.gather(boxes, looked_at), tf.gather(classes, looked_at))
        total = tf.shape(looked_at)[0]
        selected = tf.raw_ops.NonMaxSuppressionWithOverlaps(
            overlaps=overlaps,
            scores=-tf.range(tf.cast(total, tf.float32)),
            max_output_size=total,
            overlap_threshold=settings["iou_thresh"],
            score_threshold=-float("inf"),
        )
        return end, tf.gather(looked_at, selected)

    position, kept = tf.while_loop(
        lambda position, kept: (position < count) & (tf.shape(shown(kept))[0] < wanted),
        more,
        (0, tf.zeros([0], tf.int32)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
    )
    places = shown(kept)[:wanted]
    number = tf.shape(places)[0]
    places = tf.pad(places, [[0, wanted - number]])
    return tf.ensure_shape(places, [wanted]), number


def _overlaps(boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """IoU [n, n] as TensorFlow's kernel computes it; 0 between boxes of different classes."""
    top, left, bottom, right = tf.unstack(boxes, axis=1)
    top, bottom = tf.minimum(top, bottom), tf.maximum(top, bottom)
    left, right = tf.minimum(left, right), tf.maximum(left, right)
    area = (bottom - top) * (right - left)

    def pairs(join: Callable, values: tf.Tensor) -> tf.Tensor:
        return join(values[:, tf.newaxis], values)

    height = tf.maximum(pairs(tf.minimum, bottom) - pairs(tf.maximum, top), 0.0)
    width = tf.maximum(pairs(tf.minimum, right) - pairs(tf.maximum, left), 0.0)
    shared = height * width
    iou = shared / (pairs(tf.add, area) - shared)
    compared = pairs(tf.equal, classes) & pairs(tf.logical_and, area > 0)
    return tf.where(compared, iou, 0.0)


def _clipped(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Boxes [batch, n, 4] cut at each image's window [batch, 4]."""
    low, high = window[:, tf.newaxis, :2], window[:, tf.newaxis, 2:]
    return tf.concat(
        [
            tf.maximum(tf.minimum(boxes[..., :2], high), low),
            tf.maximum(tf.minimum(boxes[..., 2:], high), low),
        ],
        axis=-1,
    )


def _area(boxes: tf.Tensor) -> tf.Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _in_frame_of(window: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Boxes [batch, n, 4] relative to each image's window [batch, 4]."""
    corner, size = window[:, tf.newaxis, :2], window[:, 2:] - window[:, :2]
    scale = (1.0 / size)[:, tf.newaxis]
    return (boxes - tf.concat([corner, corner], -1)) * tf.concat([scale, scale], -1)
