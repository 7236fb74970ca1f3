"""The plots of a recognition report, each drawn from the report's own data."""

from collections.abc import Iterator, Sequence

from sklearn import metrics as sklearn_metrics

from replicate.evenly import evenly
from replicate.recognition.evaluation import Scores
from replicate.report import charts, plots
from replicate.report.plots import Plot

_STEP = "training step"
_SPLITS = {"val": "images held back", "train": "training images"}
# Points of a small curve; one of thousands of images is thinned out evenly.
_CURVE_POINTS = 120


def of_run(content: dict) -> dict[str, Plot]:
    """The plots for which the content has data, by their names."""
    drawn = [
        *charts.training(content["training"]),
        *_learning_rate(content["progress"]),
        *_checkpoints(content["checkpoints"]),
        *_thresholds(content["splits"]),
    ]
    return {plot.name: plot for plot in drawn}


def small_multiples(scored: Scores) -> dict[int, Plot]:
    """One small precision–recall plot a category that is in some image, by the category's id."""
    drawn = {}
    with plots.axes("", "", size=(1.5, 1.1)) as holder:
        holder.set(xlim=(0, 1), ylim=(0, 1.03), xticks=(0, 1), yticks=(0, 1))
        (line,) = holder.plot([], [], color=plots.colour("s1"), drawstyle="steps-post")
        for index, category in enumerate(scored.classes):
            if not scored.labels[:, index].any():
                continue
            precision, recall, _ = sklearn_metrics.precision_recall_curve(
                scored.labels[:, index], scored.scores[:, index]
            )
            points = evenly(range(len(recall)), _CURVE_POINTS)
            line.set_data(recall[points], precision[points])
            title = f"Precision over recall of {category.name}"
            drawn[category.id] = plots.finished(holder, f"pr-{category.id}", title)
    return drawn


def _learning_rate(progress: dict | None) -> Iterator[Plot]:
    if progress is None:
        return
    rate = progress["learning_rate"]
    series = {"learning rate": (rate["step"], rate["learning_rate"])}
    yield plots.lines(
        "learning-rate", "Learning rate", _STEP, "learning rate", series, from_zero=True
    )


def _checkpoints(checkpoints: list[dict]) -> Iterator[Plot]:
    if not checkpoints:
        return
    series: dict[str, tuple[Sequence, Sequence]] = {}
    for split, images in _SPLITS.items():
        rows = [row for row in checkpoints if split in row]
        steps = [row["step"] for row in rows]
        if rows:
            series[f"mean AP, {images}"] = steps, [row[split]["mean_AP"] for row in rows]
            series[f"F1, {images}"] = steps, [row[split]["F1"]["micro"] for row in rows]
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
        x_ticks=[row["step"] for row in checkpoints],
    )


def _thresholds(splits: list[dict]) -> Iterator[Plot]:
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
