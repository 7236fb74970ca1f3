"""The report's section on the score: each metric, what it means, what was published of it."""

from typing import Any

from replicate import zoo
from replicate.score import METRICS, text
from replicate.score.text import KINDS
from replicate.verdict import FIGURES

MEANINGS = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "APs": "small objects, below 32² px",
    "APm": "medium objects, 32² to 96² px",
    "APl": "large objects, above 96² px",
    "AR@1": "recall with 1 detection an image",
    "AR@10": "recall with 10 detections an image",
    "AR@100": "recall with 100 detections an image",
    "ARs": "recall of small objects",
    "ARm": "recall of medium objects",
    "ARl": "recall of large objects",
}
_KEYPOINT_MEANINGS = {
    "AP": "mean over object keypoint similarity (OKS) 0.50 to 0.95",
    "AP50": "at OKS 0.50",
    "AP75": "at OKS 0.75",
    "APm": "medium persons, 32² to 96² px",
    "APl": "large persons, above 96² px",
    "AR": "recall with 20 detections an image",
    "AR50": "recall at OKS 0.50",
    "AR75": "recall at OKS 0.75",
    "ARm": "recall of medium persons",
    "ARl": "recall of large persons",
}


def metrics_of(
    last: dict | None,
    row: zoo.Row | None,
    references: dict[str, float] | None = None,
    published_cut: float = 0.0,
) -> Any:
    """ "metrics" of the report.

    Args:
      last: a metrics.json's dict with its step, or None.
      row: the zoo's, whose figures stand beside the metrics; None where they are no reference.
      published_cut: the score at which the published figure's detections were cut.
      references: dict figure's name ("box AP") -> points of a reference of the user's own.
    """
    if last is None:
        return None
    return {
        "step": last["step"],
        "checkpoint": last.get("checkpoint"),
        "iou_type": last["iou_type"],
        "agree": last["agree"],
        "versions": last.get("versions", {}),
        "annotations": last["annotations"],
        "detections": last["detections"],
        "remarks": text.remarks(last, published_cut=published_cut),
        "inference": last.get("inference"),
        "made_by": text.of_inference(last.get("inference")),
        "rows": _rows(last, row, references or {}),
        # Beside boxes: masks or keypoints.
        "others": [
            {
                "iou_type": other["iou_type"],
                "name": KINDS[other["iou_type"]].capitalize(),
                "agree": other["agree"],
                "versions": other.get("versions", {}),
                "remarks": text.remarks(other, published_cut=published_cut),
                "rows": _rows(other, row, references or {}),
            }
            for other in last.get("others", [])
        ],
    }


def _rows(score: dict, row: zoo.Row | None, references: dict[str, float]) -> list[dict]:
    """Each metric of one kind of evaluation: what it is, its value, the figure beside it."""
    figure_name, attribute = FIGURES[score["iou_type"]]
    figure = row.figure(attribute.removesuffix("_map")) if row is not None else None
    kind = figure_name.removesuffix(" AP")
    published = {f"{kind} AP": figure.points} if figure is not None else references
    meanings = _KEYPOINT_MEANINGS if score["iou_type"] == "keypoints" else MEANINGS
    return [
        {
            "name": name,
            "meaning": meanings[name],
            "value": score["metrics"][name],
            "published": published.get(f"{kind} {name}"),
            "evaluators": {
                evaluator: figures[name] for evaluator, figures in score["evaluators"].items()
            },
        }
        for name in METRICS[score["iou_type"]]
    ]
