"""The difference between two configs, field by field, each classified by `rules`."""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from replicate.config import align, paths, rules
from replicate.config.operations import DELETE, MODIFY, SET, Operation, value_of

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message


def diff(a: "Message", b: "Message") -> list[Operation]:
    """The differences from config `a` to config `b`.

    Values are compared as the messages hold them (a `float` field is a float32), whether a field
    is set included: a default that is written out in one of the two is a "cosmetic" difference.
    Lists are aligned, so an inserted augmentation step is one operation.

    Args:
      a, b: messages of the same type.

    Returns:
      A list of `Operation` in the order of the fields; empty when the messages are equal.
    """
    return [_classified(*difference) for difference in _message(a, b, "", "")]


def same(operations: Iterable[Operation]) -> bool:
    """Whether two configs train and evaluate the same: nothing but paths and cosmetics differs."""
    return all(operation.cls in rules.SAME for operation in operations)


def _classified(op: str, path: str, a: Any, b: Any, default: Any) -> Operation:
    """`default` is the default of a scalar field that is set on one side alone, else None."""
    rule = rules.rule_for(path, a, b)
    if default is not None and default == (b if a is None else a) and not rule.presence:
        rule = rules.WRITTEN_DEFAULT
    return Operation(op, path, a, b, rule.cls, rule.why, rule.source)


def _message(a: "Message", b: "Message", prefix_a: str, prefix_b: str) -> Iterator[tuple]:
    """The differences of two messages; the prefixes are their own paths, on either side."""
    for field in a.DESCRIPTOR.fields:
        at_a, at_b = prefix_a + field.name, prefix_b + field.name
        if paths.is_map(field):
            yield from _map(field, getattr(a, field.name), getattr(b, field.name), at_a, at_b)
        elif field.is_repeated:
            yield from _list(field, getattr(a, field.name), getattr(b, field.name), at_a, at_b)
        else:
            yield from _single(field, a, b, at_a, at_b)


def _single(
    field: "FieldDescriptor", a: "Message", b: "Message", at_a: str, at_b: str
) -> Iterator[tuple]:
    in_a, in_b = a.HasField(field.name), b.HasField(field.name)
    value_a, value_b = getattr(a, field.name), getattr(b, field.name)
    if in_a and in_b:
        if field.type == field.TYPE_MESSAGE:
            yield from _message(value_a, value_b, at_a + ".", at_b + ".")
        elif not _equal(value_a, value_b):
            yield MODIFY, at_b, value_of(field, value_a), value_of(field, value_b), None
    elif in_a or in_b:
        default = None
        if field.type != field.TYPE_MESSAGE and field.containing_oneof is None:
            default = value_of(field, value_b if in_a else value_a)
        if in_a:
            yield DELETE, at_a, value_of(field, value_a), None, default
        else:
            yield SET, at_b, None, value_of(field, value_b), default


def _map(field: "FieldDescriptor", a: Any, b: Any, at_a: str, at_b: str) -> Iterator[tuple]:
    value = field.message_type.fields_by_name["value"]
    for key in sorted(set(a) | set(b)):
        bracket = f"[{json.dumps(key)}]"
        if key not in b:
            yield DELETE, at_a + bracket, value_of(value, a[key]), None, None
        elif key not in a:
            yield SET, at_b + bracket, None, value_of(value, b[key]), None
        elif not _equal(a[key], b[key]):
            yield MODIFY, at_b + bracket, value_of(value, a[key]), value_of(value, b[key]), None


def _list(field: "FieldDescriptor", a: Any, b: Any, at_a: str, at_b: str) -> Iterator[tuple]:
    is_message = field.type == field.TYPE_MESSAGE
    if list(a) == list(b):
        return
    for i, j in align.align(list(a), list(b), _message_distance if is_message else _distance):
        if i is None:
            yield SET, f"{at_b}[{j}]", None, value_of(field, b[j]), None
        elif j is None:
            yield DELETE, f"{at_a}[{i}]", value_of(field, a[i]), None, None
        elif is_message:
            yield from _message(a[i], b[j], f"{at_a}[{i}].", f"{at_b}[{j}].")
        elif not _equal(a[i], b[j]):
            yield MODIFY, f"{at_b}[{j}]", value_of(field, a[i]), value_of(field, b[j]), None


def _equal(a: Any, b: Any) -> bool:
    return a == b or (a != a and b != b)  # NaN equals NaN here


def _distance(a: Any, b: Any) -> float:
    return 0.0 if _equal(a, b) else 1.5


def _message_distance(a: "Message", b: "Message") -> float:
    """0 for equal messages, up to 1.5 for messages of one kind, 2.5 for two kinds of step.

    The kind of an augmentation step is the oneof member it sets.
    """
    if a == b:
        return 0.0
    if any(a.WhichOneof(oneof.name) != b.WhichOneof(oneof.name) for oneof in a.DESCRIPTOR.oneofs):
        return 2.5
    differing = sum(1 for _ in _message(a, b, "", ""))
    return min(1.5, 0.5 + 0.1 * differing)
