"""The plots of a comparison: each run in a colour that the page's script can give to another."""

import re
from typing import Any

from matplotlib import ticker

from replicate.report import ladders, plots
from replicate.report.plots import Plot


def of(comparison: dict) -> dict[str, Plot]:
    """dict name -> Plot: the curves, accuracy against speed, and differences by category."""
    keys = [run["key"] for run in comparison["runs"]]
    names = {run["key"]: run["name"] for run in comparison["runs"]}
    apart = _apart(comparison)
    drawn = {}
    for curve in comparison["curves"]:
        drawn[name_of(curve)] = _overlay(curve, keys, apart, names)
    drawn |= ladders.drawn(comparison.get("ladders", []))
    if comparison["speed"]["runs"] or comparison["zoo"]:
        drawn["speed-accuracy"] = _speed(comparison, keys)
    return drawn


def styles(comparison: dict) -> dict[str, bool]:
    """Which kinds of lines are drawn beside whole ones: "dashed" and "dotted"."""
    apart = _apart(comparison)
    drawn = {style for curve in comparison["curves"] for style in _styles(curve, apart).values()}
    return {"dotted": ":" in drawn, "dashed": any(isinstance(style, tuple) for style in drawn)}


def _apart(comparison: dict) -> set[str]:
    """The runs that were evaluated on other images than the first group."""
    return {key for group in comparison.get("groups", [])[1:] for key in group["runs"]}


def _styles(curve: dict, apart: set[str]) -> dict[str, Any]:
    """matplotlib's style of each run's line: dict key -> style.

    A line of the evaluation is dotted where it was on other images than the first group's; one
    that lies just upon an earlier one is dashed, so that both are seen.
    """
    before: dict[tuple, int] = {}
    of_runs: dict[str, Any] = {}
    for line in curve["lines"]:
        same = (tuple(line["step"]), tuple(line["value"]))
        upon = before.get(same, 0)
        before[same] = upon + 1
        of_score = curve["share"] and not curve["of_machine"]
        alone = ":" if of_score and line["run"] in apart else "-"
        of_runs[line["run"]] = (2 * upon, (2, 2 * upon)) if upon else alone
    return of_runs


def css(comparison: dict) -> str:
    """The first colours of the runs, as CSS variables --run-r0, --run-r1 …"""
    keys = [run["key"] for run in comparison["runs"]]
    return ":root{" + "".join(f"--run-{key}:{_first(i)};" for i, key in enumerate(keys)) + "}"


def name_of(curve: dict) -> str:
    """The name of a curve's Plot."""
    return "curve-" + re.sub(r"[^a-z0-9]+", "-", curve["name"].lower()).strip("-")


def _first(index: int) -> str:
    return f"var(--{plots.SERIES[index]})" if index < len(plots.SERIES) else "var(--muted)"


def _stand_in(keys: list[str], key: str) -> str:
    return f"#0c{keys.index(key):04x}"


def _themed(plot: Plot, keys: list[str]) -> Plot:
    """The stand-ins of the runs as CSS variables."""
    svg = plot.svg
    for key in keys:
        svg = svg.replace(_stand_in(keys, key), f"var(--run-{key})")
    return plots.Plot(plot.name, plot.title, svg)


def _overlay(curve: dict, keys: list[str], apart: set[str], names: dict[str, str]) -> Plot:
    """The lines of a curve, in the styles of `_styles`."""
    name = name_of(curve)
    few = max(len(line["step"]) for line in curve["lines"]) <= 20
    with plots.axes("training step", curve["y_label"]) as holder:
        of_runs = _styles(curve, apart)
        for line in curve["lines"]:
            holder.plot(
                line["step"],
                [float("nan") if value is None else value for value in line["value"]],
                color=_stand_in(keys, line["run"]),
                linewidth=1.5,
                linestyle=of_runs[line["run"]],
                label=names[line["run"]],
                marker="o" if few else None,
                markersize=3.5,
                gid=f"of-{line['run']}",
            )
        plots.thousands(holder.xaxis)
        if few:
            steps = sorted({step for line in curve["lines"] for step in line["step"]})
            holder.xaxis.set_major_locator(
                ticker.FixedLocator(plots.evenly(steps, plots.MAX_TICKS))
            )
        if curve["share"]:
            holder.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        from_zero = curve["name"] != "Learning rate"
        if from_zero:
            holder.set_ylim(0, 1.06 * (max(holder.dataLim.y1, 0) or 1))
        drawn = _themed(plots.finished(holder, name, curve["name"]), keys)
        # For curves.js, which fits the axes to the runs that are shown.
        svg = drawn.svg.replace("<svg", "<svg data-fits" + " data-from-zero" * from_zero, 1)
        return plots.Plot(drawn.name, drawn.title, svg)


def _speed(comparison: dict, keys: list[str]) -> Plot:
    speed = comparison["speed"]
    with plots.axes("latency of an image (ms)", "box AP (%)", size=(6.2, 3.6)) as holder:
        titles = {}
        for number, model in enumerate(speed["zoo"]):
            holder.scatter(
                model["latency_ms"],
                model["AP"],
                s=14,
                color=plots.colour("muted"),
                alpha=0.6,
                label=None if number else "zoo, as published",
                gid=f"zoo-{number}",
            )
            titles[f"zoo-{number}"] = (
                f"{model['name']}: {100 * model['AP']:.1f} % at {model['latency_ms']:g} ms, "
                "as published"
            )
        frontier = [model for model in speed["zoo"] if model["name"] in speed["frontier"]]
        holder.step(
            [model["latency_ms"] for model in frontier],
            [model["AP"] for model in frontier],
            where="post",
            color=plots.colour("muted"),
            linewidth=1,
            linestyle="--",
            label="zoo's frontier",
        )
        names = {run["key"]: run["name"] for run in comparison["runs"]}
        for run in speed["runs"]:
            colour = _stand_in(keys, run["run"])
            at = (run["latency_ms"], run["AP"])
            titles[f"of-{run['run']}"] = (
                f"{names[run['run']]}: {100 * run['AP']:.1f} % at {run['latency_ms']:.1f} ms"
            )
            holder.scatter(*at, s=46, color=colour, zorder=3, gid=f"of-{run['run']}")
            holder.annotate(
                names[run["run"]],
                at,
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=8,
                gid=f"of-{run['run']}-name",
                parse_math=False,
            )
        holder.set_xscale("log")
        holder.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        holder.xaxis.set_minor_formatter(ticker.NullFormatter())
        holder.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        holder.set_ylim(bottom=0)
        holder.legend(loc="lower right")
        drawn = plots.finished(holder, "speed-accuracy", "Accuracy against speed")
        return _themed(plots.marked(drawn, titles), keys)
