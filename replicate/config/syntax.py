"""The syntax tree of protobuf text format: which field stands where in a file.

protobuf's own parser keeps no positions and stops at the first mistake; the linter needs both, and
the diff needs numbers as they were written. Values are not interpreted here.
"""

import bisect
import dataclasses
import re
from collections.abc import Iterator

from replicate.config import paths

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      |(?P<word>-?[\w.+-]+)
      |(?P<mark>[{}<>\[\]:,;/])""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">", "[": "]"}


class NotTextFormat(ValueError):
    """The text has no syntax tree; protobuf's parser says why."""


@dataclasses.dataclass
class Node:
    """One `name: value` of the text, or one element of a list.

    Attributes:
      name: the field's name.
      path: its path as `paths` writes it, with the indices above 0 alone.
      start, end: character offsets of all of it, the name included (of a list's element, its own).
      literal: the value's text where it is a scalar, else None.
      children: the fields of a message value, in the order of the text; None for a scalar.
    """

    name: str
    path: str
    start: int
    end: int
    literal: str | None = None
    children: "list[Node] | None" = None


class Text:
    """A text with its tree.

    Attributes:
      text: the characters.
      fields: the top-level `Node`s.

    Raises:
      NotTextFormat: braces that do not close, a field without a value.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._tokens = list(_tokens(text))
        self._next = 0
        self.fields = self._message("", None)

    def line_column(self, offset: int) -> tuple[int, int]:
        """(line, column), both from 1, of a character offset."""
        line = bisect.bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def walk(self) -> Iterator[Node]:
        """All nodes, each before its children."""
        stack = self.fields[::-1]
        while stack:
            node = stack.pop()
            yield node
            stack += (node.children or [])[::-1]

    def find(self, path: str) -> Node | None:
        """The node at `path`, or None."""
        wanted = path.replace("[0]", "")
        return next((node for node in self.walk() if node.path == wanted), None)

    def _message(self, prefix: str, closing: str | None) -> list[Node]:
        """Fields up to the closing mark, which is consumed."""
        fields: list[Node] = []
        counts: dict[str, int] = {}
        while True:
            kind, token, start = self._take(closing is None)
            if kind is None or token == closing:
                break
            if kind != "word":
                raise NotTextFormat(token)
            colon = self._skip(":")
            nodes = list(self._values(token, prefix, start, counts))
            if not colon and any(node.literal is not None for node in nodes):
                raise NotTextFormat(token)  # only a message may do without
            fields += nodes
            self._skip(",;")
        return fields

    def _values(
        self, name: str, prefix: str, start: int | None, counts: dict[str, int]
    ) -> Iterator[Node]:
        """The nodes of one `name: value`; a list gives one an element."""
        if self._peek() != "[":
            yield self._value(name, prefix, start, counts)
            return
        self._take()
        more = self._peek() != "]"
        while more:
            yield self._value(name, prefix, None, counts)
            more = self._skip(",")
        if self._take()[1] != "]":
            raise NotTextFormat(name)

    def _value(self, name: str, prefix: str, start: int | None, counts: dict[str, int]) -> Node:
        index = counts.get(name, 0)
        counts[name] = index + 1
        path = f"{prefix}{paths.Step(name, index=index or None)}"
        kind, token, at = self._take()
        node = Node(name, path, at if start is None else start, at + len(token))
        if token in ("{", "<"):
            node.children = self._message(path + ".", _CLOSING[token])
            node.end = self._tokens[self._next - 1][2] + 1
        elif kind in ("word", "string"):
            while kind == "string" and self._peek_kind() == "string":  # adjacent strings join
                _, more, more_at = self._take()
                token, node.end = f"{token} {more}", more_at + len(more)
            node.literal = token
        else:
            raise NotTextFormat(token)
        return node

    def _take(self, end_allowed: bool = False) -> tuple:
        if self._next == len(self._tokens):
            if end_allowed:
                return None, None, len(self.text)
            raise NotTextFormat("end of the text")
        self._next += 1
        return self._tokens[self._next - 1]

    def _peek(self) -> str | None:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else None

    def _peek_kind(self) -> str | None:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else None

    def _skip(self, marks: str) -> bool:
        """Passes over one of `marks` where it comes next, and tells whether it did."""
        token = self._peek()
        is_next = token is not None and token in marks
        self._next += is_next
        return is_next


def _tokens(text: str) -> Iterator[tuple]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotTextFormat(text[position])
        if match.lastgroup != "space":
            yield match.lastgroup, match.group(), match.start()
        position = match.end()
