"""Some of many, evenly spread: for a line's points, a slider's steps, a sample of files."""

from collections.abc import Sequence
from typing import TypeVar

_Value = TypeVar("_Value")


def evenly(values: Sequence[_Value], count: int) -> list[_Value]:
    """At most `count` of some values, evenly spread, the first and the last among them.

    Args:
      values: some.
      count: at least 2.

    Returns:
      those, in the order of `values`.
    """
    if len(values) <= count:
        return list(values)
    last = len(values) - 1
    return [values[round(index * last / (count - 1))] for index in range(count)]
