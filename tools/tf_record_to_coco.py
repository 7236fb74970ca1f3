"""Writes the COCO JSON of TFRecords: what a training job saw, to be scored and inspected.

    python tools/tf_record_to_coco.py --records=data/val2017 --label_map=data/label_map.pbtxt \\
        --output=val2017_as_seen.json

--records is the output_path of a conversion, a file, or a pattern in quotes. Boxes are exact to
float32, masks become RLE; annotation ids are not in records, so annotations are numbered anew.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import json

from absl import flags

from tfrecords import inverse, label_map
from tfrecords.whole_files import written_whole
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("records", None, "output_path of a conversion, file, or pattern in quotes")
flags.DEFINE_string("label_map", None, "StringIntLabelMap: the categories' ids and names")
flags.DEFINE_string("output", None, "COCO JSON to write")


def main(_: list[str]) -> None:
    categories = label_map.read(FLAGS.label_map)
    document = inverse.to_coco(inverse.shard_paths(FLAGS.records), categories)
    with written_whole(FLAGS.output) as file:
        json.dump(document, file, ensure_ascii=False)
    print(
        f"{FLAGS.output}: {len(document['images'])} images, "
        f"{len(document['annotations'])} annotations"
    )


if __name__ == "__main__":
    cli.run(main, required=["records", "label_map", "output"])
