"""What `import replicate` needs beside the rooms: arguments checked, results in notebooks."""

import html
import inspect
import numbers
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from replicate.errors import UserError

_CELL = "text-align:left;vertical-align:top;white-space:normal"


class _CallableRoom(types.ModuleType):
    """A module with a function that a call of it is."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)


def calls(room: str, function: Callable) -> None:
    """Makes a call of the module `room` (its name) one of `function`, signature and all."""
    module = sys.modules[room]
    module.__class__ = _CallableRoom
    vars(module).update(__wrapped__=function, __signature__=inspect.signature(function))


def whole(name: str, value: Any, least: int = 1) -> None:
    """Refuses an argument that is no whole number, or below `least`; None passes.

    Raises:
      UserError: with the argument's name and what it was.
    """
    if value is None or (
        isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least
    ):
        return
    raise UserError(f"{name} is {value!r}; it is a whole number, {least} or more")


def one_of(name: str, value: Any, choices: Iterable[str]) -> None:
    """Refuses an argument that is none of `choices`; None passes.

    Raises:
      UserError: with the choices.
    """
    if value is not None and value not in (choices := tuple(choices)):
        raise UserError(f"{name} is {value!r}; there are: {', '.join(choices)}")


def table(
    title: str, heads: Sequence[str], rows: Iterable[Sequence], notes: Iterable[str] = ()
) -> str:
    """A small HTML table, everything in it escaped: what `_repr_html_` of a result gives.

    Args:
      title: a line above.
      heads: the columns' names.
      rows: their cells, each shown as `str`; None as a dash.
      notes: lines below.
    """

    def cells(tag: str, values: Iterable) -> str:
        return "".join(
            f'<{tag} style="{_CELL}">{"–" if value is None else html.escape(str(value))}</{tag}>'
            for value in values
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return (
        f"<div><p><b>{html.escape(title)}</b></p>"
        f"<table><thead><tr>{cells('th', heads)}</tr></thead><tbody>{body}</tbody></table>"
        f"{below}</div>"
    )
