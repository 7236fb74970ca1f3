"""A difference for reading: text (with colour on a terminal) and one HTML page."""

import os
import pathlib
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import IO, Any

from replicate.config import paths, rules
from replicate.config.operations import DELETE, SET, Operation, show, value_of
from replicate.config.textproto import pipeline_class
from replicate.errors import UserError
from tfrecords import redaction

_PAGE = pathlib.Path(__file__).resolve().parent / "diff.html.j2"
_COLOURS = {DELETE: "31", SET: "32"}
_HEADINGS = {
    "architecture": "architecture: another network",
    "training": "training: other weights",
    "evaluation": "evaluation: another score from the same weights",
    "speed only": "speed only: the same result",
    rules.NO_EFFECT: "no effect in TensorFlow 2: the API does not read it",
    "paths": "paths only",
    "cosmetic": "cosmetic: the same values",
}


def colour_wanted(stream: IO[str]) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and "NO_COLOR" not in os.environ


def summary(operations: Sequence[Operation]) -> str:
    """One line: "2 architecture, 5 training, 4 paths", or "no difference"."""
    counts = [(sum(o.cls == cls for o in operations), cls) for cls in rules.CLASSES]
    return ", ".join(f"{count} {cls}" for count, cls in counts if count) or "no difference"


def text(operations: Sequence[Operation], colour: bool = False, width: int = 100) -> str:
    """The operations grouped by class, worst first, each reason said once.

    Args:
      operations: what `diff` returned.
      colour: whether to use ANSI colours.
      width: columns to wrap reasons at.
    """
    lines = []
    for cls in rules.CLASSES:
        group = [operation for operation in operations if operation.cls == cls]
        if group:
            lines += [_bold(_HEADINGS[cls], colour), *_group(group, colour, width), ""]
    return redaction.without_secrets("\n".join([*lines, summary(operations)]))


def html(operations: Sequence[Operation], a: str, b: str, is_same: bool) -> str:
    """One page that needs no other file.

    Args:
      operations: what `diff` returned.
      a, b: what the two configs are called.
      is_same: whether they count as the same.
    """
    import jinja2  # as slow as all the rest, and for this view alone

    groups = []
    for cls in rules.CLASSES:
        rows = [
            {
                "op": operation.op,
                "pieces": re.findall(r"[^._]*[._]|[^._]+", operation.path),
                "a": _shown(operation.a, operation.path),
                "b": _shown(operation.b, operation.path),
                "a_unset": operation.a is None,
                "b_unset": operation.b is None,
                "why": operation.why,
                "source": operation.source,
            }
            for operation in operations
            if operation.cls == cls
        ]
        if rows:
            groups.append((_HEADINGS[cls], rows, cls not in rules.SAME))
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _PAGE.read_text(encoding="utf-8")
    )
    return redaction.without_secrets(
        page.render(a=a, b=b, same=is_same, summary=summary(operations), groups=groups)
    )


def _group(group: list[Operation], colour: bool, width: int) -> Iterator[str]:
    reasons: dict[tuple[str, str], list[Operation]] = {}
    for operation in group:
        reasons.setdefault((operation.why, operation.source), []).append(operation)
    for (why, source), operations in reasons.items():
        for operation in operations:
            code = _COLOURS.get(operation.op, "33")
            for line in _lines(operation, width):
                yield f"\033[{code}m{line}\033[0m" if colour else line
        reason = why + (f" [{source}]" if source else "")
        yield from textwrap.wrap(reason, width, initial_indent="      ", subsequent_indent="      ")


def _lines(operation: Operation, width: int) -> Iterator[str]:
    """ "path: a -> b" on one line, or a line and more for each value where they are long."""
    line = change(operation)
    if len(line) <= width:
        yield f"  {operation.path}: {line}"
        return
    yield f"  {operation.path}:"
    for mark, value in (("-", operation.a), ("+", operation.b)):
        yield from textwrap.wrap(
            _shown(value, operation.path),
            width,
            initial_indent=f"    {mark} ",
            subsequent_indent="      ",
            break_on_hyphens=False,
        )


def change(operation: Operation) -> str:
    """ "90 -> 3", "0.0 -> unset (0.1)": both values, and a field's default where one is unset."""
    return f"{_shown(operation.a, operation.path)} -> {_shown(operation.b, operation.path)}"


def _shown(value: Any, path: str) -> str:
    if value is None:
        default = default_of(path)
        return "unset" if default is None else f"unset ({_shown(default, path)})"
    return '""' if value == "" else show(value)


def default_of(path: str) -> Any:
    """The default of a scalar field of `TrainEvalPipelineConfig`, or None where it has none.

    None too for a path of another kind of config.
    """
    try:
        field = paths.field_at(pipeline_class().DESCRIPTOR, path)
    except UserError:
        return None
    if field.is_repeated or field.message_type or field.containing_oneof:
        return None
    return value_of(field, field.default_value)


def _bold(line: str, colour: bool) -> str:
    return f"\033[1m{line}\033[0m" if colour else line
