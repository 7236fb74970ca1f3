"""Numbers that are written otherwise and mean the same: 0.08 and 0.07999999821186066 in float32."""

import struct

from replicate.config import paths, syntax
from replicate.config.operations import MODIFY, Operation
from replicate.config.textproto import pipeline_class


def written_otherwise(text_a: str, text_b: str) -> list[Operation]:
    """Float fields whose numbers differ as written and are equal in float32.

    Args:
      text_a, text_b: two texts that parse as `TrainEvalPipelineConfig`.

    Returns:
      `list[Operation]` of the class "cosmetic"; `a` and `b` are the numbers as written. The
      messages' own differences are `diff`'s.
    """
    numbers_a, numbers_b = _numbers(text_a), _numbers(text_b)
    return [
        Operation(MODIFY, path, a, b, "cosmetic", "the same value in float32")
        for path, a in numbers_a.items()
        if (b := numbers_b.get(path, a)) != a and _float32(a) == _float32(b)
    ]


def _numbers(text: str) -> dict[str, float]:
    """{path: number as float64} of the float fields of a text, maps left out."""
    numbers: dict[str, float] = {}
    try:
        tree = syntax.Text(text)
    except syntax.NotTextFormat:  # protobuf reads more than this tree does
        return numbers
    for node in tree.walk():
        if node.literal is None or node.literal[0] in "\"'":
            continue
        try:
            number = float(node.literal.rstrip("fF"))
        except ValueError:
            continue
        field = paths.field_at(pipeline_class().DESCRIPTOR, node.path)
        in_map = field.containing_type.GetOptions().map_entry
        if field.type == field.TYPE_FLOAT and not in_map:
            numbers[node.path] = number
    return numbers


def _float32(number: float) -> bytes:
    try:
        return struct.pack("f", number)
    except OverflowError:  # beyond float32: infinite, as protobuf reads it
        return struct.pack("f", float("inf") if number > 0 else float("-inf"))
