"""labels.txt: a class name a line, by class index, as TFLite's and ONNX's users have it."""

import os
from typing import TYPE_CHECKING

from replicate.config.placed import placed

if TYPE_CHECKING:
    from google.protobuf.message import Message

FILE = "labels.txt"
LABEL_MAP = "label_map.pbtxt"
# What the API's own label files put where COCO's ids leave a gap.
NO_CLASS = "???"


def of_config(config: "Message", beside: str | os.PathLike | None = None) -> dict[int, str] | None:
    """The class names of a config's label map by id; None where it cannot be read here.

    Args:
      config: TrainEvalPipelineConfig.
      beside: its folder, from which the label map is looked for too (`config.placed`).
    """
    from tfrecords import label_map
    from tfrecords.errors import InputError

    try:
        return label_map.read(placed(config.train_input_reader.label_map_path, beside))
    except InputError:
        return None


def by_index(names: dict[int, str]) -> list[str]:
    """The names by class index (id less one), with NO_CLASS where no id is."""
    return [names.get(index + 1, NO_CLASS) for index in range(max(names))]
