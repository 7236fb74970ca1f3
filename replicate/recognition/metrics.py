"""How well scores tell which categories are in an image, by scikit-learn.

Average precision is scikit-learn's `average_precision_score` (the sum over thresholds of the gain
in recall times precision, without interpolation) of each category over the images; mean AP is
their mean. A category that no image holds has no AP: it is not counted, and named.
"""

from collections.abc import Sequence

import numpy as np
from sklearn import metrics as sklearn_metrics

from replicate.recognition.classes import Class

AT_THRESHOLD = ("precision", "recall", "F1")
# Thresholds of the curve of F1.
THRESHOLDS = np.round(np.linspace(0.0, 1.0, 101), 2)


def of(labels: np.ndarray, scores: np.ndarray, classes: Sequence[Class], threshold: float) -> dict:
    """The metrics of one set of images.

    Args:
      labels: bool [images, classes], which categories are in which image.
      scores: float32 [images, classes] in 0..1.
      classes: of the columns.
      threshold: scores from here on say "in the image".

    Returns:
      Plain values: images, threshold, mean_AP (None where no category counts),
      categories_counted, without_positives (id and name of each), F1 and precision and recall
      (each {"micro": over all decisions, "macro": mean over the counted categories}), and
      per_category: id, name, positives, AP, precision, recall, F1 of each; the last four None
      where nothing counts.
    """
    labels = np.asarray(labels, bool)
    counted = np.any(labels, axis=0)
    average_precision = _average_precision(labels, scores, counted)
    predicted = scores >= threshold
    columns = [
        _at_threshold(labels[:, index], predicted[:, index]) for index in range(len(classes))
    ]
    per_category = [
        {
            "id": category.id,
            "name": category.name,
            "positives": int(labels[:, index].sum()),
            "AP": float(average_precision[index]) if counted[index] else None,
            **{name: columns[index][name] if counted[index] else None for name in AT_THRESHOLD},
        }
        for index, category in enumerate(classes)
    ]
    overall = _at_threshold(labels.ravel(), predicted.ravel())
    return {
        "images": len(labels),
        "threshold": threshold,
        "mean_AP": _mean(average_precision[counted]),
        "categories_counted": int(counted.sum()),
        "without_positives": [
            {"id": category.id, "name": category.name}
            for category, counts in zip(classes, counted, strict=True)
            if not counts
        ],
        **{
            name: {
                "micro": overall[name],
                "macro": _mean([columns[index][name] for index in np.flatnonzero(counted)]),
            }
            for name in AT_THRESHOLD
        },
        "per_category": per_category,
    }


def over_thresholds(labels: np.ndarray, scores: np.ndarray) -> dict[str, list]:
    """Precision, recall and F1 over all decisions (micro), at each of THRESHOLDS.

    Returns:
      threshold, precision, recall, F1; precision is None where nothing scores so high.
    """
    labels = np.asarray(labels, bool)
    positives = int(labels.sum())
    of_present = np.sort(scores[labels])
    of_all = np.sort(scores, axis=None)
    thresholds = THRESHOLDS.astype(scores.dtype)
    right = len(of_present) - np.searchsorted(of_present, thresholds)
    said = len(of_all) - np.searchsorted(of_all, thresholds)
    return {
        "threshold": THRESHOLDS.tolist(),
        "precision": [float(r / s) if s else None for r, s in zip(right, said, strict=True)],
        "recall": [float(r / positives) if positives else None for r in right],
        "F1": [
            float(2 * r / (s + positives)) if s + positives else None
            for r, s in zip(right, said, strict=True)
        ],
    }


def of_images(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How well each image's own categories are ranked above its others.

    The mean over an image's categories of the precision of the ranking down to it
    (scikit-learn's `label_ranking_average_precision_score` of that image).

    Returns:
      float64 [images]; NaN for an image without categories, which ranks nothing.
    """
    return np.array(
        [
            sklearn_metrics.label_ranking_average_precision_score(truth[None], row[None])
            if truth.any()
            else np.nan
            for truth, row in zip(np.asarray(labels, int), scores, strict=True)
        ]
    )


def _average_precision(labels: np.ndarray, scores: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """float64 [classes]; NaN where a category does not count."""
    values = np.full(labels.shape[1], np.nan)
    for index in np.flatnonzero(counted):
        values[index] = sklearn_metrics.average_precision_score(labels[:, index], scores[:, index])
    return values


def _at_threshold(truth: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 of decisions; 0 where a quotient has nothing below its line."""
    values = sklearn_metrics.precision_recall_fscore_support(
        truth, said, average="binary", pos_label=True, zero_division=0
    )
    return dict(zip(AT_THRESHOLD, map(float, values[:3]), strict=True))


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None
