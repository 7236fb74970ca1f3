"""The plots of a recognition report, each drawn from the report's own data."""

from sklearn import metrics as sklearn_metrics

from replicate.evenly import evenly
from replicate.report import charts, plots

_STEP = "training step"
_SPLITS = {"val": "images held back", "train": "training images"}
# Points of a small curve; one of thousands of images is thinned out evenly.
_CURVE_POINTS = 120


def of_run(content):
    """The plots for which the content has data: dict name -> Plot."""
    drawn = [
        *charts.training(content["training"]),
        *_learning_rate(content["progress"]),
        *_checkpoints(content["checkpoints"]),
        *_thresholds(content["splits"]),
    ]
    return {plot.name: plot for plot in drawn}


def small_multiples(scored):
    """One small precision–recall plot a category that is in some image: dict class id -> Plot.

    Args:
      scored: evaluation.Scores.
    """
    drawn = {}
    with plots.axes("", "", size=(1.5, 1.1)) as holder:
        holder.set(xlim=(0, 1), ylim=(0, 1.03), xticks=(0, 1), yticks=(0, 1))
        (line,) = holder.plot([], [], color=plots.colour("s1"), drawstyle="steps-post")
        for index, each in enumerate(scored.classes):
            if not scored.labels[:, index].any():
                continue
            precision, recall, _ = sklearn_metrics.precision_recall_curve(
                scored.labels[:, index], scored.scores[:, index]
            )
            kept = evenly(range(len(recall)), _CURVE_POINTS)
            line.set_data(recall[kept], precision[kept])
            title = f"Precision over recall of {each.name}"
            drawn[each.id] = plots.finished(holder, f"pr-{each.id}", title)
    return drawn


def _learning_rate(progress):
    if progress is None:
        return
    rate = progress["learning_rate"]
    series = {"learning rate": (rate["step"], rate["learning_rate"])}
    yield plots.lines(
        "learning-rate", "Learning rate", _STEP, "learning rate", series, from_zero=True
    )


def _checkpoints(checkpoints):
    if not checkpoints:
        return
    series = {}
    for split, said in _SPLITS.items():
        rows = [each for each in checkpoints if split in each]
        steps = [each["step"] for each in rows]
        if rows:
            series[f"mean AP, {said}"] = steps, [each[split]["mean_AP"] for each in rows]
            series[f"F1, {said}"] = steps, [each[split]["F1"]["micro"] for each in rows]
    yield plots.lines(
        "checkpoints",
        "Mean AP and F1 of the checkpoints",
        _STEP,
        "mean AP, F1 (%)",
        series,
        percent=True,
        marker="o",
        from_zero=True,
        highlight=next(iter(series)),
    )


def _thresholds(splits):
    if not splits:
        return
    curve = splits[0]["over_thresholds"]
    x = curve["threshold"]
    yield plots.lines(
        "thresholds",
        f"F1 over the threshold, {_SPLITS[splits[0]['split']]}",
        "threshold",
        "precision, recall, F1 of all decisions",
        {name: (x, curve[name]) for name in ("F1", "precision", "recall")},
        highlight="F1",
        unit_square=True,
    )
