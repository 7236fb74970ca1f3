"""The model's classes: which output is which category."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from replicate.errors import UserError
from tfrecords import label_map


@dataclasses.dataclass(frozen=True)
class Class:
    """One output of the model: the category's id and name in the label map."""

    id: int
    name: str


def of_label_map(path: str | os.PathLike[str]) -> tuple[Class, ...]:
    """The classes of a label map, ascending by id: output i of the model is the i-th of them.

    Gaps in the ids (COCO's 1 to 90 hold 80 categories) leave none in the outputs.

    Args:
      path: StringIntLabelMap text.

    Raises:
      tfrecords.errors.InputError: not a label map.
      UserError: one name under two ids.
    """
    names = label_map.read(path)
    ids: dict[str, int] = {}
    for category_id, name in sorted(names.items()):
        if name in ids:
            raise UserError(
                f"{path}: ids {ids[name]} and {category_id} are both named {name!r}; records name "
                "their categories, so names must differ"
            )
        ids[name] = category_id
    return tuple(Class(category_id, name) for name, category_id in ids.items())


def to_json(classes: Sequence[Class]) -> list[dict]:
    """{"index", "id", "name"} of each, in the order of the outputs."""
    return [
        {"index": index, "id": category.id, "name": category.name}
        for index, category in enumerate(classes)
    ]


def from_json(value: Any, where: object) -> tuple[Class, ...]:
    """The inverse of `to_json`.

    Raises:
      UserError: naming `where`: entries are missing, or the indices are not 0, 1, 2, ...
    """
    try:
        indices = [entry["index"] for entry in value]
        classes = tuple(Class(entry["id"], entry["name"]) for entry in value)
    except (KeyError, TypeError) as error:
        raise UserError(f"{where}: not a list of index, id and name ({error!r})") from None
    if indices != list(range(len(classes))):
        raise UserError(f"{where}: its indices are not 0 to {len(classes) - 1} in order")
    return classes


def require_same(
    trained: Sequence[Class], other: Sequence[Class], model: object, where: object
) -> None:
    """Checks that `other` gives every output the category it was trained for.

    Args:
      trained: the model's.
      other: the classes beside them.
      model, where: what the two are called in the message.

    Raises:
      UserError: naming the first output that differs, and how many do.
    """
    if trained == other:
        return
    length = max(len(trained), len(other))
    pairs = [(_at(trained, index), _at(other, index)) for index in range(length)]
    differing = [index for index, (a, b) in enumerate(pairs) if a != b]
    first = differing[0]
    raise UserError(
        f"{where}: {len(differing)} of {length} classes differ from those that {model} was trained "
        f"for; first output {first}: trained as {pairs[first][0]}, here {pairs[first][1]}. "
        "Give the label map that it was trained with"
    )


def _at(classes: Sequence[Class], index: int) -> str:
    if index >= len(classes):
        return "nothing"
    return f"{classes[index].name!r} (id {classes[index].id})"
