"""A difference between two configs as typed operations, which also apply as a patch."""

import dataclasses
import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format
from google.protobuf.internal import type_checkers

from replicate.config import paths

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message


SET, MODIFY, DELETE = "set", "modify", "delete"
# `class` is a word of Python; files say it, the dataclass says `cls`.
_JSON_NAMES = {"cls": "class"}


@dataclasses.dataclass(frozen=True)
class Operation:
    """One difference, seen from A to B.

    Attributes:
      op: "set" (absent in A), "modify" (in both), "delete" (absent in B). For an element of a
        list "set" inserts before the element that has that index, "delete" takes it out.
      path: the field. List indices count in B for "set" and "modify", in A for "delete".
      a, b: both values; None where absent. Messages are one line of text format in braces, enum
        values their names.
      cls: the class of the difference, see `rules`.
      why: one line on why it matters.
      source: where that is documented, or "".
    """

    op: str
    path: str
    a: Any
    b: Any
    cls: str = ""
    why: str = ""
    source: str = ""


def to_json(operations: Iterable[Operation]) -> list[dict]:
    """The operations as JSON objects (dicts): op, path, a, b, class, why, source."""
    return [
        {
            _JSON_NAMES.get(name, name): value
            for name, value in dataclasses.asdict(operation).items()
        }
        for operation in operations
    ]


def from_json(objects: Iterable[dict]) -> list[Operation]:
    """The operations that `to_json` wrote."""
    names = {json_name: name for name, json_name in _JSON_NAMES.items()}
    return [Operation(**{names.get(k, k): v for k, v in entry.items()}) for entry in objects]


def apply(message: "Message", operations: Iterable[Operation]) -> "Message":
    """Applies a diff as a patch: `apply(a, diff(a, b))` equals `b`.

    Args:
      message: the A of the diff; left as it is.
      operations: what `diff` returned, in any order.

    Returns:
      A new message.

    Raises:
      UserError: the operations do not belong to this message.
    """
    result = type(message)()
    result.CopyFrom(message)
    # Deletions count indices in A, so they go first and from the end; what is left then moves to
    # its index in B by inserting from the start.
    for operation in sorted(_only(operations, DELETE), key=_position, reverse=True):
        _delete(result, operation.path)
    for operation in sorted(_only(operations, SET), key=_position):
        _insert(result, operation.path, operation.b)
    for operation in _only(operations, MODIFY):
        paths.set_field(result, operation.path, _text(result, operation.path, operation.b))
    return result


def value_of(field: "FieldDescriptor", value: Any) -> Any:
    """A field's (or list element's) value as an `Operation` shows it."""
    if field.type == field.TYPE_MESSAGE:
        body = text_format.MessageToString(
            value, as_one_line=True, use_short_repeated_primitives=True
        )
        return f"{{ {body} }}" if body else "{}"
    if field.type == field.TYPE_ENUM:
        return field.enum_type.values_by_number[value].name
    if field.type == field.TYPE_FLOAT and math.isfinite(value):
        return float(type_checkers.ToShortestFloat(value))
    return value


def show(value: Any) -> str:
    """A value for reading: strings in quotes, true and false as in text format."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def _only(operations: Iterable[Operation], op: str) -> list[Operation]:
    return [operation for operation in operations if operation.op == op]


def _position(operation: Operation) -> list[tuple]:
    """Sorts paths in document order: by field names, list indices as numbers."""
    return [
        (step.name, -1 if step.index is None else step.index, step.key or "")
        for step in paths.parse(operation.path)
    ]


def _text(message: "Message", path: str, value: Any) -> str:
    """The text format of an operation's value for the field at `path`."""
    _, field, _ = paths.descend(message, path)
    if field.type == field.TYPE_STRING:
        return json.dumps(value, ensure_ascii=False)
    return show(value)


def _delete(message: "Message", path: str) -> None:
    holder, field, step = paths.descend(message, path)
    if step.index is not None:
        del getattr(holder, field.name)[step.index]
    elif step.key is not None:
        del getattr(holder, field.name)[step.key]
    else:
        holder.ClearField(field.name)


def _insert(message: "Message", path: str, value: Any) -> None:
    holder, field, step = paths.descend(message, path)
    text = _text(message, path, value)
    if step.index is None:
        paths.set_field(message, path, text)
        return
    new = type(holder)()
    paths.set_field(new, f"{field.name}[0]", text)
    elements = [_detached(element) for element in getattr(holder, field.name)]
    elements.insert(step.index, getattr(new, field.name)[0])
    holder.ClearField(field.name)
    getattr(holder, field.name).extend(elements)


def _detached(element: Any) -> Any:
    """A list element that outlives the clearing of its list."""
    if not hasattr(element, "CopyFrom"):
        return element
    copy = type(element)()
    copy.CopyFrom(element)
    return copy
