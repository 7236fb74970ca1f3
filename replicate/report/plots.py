"""The report's plots: matplotlib figures as SVG whose colours follow the page's theme.

Lines are drawn in stand-in colours that become CSS variables, text stays text. The same SVG stands
in the page and, with the palette inside it, in a file beside the Markdown.
"""

import contextlib
import dataclasses
import html
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryLocator
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from replicate.evenly import evenly

matplotlib.use("Agg")  # never a window
from matplotlib import pyplot, ticker

# CSS variable -> (light, dark); `theme.css` is made from this table.
PALETTE = {
    "ink": ("#1b2430", "#e6eaf0"),
    "muted": ("#5d6978", "#9aa6b5"),
    "grid": ("#dde3ea", "#2c3643"),
    "surface": ("#ffffff", "#161c24"),
    "s1": ("#1f6fd1", "#6aa9f4"),
    "s2": ("#c9510c", "#f2935c"),
    "s3": ("#0d8065", "#4fc4a0"),
    "s4": ("#8746c4", "#bd98ee"),
    "s5": ("#8a6100", "#dcb545"),
    "s6": ("#bf2a68", "#ef7aaa"),
    "s7": ("#4d6f1c", "#a6c565"),
    "s8": ("#5a6b80", "#a5b4c8"),
}
SERIES = tuple(name for name in PALETTE if re.fullmatch(r"s\d", name))
_STAND_INS = {name: f"#0a0b{number:02x}" for number, name in enumerate(PALETTE, 16)}

# Ticks of an axis over checkpoints.
MAX_TICKS = 6
# Inches. Small, so that text is readable on a narrow screen as well.
SIZE = (4.5, 2.9)

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.edgecolor": _STAND_INS["muted"],
    "axes.labelcolor": _STAND_INS["muted"],
    "axes.titlecolor": _STAND_INS["ink"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _STAND_INS["grid"],
    "grid.linewidth": 0.7,
    "xtick.color": _STAND_INS["muted"],
    "ytick.color": _STAND_INS["muted"],
    "text.color": _STAND_INS["ink"],
    "path.simplify": False,  # every point of a line stays, for its value to be told
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.constrained_layout.use": True,
}


@dataclasses.dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes:
      name: of its file, without ending; also the prefix of its ids.
      title: what it shows, one line.
      svg: the figure with CSS variables for colours.
    """

    name: str
    title: str
    svg: str

    def standalone(self) -> str:
        """The figure as a file of its own, with its palette for light and dark."""
        light = "".join(f"--{name}:{pair[0]};" for name, pair in PALETTE.items())
        dark = "".join(f"--{name}:{pair[1]};" for name, pair in PALETTE.items())
        style = (
            f"<style>svg{{{light}background:var(--surface);font-family:sans-serif}}"
            f"@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
        )
        head, rest = self.svg.split(">", 1)
        return (
            f'<?xml version="1.0" encoding="utf-8"?>\n{head} xmlns="http://www.w3.org/2000/svg" '
            f'xmlns:xlink="http://www.w3.org/1999/xlink">{style}{rest}'
        )


def colour(name: str) -> str:
    """The stand-in of a colour of the palette, for matplotlib."""
    return _STAND_INS[name]


def css() -> str:
    """The palette as CSS: light, dark by the system's wish, and either by `data-theme`."""
    light = "".join(f"--{name}:{pair[0]};" for name, pair in PALETTE.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in PALETTE.items())
    return (
        f":root{{{light}color-scheme:light}}"
        f"@media(prefers-color-scheme:dark){{:root{{{dark}color-scheme:dark}}}}"
        f":root[data-theme=light]{{{light}color-scheme:light}}"
        f":root[data-theme=dark]{{{dark}color-scheme:dark}}"
        f"@media print{{:root,:root[data-theme]{{{light}color-scheme:light}}}}"
    )


@contextlib.contextmanager
def axes(x_label: str, y_label: str, size: tuple[float, float] = SIZE) -> Iterator[Axes]:
    """Axes in the house style, closed afterwards; labels name their units."""
    with matplotlib.rc_context(_STYLE):
        figure, holder = pyplot.subplots(figsize=size)
        try:
            holder.set_xlabel(x_label)
            holder.set_ylabel(y_label)
            yield holder
        finally:
            pyplot.close(figure)


def finished(holder: Axes, name: str, title: str, bar_names: Sequence[str] = ()) -> Plot:
    """The Plot of axes that are complete; each bar and step of it tells its value.

    Args:
      holder: of `axes`.
      name, title: of the Plot.
      bar_names: of bars that stand at no labelled ticks.
    """
    titles = _told_bars(holder, bar_names)
    _points_of_stairs(holder)
    named = _named(holder)
    buffer = io.StringIO()
    assert isinstance(holder.figure, Figure)  # `axes` makes no subfigures
    holder.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = _themed(buffer.getvalue(), name, title)
    svg = svg.replace("<svg", f"<svg {_readable(holder, named)}", 1)
    return marked(Plot(name, title, svg), titles)


def _told_bars(holder: Axes, names: Sequence[str]) -> dict[str, str]:
    """Gives each bar without an id one: dict id -> which bar it is, and its value."""
    titles = {}
    for row, container in enumerate(holder.containers):
        if not isinstance(container, BarContainer):
            continue
        upright = container.orientation != "horizontal"
        along, up = (holder.xaxis, holder.yaxis) if upright else (holder.yaxis, holder.xaxis)
        label = str(container.get_label())
        for number, bar in enumerate(container.patches):
            if bar.get_gid() is not None:
                continue
            bar.set_gid(f"bar-{row}-{number}")
            left, size = (
                (bar.get_x(), bar.get_width()) if upright else (bar.get_y(), bar.get_height())
            )
            value = bar.get_height() if upright else bar.get_width()
            name = names[number] if names else _at(along, left + size / 2)
            series = "" if label.startswith("_") else f", {label}"
            titles[f"bar-{row}-{number}"] = f"{name}{series}: {_value(up, value)}"
    return titles


def _at(axis: Axis, place: float) -> str:
    """What stands on an axis at a place: the nearest of its labels, or the number."""
    if not isinstance(axis.get_major_locator(), (ticker.FixedLocator, StrCategoryLocator)):
        return f"{axis.get_label_text()} {place:,g}".strip()
    ticks = list(axis.get_majorticklocs())
    names = axis.get_major_formatter().format_ticks(ticks)
    return names[min(range(len(ticks)), key=lambda number: abs(ticks[number] - place))]


def _value(axis: Axis, value: float) -> str:
    if isinstance(axis.get_major_formatter(), ticker.PercentFormatter):
        return f"{100 * value:.1f} %"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _points_of_stairs(holder: Axes) -> None:
    """An unseen point in the middle of each step, by which values.js tells its value."""
    limits = holder.get_xlim(), holder.get_ylim()
    for patch in list(holder.patches):
        if isinstance(patch, StepPatch):
            heights, edges, _ = patch.get_data()
            middles = [(low + high) / 2 for low, high in zip(edges, edges[1:], strict=False)]
            holder.plot(
                middles, heights, linestyle="none", marker=".", markersize=1, alpha=0,
                label=patch.get_label(),
            )  # fmt: skip
    holder.set(xlim=limits[0], ylim=limits[1])


def _named(holder: Axes) -> dict[str, str]:
    """Gives each drawn line an id in the SVG: dict id -> what it is called."""
    named = {}
    for number, line in enumerate(holder.get_lines()):
        label = str(line.get_label())
        if line.get_gid() is None and label.startswith("_"):
            continue
        if line.get_gid() is None:
            line.set_gid(f"line-{number}")
        named[str(line.get_gid())] = label
    return named


def _readable(holder: Axes, named: dict[str, str]) -> str:
    """Attributes by which values.js tells the values of points: axes' limits, units, names."""
    limits = " ".join(map(repr, map(float, (*holder.get_xlim(), *holder.get_ylim()))))
    formatter = holder.yaxis.get_major_formatter()
    attributes = {
        "data-limits": limits,
        "data-lines": json.dumps(named, ensure_ascii=False),
        "data-x": holder.get_xlabel(),
        "data-y": holder.get_ylabel(),
    }
    if isinstance(formatter, ticker.PercentFormatter):
        attributes["data-share"] = ""
    if holder.get_xscale() == "log":
        attributes["data-log"] = ""
    return 'tabindex="0" ' + " ".join(
        f'{name}="{html.escape(value)}"' for name, value in attributes.items()
    )


def marked(plot: Plot, values: Mapping[str, str]) -> Plot:
    """The Plot with a title in each of its elements of these ids: what it is and its value."""
    svg = plot.svg
    for gid, value in values.items():
        opening = f'<g id="{plot.name}-{gid}">'
        title = html.escape(value)
        svg = svg.replace(opening, f'{opening[:-1]} data-told="{title}"><title>{title}</title>', 1)
    return dataclasses.replace(plot, svg=svg)


def lines(
    name: str,
    title: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, tuple[Sequence, Sequence]],
    *,
    percent: bool = False,
    marker: str | None = None,
    highlight: str | None = None,
    dashed: Collection[str] = (),
    from_zero: bool = False,
    unit_square: bool = False,
    level: tuple[str, float] | None = None,
    x_ticks: Sequence[int] | None = None,
) -> Plot:
    """A plot of one or more lines.

    Args:
      name, title: of the Plot.
      x_label, y_label: with units.
      series: dict label -> (x values, y values); None in y is a gap.
      percent: whether y is a share of one, shown in percent.
      marker: matplotlib marker of the points.
      highlight: the label of a line to draw thicker than the others.
      dashed: labels of lines to draw dashed, over others.
      from_zero: whether y starts at zero.
      level: (label, y) of a horizontal line to compare with, or None.
      x_ticks: where x's ticks stand, thinned out where they are many; None for round values.
      unit_square: whether both axes go from 0 to 1; otherwise x is a whole number.

    Returns:
      Plot.
    """
    with axes(x_label, y_label) as holder:
        for number, (label, (x, y)) in enumerate(series.items()):
            holder.plot(
                x,
                [float("nan") if value is None else value for value in y],
                color=colour(SERIES[number % len(SERIES)]),
                linestyle="--" if label in dashed else "-",
                linewidth=2.4 if label == highlight else 1.4,
                marker=marker,
                markersize=4,
                label=label,
            )
        if level:
            holder.axhline(
                level[1], color=colour("ink"), linestyle=":", linewidth=1.4, label=level[0]
            )
        if unit_square:
            holder.set(xlim=(0, 1), ylim=(0, 1.02))
        else:
            thousands(holder.xaxis)
        if x_ticks:
            holder.xaxis.set_major_locator(ticker.FixedLocator(evenly(x_ticks, MAX_TICKS)))
        if percent:
            holder.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        if from_zero:
            holder.set_ylim(0, 1.06 * (max(holder.dataLim.y1, 0) or 1))
        if len(series) > 1:
            columns = len(series) if len(series) <= 4 else -(-len(series) // 2)
            holder.figure.legend(loc="outside upper left", ncols=columns, columnspacing=1.2)
        return finished(holder, name, title)


def thousands(axis: Axis) -> None:
    """Whole numbers in thousands with a comma, as the report's text writes them."""
    axis.set_major_locator(ticker.MaxNLocator(nbins=5, integer=True))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _themed(svg: str, name: str, title: str) -> str:
    """The SVG element alone, its colours as variables, its ids under the plot's name."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'(?<= )(width|height)="[\d.]+pt" ', "", svg, count=2)
    for variable, stand_in in _STAND_INS.items():
        svg = svg.replace(stand_in, f"var(--{variable})")
    # matplotlib writes every text's font; the page has its own.
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
