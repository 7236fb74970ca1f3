"""How runs stand, drawn as a table for a terminal."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from replicate.launch.status import Status

WIDE = 120  # characters, for roomy columns
NARROW = 80  # fewer: where and why stand below the table
_LEAST_NAME, _NAME = 8, 12  # characters of a run's name, which may fold; what it should have
_BRIEF = 240
_COLUMNS = ("run", "state", "step", "time left", "last AP", "verdict")
_TO_THE_RIGHT = ("step", "time left", "last AP")


def table(statuses: list[Status], width: int = WIDE) -> RenderableType:
    """Statuses as a table, a column each of what there is to say, whatever the terminal's width.

    Below WIDE characters cells have no margin and fold at their words; below NARROW, where a run
    is and why it stopped is said under the table, and there are no columns without a word. Where
    even that is too wide, each run is a paragraph.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    roomy, below = width >= WIDE, width < NARROW
    rows = [_cells(status) for status in statuses]
    columns = [
        number
        for number in range(len(_COLUMNS))
        if number == 0 or not below or any(row[number] for row in rows)
    ]
    least, whole = (_widths(rows, columns, cut) for cut in (str.split, lambda text: [text]))
    if _room(least, width) < _LEAST_NAME:
        paragraphs = [Text(_line(row), overflow="fold") for row in rows]
        return Group(*paragraphs)
    widths = whole if _room(whole, width) >= _NAME else least
    shown = Table(
        expand=False,
        padding=(0, 1) if roomy else 0,
        show_edge=not below,
    )
    for number in columns:
        name = _COLUMNS[number]
        shown.add_column(
            name,
            justify="right" if name in _TO_THE_RIGHT else "left",
            no_wrap=roomy and number > 0,
            overflow="fold",
            min_width=widths.get(number) if below else least.get(number),
            max_width=widths.get(number) if below else None,
        )
    if not below:
        shown.add_column("where, why", overflow="fold")
    said = []
    for status, (*cells, where) in zip(statuses, rows, strict=True):
        style = _STYLES.get(status.state)
        named = [cells[number] for number in columns]
        shown.add_row(*map(Text, named if below else [*named, where]), style=style)
        if below and where:
            said.append(Text(f"{status.run}: {where}", style=style or "", overflow="fold"))
    return Group(shown, *said) if said else shown


def _widths(
    rows: list[tuple[str, ...]], columns: list[int], cut: Callable[[str], list[str]]
) -> dict[int, int]:
    """Characters of each column's longest piece, the run's name apart."""
    return {
        number: max(len(piece) for row in (_COLUMNS, *rows) for piece in cut(row[number]) or [""])
        for number in columns[1:]
    }


def _room(widths: dict[int, int], width: int) -> int:
    """Characters that columns of these widths leave for a run's name."""
    return width - sum(widths.values()) - len(widths)


def _line(row: tuple[str, ...]) -> str:
    """A run in a line: its name, and what there is to say of it."""
    run, state, step, left, ap, verdict, where = row
    said = (
        state,
        step and f"step {step}",
        left and f"{left} left",
        ap and f"AP {ap}",
        verdict,
        where,
    )
    return f"{run}: {', '.join(filter(None, said))}"


def _cells(status: Status) -> tuple[str, ...]:
    return (
        status.run,
        status.state,
        "" if status.step is None else f"{status.step:,} of {status.num_steps:,}",
        "" if status.eta_s is None else str(datetime.timedelta(seconds=round(status.eta_s))),
        "" if status.ap is None else f"{status.ap * 100:.1f} at {status.ap_step:,}" + _best(status),
        status.verdict or "",
        ", ".join(text for text in (status.where, _brief(status.reason)) if text),
    )


def _best(status: Status) -> str:
    """The best that is kept, which may be the last one."""
    checkpoint = status.best
    if checkpoint is None:
        return ""
    if checkpoint["step"] == status.ap_step:
        return f", the best of {checkpoint['evaluations']}"
    figure = f"{checkpoint['metric']} {100 * checkpoint['value']:.1f} at {checkpoint['step']:,}"
    return f"; best of {checkpoint['evaluations']}: {figure}"


def _brief(reason: str) -> str:
    """The last line of a reason, where TensorFlow's messages have what matters; --json has all."""
    line = (reason.strip().splitlines() or [""])[-1].strip()
    return line if len(line) <= _BRIEF else line[: _BRIEF - 1] + "…"


_STYLES = {
    "failed": "red",
    "damaged": "red",
    "dead": "red",
    "timed out": "red",
    "running": "green",
    "done": "bold",
}
