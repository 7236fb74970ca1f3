"""The plots of an inspection, each drawn from its content."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from replicate.inspection.counting import LARGE_PX, SIZES, SMALL_PX
from replicate.inspection.targets import ROLES
from replicate.report import plots
from replicate.report.plots import Plot

TOP = 20
_BOTH = (("recorded", "as recorded", "s8"), ("trained", "as the model gets it", "s1"))
_ROLE_COLOURS = dict(zip(ROLES, ("s3", "s8", "s5"), strict=True))


def of(content: dict) -> dict[str, Plot]:
    """The plots of an inspection, by their names."""
    drawn = [*_classes(content["classes"]), *_boxes(content)]
    if content["anchors"]:
        drawn += _anchors(content["anchors"])
    if content["heat_maps"]:
        drawn += _heat_maps(content["heat_maps"])
    return {plot.name: plot for plot in drawn}


def _classes(classes: Sequence[dict]) -> Iterator[Plot]:
    known = [row for row in classes if row["objects"]]
    if not known:
        return
    top = known[:TOP]
    title = f"Objects of the {len(top)} most frequent categories" if len(top) > 1 else "Objects"
    with plots.axes("objects", "", size=(4.5, 0.7 + 0.19 * len(top))) as holder:
        names = [_short(row["name"]) for row in top]
        bars = holder.barh(
            range(len(top)), [row["objects"] for row in top], color=plots.colour("s1")
        )
        holder.bar_label(bars, [f"{row['objects']:,}" for row in top], padding=3, fontsize=8)
        holder.set_yticks(range(len(top)), names)
        holder.invert_yaxis()
        holder.margins(x=0.12, y=0.01)
        holder.grid(axis="y", visible=False)
        plots.thousands(holder.xaxis)
        yield plots.finished(holder, "classes-top", title)
    with plots.axes("category, most frequent first", "objects (logarithmic)") as holder:
        holder.bar(
            range(1, len(classes) + 1),
            [max(row["objects"], 0) for row in classes],
            width=0.85,
            color=plots.colour("s1"),
        )
        holder.set_yscale("log")
        holder.set_ylim(bottom=0.7)
        _plain(holder.yaxis)
        plots.thousands(holder.xaxis)
        names = [row["name"] for row in classes]
        yield plots.finished(holder, "classes-all", f"All {len(classes)} categories", names)


def _boxes(content: dict) -> Iterator[Plot]:
    sizes = content["sizes"]
    with plots.axes("side of the square of a box's area (px)", "share of the objects") as holder:
        _steps(holder, sizes, "side_edges_px", "sides")
        for bound in (SMALL_PX, LARGE_PX):
            holder.axvline(bound, color=plots.colour("ink"), linestyle=":", linewidth=1)
        holder.set_xscale("log", base=2)
        _plain(holder.xaxis)
        title = "Box sizes; dotted: COCO's bounds of small and large, 32 and 96 px"
        yield plots.finished(holder, "box-sides", title)
    with plots.axes("width over height", "share of the objects") as holder:
        _steps(holder, sizes, "aspect_edges", "aspects")
        holder.set_xscale("log", base=2)
        _plain(holder.xaxis)
        yield plots.finished(holder, "box-aspects", "Aspect ratios of the boxes")
    with plots.axes("", "share of the objects") as holder:
        for number, (part, label, series) in enumerate(_BOTH):
            shares = [sizes[part]["shares"][size] for size in SIZES]
            bars = holder.bar(
                np.arange(3) + 0.4 * number - 0.2, shares, 0.38,
                color=plots.colour(series), label=label,
            )  # fmt: skip
            holder.bar_label(bars, [f"{100 * share:.0f}" for share in shares], fontsize=8)
        holder.set_xticks(range(3), SIZES)
        _percent(holder.yaxis)
        holder.margins(y=0.12)
        holder.grid(axis="x", visible=False)
        _legend(holder, 2)
        yield plots.finished(holder, "box-shares", "Small, medium and large objects (percent)")
    with plots.axes("objects in an image", "images") as holder:
        _counted(
            holder,
            {label: (content["objects_per_image"][part], series) for part, label, series in _BOTH},
        )
        yield plots.finished(holder, "objects-per-image", "Objects an image")


def _steps(holder: Axes, sizes: dict, edges: str, histogram: str) -> None:
    for part, label, series in _BOTH:
        counts = np.array(sizes[part][histogram], float)
        _stairs(holder, counts / max(1.0, counts.sum()), sizes[edges], label, series)
    _percent(holder.yaxis)
    _legend(holder, 2)


def _stairs(
    holder: Axes, values: np.ndarray, edges: Sequence[float] | np.ndarray, label: str, series: str
) -> None:
    """What is recorded as a surface, so that the other's line over it shows both."""
    surface = series == _BOTH[0][2]
    holder.stairs(
        values,
        edges,
        color=plots.colour(series),
        fill=surface,
        alpha=0.45 if surface else 1,
        linewidth=1.8,
        label=label,
    )


def _percent(axis: Axis) -> None:
    axis.set_major_locator(ticker.MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(ticker.PercentFormatter(1.0, decimals=0))


def _counted(holder: Axes, series: Mapping[str, tuple[Sequence[int], str]]) -> None:
    """Histograms of whole numbers, of up to 30 bins; `series`: label -> (values, colour)."""
    most = max((max(values, default=0) for values, _ in series.values()), default=0)
    edges = np.arange(-0.5, most + 1.5, max(1, -(-(most + 1) // 30)))
    edges = np.append(edges, edges[-1] + (edges[1] - edges[0])) if edges[-1] < most else edges
    for label, (values, colour) in series.items():
        _stairs(holder, np.histogram(values, edges)[0], edges, label, colour)
    plots.thousands(holder.yaxis)
    plots.thousands(holder.xaxis)
    holder.set_ylim(bottom=0)
    if len(series) > 1:
        _legend(holder, 2)


# ---- anchors


def which(rule: dict, part: str) -> str:
    """How a part of the anchors is called: all that are matched, or those that the loss counts."""
    sampling = rule["sampling"]
    if part == "matched":
        return "all anchors" if sampling is None else "all anchors, before sampling"
    return {
        "first stage": "the sample of {size} anchors of the first stage",
        "random sampler": "the random sample",
        "hard examples": "the hard examples",
    }[sampling["kind"]].format(**sampling)


def _anchors(anchors: dict) -> Iterator[Plot]:
    rule = anchors["rule"]
    parts = ["matched", *(["in_loss"] if rule["sampling"] else [])]
    for part in parts:
        yield _levels(anchors, part, which(rule, part))
    for part in parts:
        counts = anchors["per_image"][part]
        title = f"Positive anchors an image: {which(rule, part)}"
        with plots.axes("positive anchors in an image", "images") as holder:
            _counted(holder, {"positive": (counts["positive"], _ROLE_COLOURS["positive"])})
            yield plots.finished(holder, f"positives-{part.replace('_', '-')}", title)
    yield _recall(anchors)
    yield _without(anchors)


def _levels(anchors: dict, part: str, what: str) -> Plot:
    levels = anchors["levels"]
    with plots.axes("feature map (cells)", "anchors, mean of an image (log.)") as holder:
        for number, role in enumerate(ROLES):
            values = [level[part][role] for level in levels]
            if not any(values):
                continue
            bars = holder.bar(
                np.arange(len(levels)) + 0.27 * (number - 1), values, 0.25,
                color=plots.colour(_ROLE_COLOURS[role]), label=role,
            )  # fmt: skip
            holder.bar_label(bars, [_number(value) for value in values], fontsize=7, padding=1)
        names = ["×".join(map(str, level["feature_map_hw"])) for level in levels]
        holder.set_xticks(range(len(levels)), names)
        holder.set_yscale("log")
        _plain(holder.yaxis)
        least = min(level[part][role] for level in levels for role in ROLES if level[part][role])
        holder.set_ylim(bottom=10 ** np.floor(np.log10(min(least, 1))))
        holder.margins(y=0.2)
        holder.grid(axis="x", visible=False)
        _legend(holder, 3)
        name = f"levels-{part.replace('_', '-')}"
        return plots.finished(holder, name, f"Anchors by role and level: {what}")


def _recall(anchors: dict) -> Plot:
    recall = anchors["recall"]
    shown = {
        f"{size} ({anchors['by_size'][size]['objects']:,})": (recall["iou"], recall[size])
        for size in ("all", *SIZES)
        if anchors["by_size"][size]["objects"]
    }
    return plots.lines(
        "recall",
        "Objects whose best anchor reaches an IoU (number of objects)",
        "IoU of the best anchor",
        "share of the objects",
        shown,
        unit_square=True,
        highlight=next(iter(shown), None),
    )


def _without(anchors: dict) -> Plot:
    by_size = anchors["by_size"]
    sizes = [size for size in ("all", *SIZES) if by_size[size]["objects"]]
    threshold = anchors["rule"]["matched_threshold"]
    with plots.axes("", "share of the objects") as holder:
        for number, (name, label, series) in enumerate(
            (
                ("without_anchor", f"no anchor at IoU {threshold:g}", "s6"),
                ("recalled", "assigned an anchor: best possible recall", "s3"),
            )
        ):
            shares = [by_size[size][name] for size in sizes]
            bars = holder.bar(
                np.arange(len(sizes)) + 0.4 * number - 0.2, shares, 0.38,
                color=plots.colour(series), label=label,
            )  # fmt: skip
            holder.bar_label(bars, [f"{100 * share:.0f}" for share in shares], fontsize=8)
        holder.set_xticks(range(len(sizes)), sizes)
        _percent(holder.yaxis)
        holder.set_ylim(0, 1.12)
        holder.set_yticks(np.arange(0, 1.01, 0.25))
        holder.grid(axis="x", visible=False)
        _legend(holder, 1)
        title = "Objects without an anchor, and best possible recall, by size (percent)"
        return plots.finished(holder, "by-size", title)


# ---- heat maps


def _heat_maps(heat_maps: dict) -> Iterator[Plot]:
    radius = heat_maps["radius_cells"]
    with plots.axes("radius of the Gaussian (cells of the heat map)", "objects") as holder:
        holder.bar(range(len(radius)), radius, width=0.9, color=plots.colour("s1"))
        plots.thousands(holder.xaxis)
        plots.thousands(holder.yaxis)
        yield plots.finished(holder, "radius", "Radius of the objects' Gaussians")
    with plots.axes("peaks in an image", "images") as holder:
        _counted(holder, {"peaks": (heat_maps["per_image"]["peak"], "s3")})
        yield plots.finished(holder, "peaks", "Peaks an image: the positive cells of the loss")
    by_size = heat_maps["by_size"]
    sizes = [size for size in ("all", *SIZES) if by_size[size]["objects"]]
    with plots.axes("", "share of the objects") as holder:
        shares = [by_size[size]["recalled"] for size in sizes]
        bars = holder.bar(range(len(sizes)), shares, 0.6, color=plots.colour("s3"))
        holder.bar_label(bars, [f"{100 * share:.1f}" for share in shares], fontsize=8)
        holder.set_xticks(range(len(sizes)), sizes)
        _percent(holder.yaxis)
        holder.set_ylim(0, 1.12)
        holder.grid(axis="x", visible=False)
        title = "Objects with a peak of their own: best possible recall, by size (percent)"
        yield plots.finished(holder, "by-size", title)


def _legend(holder: Axes, columns: int) -> None:
    """Above the plot, where it covers nothing."""
    holder.figure.legend(loc="outside upper left", ncols=columns, columnspacing=1.2)


def _plain(axis: Axis) -> None:
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _number(value: float) -> str:
    """A mean for the top of a narrow bar; nothing for none."""
    if not value:
        return ""
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:.3g}"


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
