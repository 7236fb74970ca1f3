"""What a config must know of a label map: its highest id."""

import functools
import os
import pathlib

from replicate.config import textproto
from replicate.errors import UserError
from replicate.odapi import protos
from tfrecords import label_map


def highest_id(path: str | os.PathLike) -> int:
    """The highest category id of a label map file, which is what `num_classes` must be.

    Raises:
      UserError: no such file, or not a label map.
    """
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file")
    try:
        return max(label_map.read(path))
    except UserError as error:
        if "has no name" in str(error):  # a field of another name may be why
            textproto.parse(textproto.read_text(path), str(path), _label_map_class()())
        raise


def check_fields(path: str | os.PathLike) -> None:
    """Raises UserError where a label map has a field that the API's own message does not have."""
    text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    textproto.parse(text, str(path), _label_map_class()())


@functools.cache
def _label_map_class() -> type:
    return protos.load("string_int_label_map").StringIntLabelMap
