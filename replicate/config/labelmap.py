"""What a config must know of a label map: its highest id."""

import functools
import os

from replicate.config import textproto
from replicate.errors import UserError
from replicate.odapi import protos


def highest_id(path: str | os.PathLike) -> int:
    """The highest category id of a label map file, which is what `num_classes` must be.

    Raises:
      UserError: not a label map.
    """
    message = textproto.parse(textproto.read_text(path), str(path), _label_map_class()())
    if not message.item:
        raise UserError(f"{path}: a label map without an item {{ id: 1 name: … }}")
    return max(item.id for item in message.item)


@functools.cache
def _label_map_class() -> type:
    return protos.load("string_int_label_map").StringIntLabelMap
