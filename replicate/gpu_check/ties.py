"""Groundtruth boxes that two anchors overlap equally: which of them is matched, rounding decides.

    python -m replicate.gpu_check.ties --model=ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 \\
        --annotations=annotations/instances_val2017.json

The API gives each groundtruth box the anchor that overlaps it most, however little that is (a
forced match). Where two overlap it equally up to float32's rounding, another order of arithmetic
(XLA's, another processor's) may take the other one. It makes a difference where neither anchor is
matched anyway, by the threshold: those ties are counted apart, as `decisive`.
"""

import argparse
import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from google.protobuf.message import Message

# Of an IoU's value: some units in the last place of float32, through which it is computed.
EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class Ties:
    """What was found.

    Attributes:
      boxes: how many were looked at; crowds and boxes without an area are not.
      tied: (image id, annotation id) of those whose best anchor is one of several.
      decisive: those of them whose best overlap is below the matching threshold.
    """

    boxes: int
    tied: list[tuple[int, int]]
    decisive: list[tuple[int, int]]


def of_annotations(config: "Message", annotations: dict) -> Ties:
    """The ties of a COCO annotation file's boxes under a config's anchors and resizing.

    Args:
      config: TrainEvalPipelineConfig of an SSD or a Faster R-CNN; without augmentation.
      annotations: COCO JSON as loaded.
    """
    threshold = _threshold(config.model)
    boxes, tied, decisive = 0, [], []
    for name, box, anchors, _ in _boxes(config.model, annotations):
        boxes += 1
        overlap = _iou(box, anchors)
        best = overlap.max()
        if best > 0 and (overlap >= best * (1 - EPSILON)).sum() > 1:
            tied.append(name)
            if best < threshold:
                decisive.append(name)
    return Ties(boxes, tied, decisive)


def taken_otherwise(config: "Message", annotations: dict) -> list[tuple[int, int]]:
    """The boxes that the API's own IoU and argmax give another anchor when XLA compiles them.

    Args:
      config, annotations: as of `of_annotations`.

    Returns:
      (image id, annotation id) of each.
    """
    from replicate import odapi

    odapi.load()
    import tensorflow as tf
    from object_detection.core import box_list, region_similarity_calculator

    def best_anchor(box_yxyx_norm: tf.Tensor, anchors_yxyx_norm: tf.Tensor) -> tf.Tensor:
        similarity = region_similarity_calculator.IouSimilarity().compare(
            box_list.BoxList(box_yxyx_norm), box_list.BoxList(anchors_yxyx_norm)
        )
        return tf.argmax(similarity, 1)

    op_by_op, compiled = tf.function(best_anchor), tf.function(best_anchor, jit_compile=True)
    names = []
    for name, box, anchors, (height, width) in _boxes(config.model, annotations):
        frame = np.array([height, width, height, width], np.float32)
        normalized = (
            (box / frame).astype(np.float32)[np.newaxis],
            anchors.astype(np.float32) / frame,
        )
        if int(op_by_op(*normalized)[0]) != int(compiled(*normalized)[0]):
            names.append(name)
    return names


def _boxes(
    model_config: "Message", annotations: dict
) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray, tuple[int, int]]]:
    """((image id, annotation id), box, anchors, frame) of each box, yxyx in the frame's pixels."""
    sizes_hw = {image["id"]: (image["height"], image["width"]) for image in annotations["images"]}
    anchors: dict[tuple[int, int], np.ndarray] = {}
    for annotation in annotations["annotations"]:
        x, y, width, height = annotation["bbox"]
        if annotation.get("iscrowd") or width <= 0 or height <= 0:
            continue
        (scale_y, scale_x), frame_hw = _resized(model_config, sizes_hw[annotation["image_id"]])
        if frame_hw not in anchors:
            anchors[frame_hw] = anchors_yxyx_px(model_config, frame_hw)
        box = np.array([y * scale_y, x * scale_x, (y + height) * scale_y, (x + width) * scale_x])
        yield (annotation["image_id"], annotation["id"]), box, anchors[frame_hw], frame_hw


def anchors_yxyx_px(model_config: "Message", frame_hw: tuple[int, int]) -> np.ndarray:
    """The API's anchors of an input of this size as training has them, [n, 4] in its pixels."""
    from replicate import odapi

    odapi.load()
    from object_detection.builders import anchor_generator_builder

    family = model_config.WhichOneof("model")
    model = getattr(model_config, family)
    generator_config = (
        model.anchor_generator if family == "ssd" else model.first_stage_anchor_generator
    )
    generator = anchor_generator_builder.build(generator_config)
    shapes = _feature_maps_hw(generator_config, frame_hw)
    if generator.check_num_anchors and len(shapes) != len(generator.num_anchors_per_location()):
        raise ValueError(f"{len(shapes)} feature maps for {generator.name_scope()}")
    height, width = frame_hw
    grid = generator_config.HasField("grid_anchor_generator")
    size = {} if grid else {"im_height": height, "im_width": width}
    lists = generator.generate(shapes, **size)
    anchors = np.concatenate([grid.get().numpy() for grid in lists]).astype(np.float64)
    if np.abs(anchors).max() < 16:  # normalized
        anchors = anchors * [height, width, height, width]
    return anchors if family == "ssd" else _of_proposals(model, anchors, frame_hw)


def _of_proposals(
    faster_rcnn: "Message", anchors_yxyx: np.ndarray, frame_hw: tuple[int, int]
) -> np.ndarray:
    """A first stage's anchors as they are trained: cut to the frame, or those inside it alone."""
    frame = np.array([*frame_hw, *frame_hw], float)
    if faster_rcnn.clip_anchors_to_image:
        return np.clip(anchors_yxyx, 0, frame)
    return anchors_yxyx[((anchors_yxyx >= 0) & (anchors_yxyx <= frame)).all(axis=1)]


def _feature_maps_hw(generator: Any, frame_hw: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes of the maps that carry anchors, as 'same' padding gives them."""

    def halved(times: int) -> tuple[int, int]:
        height, width = frame_hw
        for _ in range(times):
            height, width = math.ceil(height / 2), math.ceil(width / 2)
        return height, width

    kind = generator.WhichOneof("anchor_generator_oneof")
    if kind == "multiscale_anchor_generator":
        levels = generator.multiscale_anchor_generator
        return [halved(level) for level in range(levels.min_level, levels.max_level + 1)]
    if kind == "grid_anchor_generator":
        return [halved(round(math.log2(generator.grid_anchor_generator.height_stride)))]
    return [halved(4 + layer) for layer in range(generator.ssd_anchor_generator.num_layers)]


def _resized(
    model_config: "Message", image_hw: tuple[int, int]
) -> tuple[tuple[float, float], tuple[int, int]]:
    """((scale of y, of x), size of the frame that the network gets)."""
    resizer = getattr(model_config, model_config.WhichOneof("model")).image_resizer
    height, width = image_hw
    if resizer.HasField("fixed_shape_resizer"):
        frame = resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
        return (frame[0] / height, frame[1] / width), frame
    keep = resizer.keep_aspect_ratio_resizer
    scale = min(keep.min_dimension / min(image_hw), keep.max_dimension / max(image_hw))
    if keep.pad_to_max_dimension:
        return (scale, scale), (keep.max_dimension, keep.max_dimension)
    return (scale, scale), (round(height * scale), round(width * scale))


def _threshold(model_config: "Message") -> float:
    """The overlap from which an anchor is matched without force."""
    if model_config.HasField("ssd"):
        return model_config.ssd.matcher.argmax_matcher.matched_threshold
    return 0.7  # the API's of proposals: target_assigner.create_target_assigner('FasterRCNN', …)


def _iou(box_yxyx: np.ndarray, boxes_yxyx: np.ndarray) -> np.ndarray:
    corner = np.maximum(box_yxyx[:2], boxes_yxyx[:, :2])
    opposite = np.minimum(box_yxyx[2:], boxes_yxyx[:, 2:])
    shared = np.prod(np.clip(opposite - corner, 0, None), axis=1)
    own = np.prod(box_yxyx[2:] - box_yxyx[:2])
    theirs = np.prod(boxes_yxyx[:, 2:] - boxes_yxyx[:, :2], axis=1)
    return shared / (own + theirs - shared)


def main() -> None:
    from replicate import config

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="what tools take: a name, a config, a run")
    parser.add_argument("--annotations", required=True, type=pathlib.Path, help="COCO JSON")
    options = parser.parse_args()
    annotations = json.loads(options.annotations.read_text(encoding="utf-8"))
    message = config.read(options.model)
    ties = of_annotations(message, annotations)
    print(
        f"{ties.boxes} boxes, {len(ties.tied)} tied between anchors "
        f"({len(ties.tied) / max(ties.boxes, 1):.2%}), of which {len(ties.decisive)} below the "
        f"threshold ({len(ties.decisive) / max(ties.boxes, 1):.2%})"
    )
    otherwise = taken_otherwise(message, annotations)
    print(f"XLA on this machine takes another anchor for {len(otherwise)}")
    for image_id, annotation_id in otherwise:
        print(f"  image {image_id}, annotation {annotation_id}")


if __name__ == "__main__":
    main()
