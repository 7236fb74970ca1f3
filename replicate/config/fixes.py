"""Blocks that people copy from answers on the web and the API does not have, and what to write."""

import dataclasses
import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from replicate.config import syntax


# Names under which a piecewise constant schedule is passed around (Keras's own among them).
_PIECEWISE = {
    "piecewise_constant_learning_rate",
    "piecewise_constant_decay",
    "piecewise_constant_decay_learning_rate",
    "piecewise_constant",
}
_BOUNDARIES = ("boundaries", "boundary", "steps")
_VALUES = ("values", "value", "rates", "learning_rates")


@dataclasses.dataclass(frozen=True)
class Replacement:
    """`text` in place of the characters from `start` to `end`."""

    start: int
    end: int
    text: str


def copied_mistake(
    tree: "syntax.Text", node: "syntax.Node", descriptor: "Descriptor"
) -> tuple[str, Replacement | None] | None:
    """What an unknown field was meant to be, where it is a known one.

    Args:
      tree: the `syntax.Text`.
      node: the unknown field.
      descriptor: of the message it stands in.

    Returns:
      (message, Replacement or None), or None for a field nobody is known to copy.
    """
    if node.name not in _PIECEWISE or "manual_step_learning_rate" not in descriptor.fields_by_name:
        return None
    advice = f"'{node.name}' does not exist in the API; write manual_step_learning_rate"
    boundaries = _numbers(node, _BOUNDARIES)
    values = _numbers(node, _VALUES)
    if not boundaries or len(values) != len(boundaries) + 1:
        return (
            f"{advice} {{ initial_learning_rate: … schedule {{ step: … learning_rate: … }} }} "
            f"(here are {len(boundaries)} boundaries and {len(values)} values; it must be one "
            "value more than boundaries)",
            None,
        )
    block = manual_step_block(boundaries, values)
    _, column = tree.line_column(node.start)
    indented = textwrap.indent(block, " " * (column - 1))
    return f"{advice}:\n{indented}", Replacement(node.start, node.end, indented.lstrip())


def manual_step_block(boundaries: Sequence[str], values: Sequence[str]) -> str:
    """A `manual_step_learning_rate` block.

    Args:
      boundaries: steps from which the next rate holds, as written.
      values: one rate more than boundaries, as written.
    """
    lines = ["manual_step_learning_rate {", f"  initial_learning_rate: {values[0]}"]
    for step, rate in zip(boundaries, values[1:], strict=True):
        lines += ["  schedule {", f"    step: {step}", f"    learning_rate: {rate}", "  }"]
    return "\n".join([*lines, "}"])


def _numbers(node: "syntax.Node", names: Collection[str]) -> list[str]:
    """The literals of the fields called any of `names`, in the order of the text."""
    return [child.literal for child in node.children or [] if child.name in names and child.literal]
