"""What lies behind the metrics: curves, errors, calibration.

All of it is hotcoco's, but for the sums over confidence and sizes; see docs/scoring.md.
"""

import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.errors import UserError
from replicate.score.error_split import error_split
from replicate.score.evaluators import METRICS
from replicate.score.over_images import METHOD, SIZES, intervals

if TYPE_CHECKING:
    from replicate.score.scoring import Result


_MOST_CONFUSED = 20


def analyse(
    result: "Result", *, samples: int = 0, seed: int = 0, bootstrap: int | None = None
) -> dict:
    """The analysis of a Result, as the "analysis" of metrics.json.

    Args:
      result: Result of `score` with hotcoco among its evaluators.
      samples: halves of the images that are scored for the intervals; 0 leaves them out.
      seed: of the halves.
      bootstrap: `samples` under its former name.

    Returns:
      dict: by_size, precision_recall, f1, tide, confusion, calibration and, with `samples`,
      intervals and intervals_method; f1 and calibration where all scores lie from 0 to 1.
    """
    handle = _handle(result)
    analysis: dict[str, Any] = {
        "by_size": _by_size(result),
        "precision_recall": _precision_recall(handle),
    }
    if _from_0_to_1(result):
        analysis |= {"f1": _f1(result, handle), "calibration": handle.calibration()}
    if result.iou_type != "keypoints":
        analysis["tide"] = error_split(result)
        analysis["confusion"] = _confusion(handle)
    samples = samples if bootstrap is None else bootstrap
    if samples:
        analysis["intervals"] = intervals(result, samples=samples, seed=seed)
        analysis["intervals_method"] = METHOD
    return analysis


def draw(result: "Result", folder: str | os.PathLike) -> list[str]:
    """Draws precision–recall curves, calibration, errors and confusions as PNG files.

    Returns:
      list of the files' paths.
    """
    import matplotlib

    matplotlib.use("Agg")
    from hotcoco import plot
    from matplotlib import pyplot

    handle, folder = _handle(result), pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {"precision_recall": lambda path: plot.pr_curve(handle, save_path=path)}
    if _from_0_to_1(result):
        drawings["calibration"] = lambda path: plot.reliability_diagram(handle, save_path=path)
    if result.iou_type != "keypoints":
        drawings |= {
            "errors": lambda path: plot.tide_errors(error_split(result), save_path=path),
            "confusions": lambda path: plot.top_confusions(
                handle.confusion_matrix(), save_path=path
            ),
        }
    paths = []
    with plot.style():
        for name, drawing in drawings.items():
            paths.append(str(folder / f"{name}.png"))
            drawing(paths[-1])
            pyplot.close("all")
    return paths


def _handle(result: "Result") -> Any:
    if "hotcoco" not in result.evaluations:
        raise UserError("the analysis is hotcoco's: score with evaluator 'hotcoco' or 'both'")
    return result.evaluations["hotcoco"].handle


def _from_0_to_1(result: "Result") -> bool:
    """Whether scores are such as thresholds and calibration are about."""
    scores = result.detections.scores
    return bool(((scores >= 0) & (scores <= 1)).all())


def _by_size(result: "Result") -> dict:
    truth = result.groundtruth
    mine = np.isin(truth.annotation_image_ids, result.image_ids) & ~truth.annotation_crowd
    areas = truth.annotation_areas
    rows = {}
    for name, (low, high) in SIZES.items():
        if f"AP{name[0]}" not in METRICS[result.iou_type]:
            continue
        rows[name] = {
            # pycocotools takes both ends in.
            "groundtruth": int((mine & (areas >= low) & (areas <= high)).sum()),
            "AP": result.metrics[f"AP{name[0]}"],
            "AR": result.metrics[f"AR{name[0]}"],
        }
    return rows


def _precision_recall(handle: Any) -> dict:
    """Mean over categories at each recall, as the published curves are drawn."""
    curves = handle.report()["curves"]
    return {
        "recall": list(curves["rec_thrs"]),
        "precision": {
            name.removeprefix("pr@"): list(values)
            for name, values in curves.items()
            if name.startswith("pr@")
        },
    }


def _f1(result: "Result", handle: Any) -> dict:
    """F1 over confidence at IoU 0.5, all categories together, and where it is highest.

    F1 = 2 TP / (TP + FP + groundtruth) of the detections that score at least the threshold.
    """
    status = handle.image_diagnostics()["dt_status"]
    # hotcoco numbers detections from 1 in the order they were given.
    hits = np.array([status.get(i + 1) == "tp" for i in range(len(result.detections))], bool)
    misses = np.array([status.get(i + 1) == "fp" for i in range(len(hits))], bool)
    groundtruth = sum(category["groundtruth"] for category in result.per_category)
    scores = result.detections.scores
    order = np.argsort(scores, kind="stable")
    thresholds = np.linspace(0, 1, 101)
    first = np.searchsorted(scores[order], thresholds)

    def above(mask: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0], np.cumsum(mask[order])])
        return total[-1] - total[first]

    true, false = above(hits), above(misses)
    f1 = 2 * true / np.maximum(true + false + groundtruth, 1)
    return {
        "threshold": thresholds.round(2).tolist(),
        "f1": f1.tolist(),
        "precision": (true / np.maximum(true + false, 1)).tolist(),
        "recall": (true / max(groundtruth, 1)).tolist(),
        "best_threshold": float(thresholds[f1.argmax()].round(2)),
        # Over categories, each at its own best threshold.
        "best_per_category": handle.f_scores(),
    }


def _confusion(handle: Any) -> dict:
    """The commonest pairs of a groundtruth category and the category it was called."""
    confusion = handle.confusion_matrix()
    matrix, names = confusion["matrix"], [*confusion["cat_names"], "background"]
    off_diagonal = matrix.astype(np.int64).copy()
    np.fill_diagonal(off_diagonal, 0)
    categories = off_diagonal[:-1, :-1]
    order = np.argsort(-categories, axis=None, kind="stable")[:_MOST_CONFUSED]
    return {
        "iou_threshold": confusion["iou_thr"],
        "category_ids": confusion["cat_ids"],
        # Rows are groundtruth, columns what it was called; the last of each is background.
        "matrix": matrix.tolist(),
        "most_confused": [
            {"groundtruth": names[i], "called": names[j], "count": int(categories[i, j])}
            for i, j in zip(*np.unravel_index(order, categories.shape), strict=True)
            if categories[i, j]
        ],
    }
