"""`sv.Detections` of supervision, and with it whatever that package converts from.

    import supervision as sv
    def detect(batch):
        results = [model(image[..., ::-1], conf=0.001)[0] for image in batch]  # takes BGR
        return [sv.Detections.from_ultralytics(result) for result in results]
    benchmark(detect, dataset, numbering="contiguous")

Told by its attributes, so supervision itself is not imported: xyxy (boxes_xyxy_px), confidence,
class_id, and data["class_name"] where the converter gave names.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.benchmarking.adapters.outputs import LABELS, check_numbers, ids_of
from replicate.benchmarking.model import ModelDetections
from replicate.benchmarking.names import ids_of_names
from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset


def is_one(value: Any) -> bool:
    """Whether a value is an sv.Detections, by its attributes."""
    return all(hasattr(value, name) for name in ("xyxy", "confidence", "class_id"))


def converted(detections: Any, dataset: "Dataset", numbering: str | None = None) -> list[Any]:
    """A batch's detections, each sv.Detections as ModelDetections; others are left as they are.

    Args:
      detections: iterable of one object an image.
      dataset: Dataset; its categories give class ids and names theirs.
      numbering: what class_id counts, one of outputs.LABELS; None takes the names that the
        detections carry.
    """
    if numbering is not None and numbering not in LABELS:
        raise UserError(f"numbering '{numbering}'; there are: {', '.join(LABELS)}")
    if not isinstance(detections, Iterable) or is_one(detections):
        gave = "one sv.Detections" if is_one(detections) else f"{type(detections).__name__}"
        raise UserError(
            f"the model gave {gave} for a batch; it is given a list of images and gives a list, "
            "one for each"
        )
    return [_detections(one, dataset, numbering) if is_one(one) else one for one in detections]


def _detections(one: Any, dataset: "Dataset", numbering: str | None) -> ModelDetections:
    boxes = np.asarray(one.xyxy, np.float64).reshape(-1, 4)
    if len(boxes) and (one.confidence is None or one.class_id is None):
        raise UserError(
            "sv.Detections without confidence or class_id: AP ranks detections of each class by "
            "their scores, so both must be there"
        )
    scores = np.asarray(one.confidence if len(boxes) else [], np.float64)
    class_ids = np.asarray(one.class_id if len(boxes) else [], int).tolist()
    data = getattr(one, "data", None) or {}
    names = data.get("class_name")
    if numbering is None and names is None and len(boxes):
        raise UserError(
            "sv.Detections: class_id counts differently in every framework, and these carry no "
            'class names; say numbering="contiguous" (0, 1, 2 …, Ultralytics, Detectron2, '
            'MMDetection), "contiguous_from_one" or "coco" (COCO\'s own ids)'
        )
    if numbering is None:
        id_of_name = ids_of_names(map(str, names if names is not None else ()), dataset)
        ids = [id_of_name.get(str(name)) for name in (names if names is not None else ())]
    else:
        by_number = ids_of(numbering, dataset)
        check_numbers(class_ids, numbering, by_number)
        ids = [by_number.get(number) for number in class_ids]
    known = [index for index, id in enumerate(ids) if id is not None]
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    masks = getattr(one, "mask", None)
    return ModelDetections(
        xywh[known],
        scores[known],
        [ids[index] for index in known],
        masks=None if masks is None else np.asarray(masks)[known],
    )
