"""A params YAML read with the place of every field."""

import dataclasses
import re
from typing import Any

import yaml

from replicate.errors import UserError

_EXPERIMENT = re.compile(r"^#.*--experiment(?:_type)?=(\w+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class TextPlace:
    """Where a field stands: line and column of its name (or of a list's element), from 1, and the
    first and the last character of its value in the text."""

    line: int
    column: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Document:
    """A params YAML.

    Attributes:
      text: as it was read.
      experiment: the factory that its comments name, or "".
      values: nested dicts, lists and scalars.
      places: of every field and list element by its path ("task.model.input_size[0]").
      twice: (path, place) of names that stand twice in one block, of which YAML keeps the last.
    """

    text: str
    experiment: str
    values: dict[str, Any]
    places: dict[str, TextPlace]
    twice: tuple[tuple[str, TextPlace], ...]

    def line_column(self, path: str) -> tuple[int, int]:
        """Line and column of a field, or of the nearest block around it that is written."""
        while path:
            if path in self.places:
                return self.places[path].line, self.places[path].column
            path = re.sub(r"(\.|^)[^.\[]+$|\[\d+\]$", "", path)
        return 1, 1


def parse(text: str, origin: str) -> Document:
    """Reads a text.

    Args:
      text: YAML.
      origin: what it came from, for messages.

    Raises:
      UserError: it is no YAML, or not one of nested fields; the message has line and column.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        values = loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark else origin
        raise UserError(f"{where}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{origin}: not YAML: {error}") from None
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise UserError(f"{origin}: holds no fields; a params YAML begins with task:, trainer: …")
    places: dict[str, TextPlace] = {}
    twice: list[tuple[str, TextPlace]] = []
    if node is not None:
        _walk(node, "", places, twice)
    experiment = _EXPERIMENT.search(text)
    return Document(text, experiment[1] if experiment else "", values, places, tuple(twice))


def _walk(
    node: yaml.Node, path: str, places: dict[str, TextPlace], twice: list[tuple[str, TextPlace]]
) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            where = f"{path}.{key.value}" if path else str(key.value)
            place = _place(key, value)
            if where in places:
                twice.append((where, place))
            places[where] = place
            _walk(value, where, places, twice)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            where = f"{path}[{index}]"
            places[where] = _place(value, value)
            _walk(value, where, places, twice)


def _place(name: yaml.Node, value: yaml.Node) -> TextPlace:
    mark = name.start_mark
    return TextPlace(mark.line + 1, mark.column + 1, value.start_mark.index, value.end_mark.index)
