"""How well scores tell which categories are in an image, by scikit-learn.

Average precision is scikit-learn's `average_precision_score` (the sum over thresholds of the gain
in recall times precision, without interpolation) of each category over the images; mean AP is
their mean. A category that no image holds has no AP: it is not counted, and named.
"""

import numpy as np
from sklearn import metrics as sklearn_metrics

AT_THRESHOLD = ("precision", "recall", "F1")
# Thresholds of the curve of F1.
THRESHOLDS = np.round(np.linspace(0.0, 1.0, 101), 2)


def of(labels, scores, classes, threshold):
    """The metrics of one set of images.

    Args:
      labels: bool [images, classes], which categories are in which image.
      scores: float32 [images, classes] in 0..1.
      classes: tuple of Class, in the columns' order.
      threshold: scores from here on say "in the image".

    Returns:
      dict of plain values: images, threshold, mean_AP (None where no category counts),
      categories_counted, without_positives (list of {"id", "name"}), F1 and precision and recall
      (each {"micro": over all decisions, "macro": mean over the counted categories}), and
      per_category: list of dicts id, name, positives, AP, precision, recall, F1; the last four
      None where nothing counts.
    """
    labels = np.asarray(labels, bool)
    counted = labels.any(axis=0)
    average_precision = _average_precision(labels, scores, counted)
    predicted = scores >= threshold
    columns = [
        _at_threshold(labels[:, index], predicted[:, index]) for index in range(len(classes))
    ]
    per_category = [
        {
            "id": each.id,
            "name": each.name,
            "positives": int(labels[:, index].sum()),
            "AP": float(average_precision[index]) if counted[index] else None,
            **{name: columns[index][name] if counted[index] else None for name in AT_THRESHOLD},
        }
        for index, each in enumerate(classes)
    ]
    overall = _at_threshold(labels.ravel(), predicted.ravel())
    return {
        "images": len(labels),
        "threshold": threshold,
        "mean_AP": _mean(average_precision[counted]),
        "categories_counted": int(counted.sum()),
        "without_positives": [
            {"id": each.id, "name": each.name}
            for each, counts in zip(classes, counted, strict=True)
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


def over_thresholds(labels, scores):
    """Precision, recall and F1 over all decisions (micro), at each of THRESHOLDS.

    Returns:
      dict threshold, precision, recall, F1: lists; precision is None where nothing scores so high.
    """
    labels = np.asarray(labels, bool)
    positives = int(labels.sum())
    found = np.sort(scores[labels])
    called = np.sort(scores, axis=None)
    right = len(found) - np.searchsorted(found, THRESHOLDS.astype(scores.dtype))
    said = len(called) - np.searchsorted(called, THRESHOLDS.astype(scores.dtype))
    return {
        "threshold": THRESHOLDS.tolist(),
        "precision": [float(r / s) if s else None for r, s in zip(right, said, strict=True)],
        "recall": [float(r / positives) if positives else None for r in right],
        "F1": [
            float(2 * r / (s + positives)) if s + positives else None
            for r, s in zip(right, said, strict=True)
        ],
    }


def of_images(labels, scores):
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


def _average_precision(labels, scores, counted):
    """float64 [classes]; NaN where a category does not count."""
    values = np.full(labels.shape[1], np.nan)
    for index in np.flatnonzero(counted):
        values[index] = sklearn_metrics.average_precision_score(labels[:, index], scores[:, index])
    return values


def _at_threshold(truth, said):
    """Precision, recall and F1 of decisions; 0 where a quotient has nothing below its line."""
    values = sklearn_metrics.precision_recall_fscore_support(
        truth, said, average="binary", pos_label=True, zero_division=0
    )
    return dict(zip(AT_THRESHOLD, map(float, values[:3]), strict=True))


def _mean(values):
    return float(np.mean(values)) if len(values) else None
