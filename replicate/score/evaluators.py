"""The two evaluators, called alike: hotcoco for speed, pycocotools as the official word."""

import contextlib
import dataclasses
import importlib.metadata
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from replicate.score.detections import Detections
    from replicate.score.groundtruth import Groundtruth


# The names of pycocotools' `stats`, in its order. `m` and `l` of keypoints as there: no small.
METRICS = {
    "bbox": (
        *("AP", "AP50", "AP75", "APs", "APm", "APl"),
        *("AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl"),
    ),
    "keypoints": ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"),
}
METRICS["segm"] = METRICS["bbox"]

EVALUATORS = ("hotcoco", "pycocotools")


@dataclasses.dataclass(frozen=True)
class EvaluatorFigures:
    """What one evaluator says.

    Attributes:
      name, version: of the evaluator.
      metrics: dict metric name -> value in 0..1, or None where undefined (pycocotools' -1).
      precision: (T, R, K, A, M) float64: IoU thresholds, recall thresholds, categories, areas,
        detection limits; -1 where undefined.
      recall: (T, K, A, M) float64, alike.
      category_ids: K ids, the order of axis K.
      handle: the evaluator's own object after `accumulate`.
    """

    name: str
    version: str
    metrics: dict[str, float | None]
    precision: np.ndarray
    recall: np.ndarray
    category_ids: list[int]
    handle: Any


def evaluate(
    name: str, groundtruth: "Groundtruth", detections: "Detections", image_ids: Iterable[int]
) -> EvaluatorFigures:
    """Runs an evaluator over `detections` on the images `image_ids`.

    Args:
      name: one of EVALUATORS.
      detections: Detections, of images and categories that the groundtruth has.
      image_ids: ids of the images to score.
    """
    # pycocotools reports its progress on stdout, which is for answers.
    with contextlib.redirect_stdout(io.StringIO()):
        handle = {"hotcoco": _hotcoco, "pycocotools": _pycocotools}[name](groundtruth, detections)
        handle.params.imgIds = sorted(image_ids)
        handle.evaluate()
    return finished(name, handle, detections.iou_type)


def finished(name: str, handle: Any, iou_type: str) -> EvaluatorFigures:
    """The EvaluatorFigures of an evaluator's own object in which every image has been matched."""
    with contextlib.redirect_stdout(io.StringIO()):
        handle.accumulate()
        # hotcoco prints from Rust, past the redirection; its `summary_lines` only computes.
        (handle.summary_lines if name == "hotcoco" else handle.summarize)()
    return EvaluatorFigures(
        name=name,
        version=importlib.metadata.version(name),
        metrics={
            metric: _defined(value)
            for metric, value in zip(METRICS[iou_type], handle.stats, strict=True)
        },
        precision=np.asarray(handle.eval["precision"]),
        recall=np.asarray(handle.eval["recall"]),
        category_ids=[int(category_id) for category_id in handle.params.catIds],
        handle=handle,
    )


def per_category(
    evaluation: EvaluatorFigures,
    groundtruth: "Groundtruth",
    detections: "Detections",
    image_ids: list[int],
) -> list[dict]:
    """AP of each category, in ascending order of id.

    The mean over recall thresholds (and IoU thresholds) of the interpolated precision, as
    pycocotools' `summarize` takes it over all categories together.

    Returns:
      list of dicts: id, name, groundtruth (annotations other than crowds, in the scored images),
      detections (their number), AP, AP50, AP75, of bbox and segm APs, of all APm, APl, and AR at
      the largest number of detections; None where there is no groundtruth to recall.
    """
    scored = np.isin(groundtruth.annotation_image_ids, image_ids) & ~groundtruth.annotation_crowd
    thresholds = np.asarray(evaluation.handle.params.iouThrs)
    at_50, at_75 = (int(np.argmin(abs(thresholds - iou))) for iou in (0.5, 0.75))
    areas = ("m", "l") if detections.iou_type == "keypoints" else ("s", "m", "l")

    rows = []
    for k, category_id in enumerate(evaluation.category_ids):
        precision = evaluation.precision[:, :, k, :, -1]
        of_category = groundtruth.annotation_category_ids == category_id
        rows.append(
            {
                "id": category_id,
                "name": groundtruth.categories[category_id],
                "groundtruth": int((scored & of_category).sum()),
                "detections": int((detections.category_ids == category_id).sum()),
                "AP": _mean(precision[:, :, 0]),
                "AP50": _mean(precision[at_50, :, 0]),
                "AP75": _mean(precision[at_75, :, 0]),
                **{f"AP{size}": _mean(precision[:, :, a]) for a, size in enumerate(areas, 1)},
                "AR": _mean(evaluation.recall[:, k, 0, -1]),
            }
        )
    return rows


def matched_by_hotcoco(
    dataset: dict | str, detections: "Detections", image_ids: Iterable[int]
) -> Any:
    """hotcoco's own object, in which the images `image_ids` have been matched.

    Args:
      dataset: a COCO file as a dict, or its path.
      detections: Detections of it.
    """
    handle = _hotcoco_of(dataset, detections)
    handle.params.imgIds = sorted(image_ids)
    handle.evaluate()
    return handle


def _hotcoco(groundtruth: "Groundtruth", detections: "Detections") -> Any:
    """It reads a plain file itself, which is quicker: neither packed nor with a mark before it."""
    plain = groundtruth.file.sha256 == groundtruth.file.content_sha256
    return _hotcoco_of(str(groundtruth.path) if plain else groundtruth.as_coco(), detections)


def _hotcoco_of(dataset: dict | str, detections: "Detections") -> Any:
    from tfrecords.hotcoco_loaded import hotcoco

    truth = hotcoco.COCO(dataset)
    if detections.iou_type == "bbox":
        # Columns image_id, x, y, width, height, score, category_id: no dict for each detection.
        results: np.ndarray | list[dict] = np.column_stack(
            [
                detections.image_ids,
                detections.shapes,
                detections.scores,
                detections.category_ids,
            ]
        )
    else:
        results = detections.as_dicts()
    return hotcoco.COCOeval(truth, truth.load_res(results), detections.iou_type)


def _pycocotools(groundtruth: "Groundtruth", detections: "Detections") -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = groundtruth.as_coco()
    truth.createIndex()
    if len(detections):
        results = truth.loadRes(detections.as_dicts())
    else:
        # `loadRes` looks at the first detection; without one there is nothing to index.
        results = COCO()
        results.dataset = {
            "images": truth.dataset["images"],
            "annotations": [],
            "categories": truth.dataset["categories"],
        }
        results.createIndex()
    return COCOeval(truth, results, detections.iou_type)


def _defined(value: float) -> float | None:
    return None if value <= -1 else float(value)


def _mean(values: np.ndarray) -> float | None:
    values = values[values > -1]
    return float(values.mean()) if values.size else None
