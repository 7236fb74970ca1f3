"""What a config must know of a label map: its highest id."""

import os

from replicate.errors import UserError
from tfrecords import label_map


def highest_id(path: str | os.PathLike) -> int:
    """The highest category id of a label map file, which is what `num_classes` must be.

    Raises:
      UserError: no such file, or not a label map.
    """
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file")
    return max(label_map.read(path))
