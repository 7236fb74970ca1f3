"""The differences of two configs, from wherever they lie, as one result: `replicate.diff`."""

import collections
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from replicate import python_api
from replicate.config import sources, textproto
from replicate.config.diff import diff, same
from replicate.config.operations import Operation
from replicate.config.written import written_otherwise
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Differences(list[Operation]):
    """What leads from config A to config B: a list of `Operation`.

    Attributes:
      a, b: what they were called.
      same: whether both train and evaluate the same (nothing but paths and cosmetics differs).
    """

    def __init__(self, operations: Iterable[Operation], a: str, b: str) -> None:
        super().__init__(operations)
        self.a, self.b = a, b

    @property
    def same(self) -> bool:
        return same(self)

    def __repr__(self) -> str:
        classes = collections.Counter(operation.cls for operation in self)
        counts = ", ".join(f"{count} {cls}" for cls, count in classes.most_common()) or "none"
        return f"<differences of {self.a} and {self.b}: {counts}>"

    def _repr_html_(self) -> str:
        return python_api.table(
            f"{self.a} and {self.b}: {'the same' if self.same else 'they differ'}",
            ["class", "field", "A", "B", "why it matters"],
            [
                (operation.cls, operation.path, operation.a, operation.b, operation.why)
                for operation in self
            ],
        )


def differences(a: "str | os.PathLike | Message", b: "str | os.PathLike | Message") -> Differences:
    """How two training configs differ, each difference with its class and why it matters.

    Args:
      a, b: a zoo model's name, a pipeline.config, a released archive, a folder or run directory
        with one; or a config's message, as `replicate.render` gives it.

    Raises:
      UserError: nothing of that name, or a config that does not parse.
    """
    (message_a, text_a, name_a), (message_b, text_b, name_b) = _read(a), _read(b)
    operations = diff(message_a, message_b) + written_otherwise(text_a, text_b)
    return Differences(operations, name_a, name_b)


def _read(source: "str | os.PathLike | Message") -> "tuple[Message, str, str]":
    if isinstance(source, (str, os.PathLike)):
        return *sources.read_with_text(source), str(source)
    if not hasattr(source, "DESCRIPTOR"):
        raise UserError(
            f"{type(source).__name__} is no config: give a zoo model's name, a path, or what "
            "replicate.render returns"
        )
    return source, textproto.to_text(source), "a config"
