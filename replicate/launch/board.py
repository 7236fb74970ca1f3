"""How runs stand, drawn as a table for a terminal."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from replicate.launch.status import Status

WIDE = 120  # characters, for a column each
_BRIEF = 240


def table(statuses: list[Status], width: int = WIDE) -> Table:
    """Statuses as a table; below WIDE characters, what it says of a run is one cell."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(expand=False)
    shown.add_column("run", overflow="fold")
    rows = [_cells(status) for status in statuses]
    if width < WIDE:
        shown.add_column("how it stands", overflow="fold")
        rows = [
            (run, ", ".join(filter(None, (state, step, left and f"{left} left", ap, verdict, why))))
            for run, state, step, left, ap, verdict, why in rows
        ]
    else:
        shown.add_column("state", no_wrap=True)
        for name in ("step", "time left", "last AP"):
            shown.add_column(name, justify="right", no_wrap=True)
        shown.add_column("verdict", no_wrap=True)
        shown.add_column("where, why", overflow="fold")
    for status, cells in zip(statuses, rows, strict=True):
        shown.add_row(*map(Text, cells), style=_STYLES.get(status.state))
    return shown


def _cells(status: Status) -> tuple[str, ...]:
    return (
        status.run,
        status.state,
        "" if status.step is None else f"{status.step:,} of {status.num_steps:,}",
        "" if status.eta_s is None else str(datetime.timedelta(seconds=round(status.eta_s))),
        ""
        if status.ap is None
        else f"AP {status.ap * 100:.1f} at {status.ap_step:,}" + _best(status),
        status.verdict or "",
        ", ".join(text for text in (status.where, _brief(status.reason)) if text),
    )


def _best(status: Status) -> str:
    """The best that is kept, which may be the last one."""
    kept = status.best
    if kept is None:
        return ""
    if kept["step"] == status.ap_step:
        return f", the best of {kept['evaluations']}"
    figure = f"{kept['metric']} {100 * kept['value']:.1f} at {kept['step']:,}"
    return f"; best of {kept['evaluations']}: {figure}"


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
