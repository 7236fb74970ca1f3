"""COCO JSON to sharded TFRecords and back, with nothing lost silently.

    import tfrecords
    summary = tfrecords.convert("instances_val2017.json", "val2017", "data/val2017", 32)
    tfrecords.write_label_map("instances_val2017.json", "data/label_map.pbtxt")

Imports no TensorFlow.
"""

from tfrecords.conversion import Summary, convert
from tfrecords.errors import InputError
from tfrecords.label_map import write as write_label_map

__all__ = ["InputError", "Summary", "convert", "write_label_map"]
