"""Fields of a message by path: `model.ssd.num_classes`, `eval_input_reader[0].shuffle`,
`train_config.data_augmentation_options[1]`, `….keypoint_label_to_std["nose"]`.

The index may be left out where a list has one element or none.
"""

import dataclasses
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format

from replicate.config import textproto
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message


_STEP = re.compile(r'(\w+)(?:\[(\d+|"(?:[^"\\]|\\.)*")\])?(?:\.|$)')


@dataclasses.dataclass(frozen=True)
class Step:
    """One part of a path: a field's name and, where given, a list index or a map key."""

    name: str
    index: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        if self.key is not None:
            return f"{self.name}[{json.dumps(self.key)}]"
        return self.name if self.index is None else f"{self.name}[{self.index}]"


def parse(path: str) -> list[Step]:
    """A path as a list of `Step`s.

    Raises:
      UserError: not a path.
    """
    steps, position = [], 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            break
        name, bracket = match.groups()
        if bracket is None:
            steps.append(Step(name))
        elif bracket.startswith('"'):
            steps.append(Step(name, key=json.loads(bracket)))
        else:
            steps.append(Step(name, index=int(bracket)))
        position = match.end()
    if not steps or position < len(path) or path.endswith("."):
        raise UserError(
            f"'{path}' is not a field path; write it like model.ssd.num_classes or "
            "train_config.data_augmentation_options[1].random_crop_image.min_area"
        )
    return steps


def join(steps: Iterable[Step]) -> str:
    """The path as text."""
    return ".".join(str(step) for step in steps)


def without_indices(path: str) -> str:
    """The path's field names alone, without list indices and map keys."""
    return ".".join(step.name for step in parse(path))


def field_at(descriptor: "Descriptor", path: str) -> "FieldDescriptor":
    """The descriptor of the field at `path` below a message type, indices ignored.

    Raises:
      UserError: a name that is no field.
    """
    field = None
    for step in parse(path):
        field = descriptor.fields_by_name.get(step.name) if descriptor else None
        if field is None:
            raise UserError(f"{path}: there is no field '{step.name}'")
        descriptor = field.message_type
    return field


def is_map(field: "FieldDescriptor") -> bool:
    """Whether a field descriptor is of a map field."""
    return (
        field.type == field.TYPE_MESSAGE
        and field.is_repeated
        and field.message_type.GetOptions().map_entry
    )


def descend(message: "Message", path: str) -> "tuple[Message, FieldDescriptor, Step]":
    """The message that holds the last field of `path`, that field's descriptor and its `Step`.

    Messages on the way are created where absent.

    Raises:
      UserError: a name that is no field (with the nearest ones), or an index out of range.
    """
    steps = parse(path)
    for done, step in enumerate(steps):
        field = message.DESCRIPTOR.fields_by_name.get(step.name)
        if field is None:
            raise UserError(f"{path}: {textproto.unknown_field(message.DESCRIPTOR, step.name)}")
        if done == len(steps) - 1:
            return message, field, step
        if field.type != field.TYPE_MESSAGE or is_map(field):
            raise UserError(f"{path}: '{join(steps[: done + 1])}' has no fields of its own")
        message = _enter(message, field, step, path)
    raise AssertionError("parse() returns at least one step")


def get_field(message: "Message", path: str) -> Any:
    """The value at `path`: a scalar, a message, a list or a map; the default where it is unset.

    Raises:
      UserError: no such field or element.
    """
    holder, field, step = descend(_copy(message), path)
    value = getattr(holder, field.name)
    if step.index is not None:
        _require_list(field, path)
        if step.index >= len(value):
            raise UserError(f"{path}: the list has {len(value)} elements")
        return value[step.index]
    return value[step.key] if step.key is not None else value


def set_field(message: "Message", path: str, value: str) -> None:
    """Sets the field at `path` from text, as `--set PATH=VALUE` does; all or nothing.

    `value` is text format: `0.04`, `true`, `SIGMOID`, `{ random_horizontal_flip {} }`; strings
    need no quotes. A list is given whole, `[1.0, 2.0]`, or as its only element; `PATH[i]` names
    one element, and the index after the last appends.

    Args:
      message: any message; changed in place.
      path: see the module's docstring.
      value: text.

    Raises:
      UserError: no such field (with the nearest names), or a value of the wrong type.
    """
    _assign(_copy(message), path, value)  # what does not fit is told before anything is changed
    _assign(message, path, value)


def _assign(message: "Message", path: str, value: str) -> None:
    holder, field, step = descend(message, path)
    parsed = _parse_value(holder, field, step, path, str(value))
    current = getattr(holder, field.name)
    if step.index is not None:
        _set_element(current, step.index, getattr(parsed, field.name), path)
        return
    if is_map(field) and step.key is None:
        current.clear()
    elif field.is_repeated and not is_map(field):
        del current[:]
    elif not field.is_repeated:
        holder.ClearField(field.name)
    holder.MergeFrom(parsed)


def _copy(message: "Message") -> "Message":
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _enter(message: "Message", field: "FieldDescriptor", step: Step, path: str) -> "Message":
    """The sub-message that `step` names."""
    value = getattr(message, field.name)
    if not field.is_repeated:
        if step.index is not None:
            raise UserError(f"{path}: '{field.name}' is not a list")
        value.SetInParent()
        return value
    if step.index is None and len(value) > 1:
        raise UserError(
            f"{path}: '{field.name}' has {len(value)} elements; say which, e.g. {field.name}[0]"
        )
    index = step.index or 0
    if index == len(value):
        value.add()
    if index > len(value):
        raise UserError(f"{path}: '{field.name}' has {len(value)} elements, counted from 0")
    return value[index]


def _require_list(field: "FieldDescriptor", path: str) -> None:
    if not field.is_repeated or is_map(field):
        raise UserError(f"{path}: '{field.name}' is not a list")


def _parse_value(
    holder: "Message", field: "FieldDescriptor", step: Step, path: str, value: str
) -> "Message":
    """A message of the holder's type in which `field` alone is set, from text."""
    if step.index is not None:
        _require_list(field, path)
    text = value.strip()
    if step.key is not None:
        if not is_map(field):
            raise UserError(f"{path}: '{field.name}' is not a map")
        text = f"{{ key: {json.dumps(step.key)} value: {text} }}"
    elif field.type == field.TYPE_STRING and text[:1] not in ("'", '"', "["):
        text = json.dumps(text, ensure_ascii=False)
    if step.index is not None and text.startswith("["):
        raise UserError(f"{path}={value}: one element is set, not a list")
    parsed = type(holder)()
    try:
        text_format.Parse(f"{field.name}: {text}", parsed)
    except text_format.ParseError as error:
        problem = textproto.explain(textproto.problem_of(error))
        raise UserError(f"{path}={value}: {problem} (the field takes {kind(field)})") from error
    return parsed


def _set_element(current: Any, index: int, new: Any, path: str) -> None:
    if index > len(current):
        raise UserError(f"{path}: the list has {len(current)} elements, counted from 0")
    if index == len(current):
        current.append(new[0])
    elif hasattr(new[0], "CopyFrom"):
        current[index].CopyFrom(new[0])
    else:
        current[index] = new[0]


def kind(field: "FieldDescriptor") -> str:
    """What a field takes, in words: "true or false", "a list, each element a number"."""
    if field.type == field.TYPE_MESSAGE:
        words = f"a {field.message_type.name} message in braces"
    elif field.type == field.TYPE_ENUM:
        words = "one of " + ", ".join(value.name for value in field.enum_type.values)
    elif field.type == field.TYPE_BOOL:
        words = "true or false"
    elif field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        words = "a number"
    elif field.type == field.TYPE_STRING:
        words = "a string"
    else:
        words = "a whole number"
    return f"a list, each element {words}" if field.is_repeated else words
