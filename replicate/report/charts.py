"""Which plots a run's report has, each drawn from the report's own data."""

from collections.abc import Iterable, Iterator

from matplotlib import ticker

from replicate.report import plots, training_section
from replicate.report.plots import Plot
from replicate.verdict import reference_kind

TIDE = {
    "Cls": "wrong category",
    "Loc": "badly placed",
    "Both": "wrong category, badly placed",
    "Dupe": "duplicate",
    "Bkg": "background as object",
    "Miss": "missed object",
}
_STEP = "training step"
# Of a run's page, in the order they run.
SCRIPTS = (
    *("page.js", "values.js", "gallery.js", "gallery_filters.js"),
    *("enlarged.js", "category.js", "run.js"),
)


def of_run(content: dict) -> dict[str, Plot]:
    """The plots for which the content has data: dict name -> Plot."""
    drawn = [
        *training(content["training"]),
        *_learning_rate(content["schedule"]),
        *_checkpoints(content),
        *_analysis(content["analysis"]),
    ]
    return {plot.name: plot for plot in drawn}


def small_multiples(curves: dict | None) -> dict[str, Plot]:
    """One small precision–recall plot a category: dict category id -> Plot.

    Args:
      curves: "category_curves" of the content.
    """
    drawn: dict[str, Plot] = {}
    if not curves:
        return drawn
    # One figure for all of them: making axes costs more than drawing two lines.
    with plots.axes("", "", size=(1.5, 1.1)) as holder:
        holder.set(xlim=(0, 1), ylim=(0, 1.03), xticks=(0, 1), yticks=(0, 1))
        pair = {
            iou: holder.plot(
                [], [], color=plots.colour(series), linestyle=style, label=f"IoU {iou}"
            )[0]
            for iou, series, style in (("0.50", "s1", "-"), ("0.75", "s2", "--"))
        }
        for category in curves["categories"]:
            if not any(category["0.50"]) and not any(category["0.75"]):
                continue  # nothing found: an empty plot says no more than AP 0
            for iou, line in pair.items():
                line.set_data(curves["recall"], category[iou])
            title = f"Precision over recall of {category['name']}"
            drawn[str(category["id"])] = plots.finished(holder, f"pr-{category['id']}", title)
    return drawn


def training(logged: dict | None) -> Iterator[Plot]:
    """Losses, speed, input wait and the machine's use by step.

    Args:
      logged: "training" of the content, or None.
    """
    if logged is None:
        return
    steps, losses = logged["step"], logged["losses"]
    if losses:
        total = next((name for name in losses if name.endswith("total_loss")), None)
        ordered = sorted(losses, key=lambda name: name != total)
        yield plots.lines(
            "losses",
            "Training losses",
            _STEP,
            "loss",
            {_loss_name(name): (steps, losses[name]) for name in ordered},
            highlight=_loss_name(total) if total else None,
        )
    if any(value is not None for value in logged["images_per_second"]):
        yield plots.lines(
            "speed",
            "Training speed",
            _STEP,
            "images / s",
            {"images / s": (steps, logged["images_per_second"])},
            from_zero=True,
        )
    if any(value is not None for value in logged["input_wait"]):
        yield plots.lines(
            "input-wait",
            "Share of the time spent waiting for input",
            _STEP,
            "input wait (% of time)",
            {"input wait": (steps, logged["input_wait"])},
            percent=True,
            from_zero=True,
        )
    for name, values in logged["system"].items():
        title, label = training_section.measurement(name)
        yield plots.lines(
            "system-" + name.replace(".", "-"), f"{title} during training", _STEP, label,
            {name: (steps, values)}, from_zero=True,
        )  # fmt: skip


def _loss_name(name: str) -> str:
    return name.removeprefix("Loss/").replace("_", " ").removesuffix(" loss")


def _learning_rate(plan: dict | None) -> Iterator[Plot]:
    if plan is None:
        return
    series = {}
    if plan["planned"]["step"]:
        series["planned"] = (plan["planned"]["step"], plan["planned"]["learning_rate"])
    if plan["actual"]["step"]:
        series["as run"] = (plan["actual"]["step"], plan["actual"]["learning_rate"])
    if series:
        yield plots.lines(
            "learning-rate",
            "Learning rate, planned and as run",
            _STEP,
            "learning rate",
            series,
            dashed=("as run",) if len(series) == 2 else (),
        )


def _checkpoints(content: dict) -> Iterator[Plot]:
    checkpoints = content["checkpoints"]
    if not checkpoints:
        return
    steps = [checkpoint["step"] for checkpoint in checkpoints]
    names = [name for name in ("AP", "AP50", "AP75", "AR@100") if name in checkpoints[0]["metrics"]]
    series = {
        name: (steps, [checkpoint["metrics"][name] for checkpoint in checkpoints]) for name in names
    }
    if any(checkpoint["F1_50"] is not None for checkpoint in checkpoints):
        series["F1 at IoU 0.5"] = (steps, [checkpoint["F1_50"] for checkpoint in checkpoints])
    yield plots.lines(
        "checkpoints",
        "AP, AR and F1 of the evaluated checkpoints",
        _STEP,
        "AP, AR, F1 (%)",
        series,
        percent=True,
        marker="o",
        highlight="AP",
        from_zero=True,
        x_ticks=steps,
        level=_published_level(content),
    )


def _published_level(content: dict) -> tuple[str, float] | None:
    """The published AP as a level in the plot, where ours may be held against it."""
    verdict, metrics = content["verdict"], content["metrics"]
    published = metrics["rows"][0]["published"]
    if verdict is None or verdict["verdict"] == "NOT COMPARABLE" or published is None:
        return None
    of_zoo = reference_kind(verdict) == "zoo"
    return "AP as published" if of_zoo else "AP of the reference", published / 100


def _analysis(analysis: dict | None) -> Iterator[Plot]:
    if analysis is None:
        return
    curves = analysis["precision_recall"]
    shown = [iou for iou in curves["precision"] if iou in ("0.50", "0.60", "0.75", "0.85", "0.95")]
    yield plots.lines(
        "precision-recall",
        "Precision over recall at several IoU thresholds, mean of the categories",
        "recall",
        "precision",
        {f"IoU {iou}": (curves["recall"], _defined(curves["precision"][iou])) for iou in shown},
        unit_square=True,
    )
    if "f1" in analysis:
        yield _f1(analysis["f1"])
        yield _calibration(analysis["calibration"])
    if "tide" in analysis:
        yield _tide(analysis["tide"])


def _f1(f1: dict) -> Plot:
    # Where nothing scores so high there is no precision.
    precision = [
        value if recall else None
        for value, recall in zip(f1["precision"], f1["recall"], strict=True)
    ]
    return plots.lines(
        "f1",
        "F1, precision and recall over the score threshold, at IoU 0.5",
        "score threshold",
        "F1, precision, recall",
        {
            "F1": (f1["threshold"], f1["f1"]),
            "precision": (f1["threshold"], precision),
            "recall": (f1["threshold"], f1["recall"]),
        },
        unit_square=True,
        highlight="F1",
    )


def _defined(values: Iterable[float]) -> list[float | None]:
    return [None if value < 0 else value for value in values]


def _calibration(calibration: dict) -> Plot:
    bins = [band for band in calibration["bins"] if band["count"]]
    with plots.axes("mean score of the detections in a bin", "share that is right") as holder:
        holder.plot(
            [0, 1], [0, 1], color=plots.colour("muted"), linestyle=":", linewidth=1, label="ideal"
        )
        holder.plot(
            [band["avg_confidence"] for band in bins],
            [band["avg_accuracy"] for band in bins],
            color=plots.colour("s1"),
            marker="o",
            markersize=4,
            label="detector",
        )
        holder.set(xlim=(0, 1), ylim=(0, 1.02))
        holder.legend()
        return plots.finished(
            holder, "calibration", "Calibration: how often a detection of a score is right"
        )


def _tide(tide: dict) -> Plot:
    names = list(TIDE)
    gains = [100 * tide["delta_ap"][name] for name in names]
    with plots.axes("AP50 gained were it mended (points)", "") as holder:
        bars = holder.barh([TIDE[name] for name in names], gains, color=plots.colour("s1"))
        holder.bar_label(bars, [f"{gain:.1f}" for gain in gains], padding=3, fontsize=8)
        holder.invert_yaxis()
        holder.margins(x=0.14)
        holder.grid(axis="y", visible=False)
        holder.xaxis.set_major_locator(ticker.MaxNLocator(nbins=5))
        for number, bar in enumerate(bars):
            bar.set_gid(f"bar-{number}")
        drawn = plots.finished(holder, "tide", "Errors by kind (TIDE)")
    titles = {
        f"bar-{number}": f"{TIDE[name]}: {gain:.2f} points"
        for number, (name, gain) in enumerate(zip(names, gains, strict=True))
    }
    return plots.marked(drawn, titles)
