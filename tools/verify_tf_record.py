"""Checks TFRecords against their manifest, and against the COCO JSON they were made from.

    python tools/verify_tf_record.py --output_path=data/val2017
    python tools/verify_tf_record.py --output_path=data/val2017 --full

The first reads every shard: size, SHA-256, the checksum of every record, their number. --full also
decodes every image and mask and compares every object with the JSON; what is in neither the
records nor the ledger is a problem. Prints the problems; exit status 1 if there are any.

Records of another converter, the API's or TF-Vision's, have no manifest; they are compared with
the JSON they were made from:

    python tools/verify_tf_record.py --output_path=data/train --annotations_file=instances.json
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from absl import flags

from tfrecords import manifest, verification
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("output_path", None, "as given to create_coco_tf_record.py")
flags.DEFINE_bool("full", False, "compare every image and annotation with the JSON")
flags.DEFINE_string("annotations_file", None, "the JSON, if it is not where it was")
flags.DEFINE_integer("num_workers", None, "processes (default: all cores)", lower_bound=1)


def main(_: list[str]) -> int:
    problems = verification.verify(
        FLAGS.output_path,
        full=FLAGS.full,
        annotations_file=FLAGS.annotations_file,
        num_workers=FLAGS.num_workers,
    )
    for problem in problems:
        print(problem)
    if not problems:
        sources = "the manifest and the JSON say" if FLAGS.full else "the manifest says"
        if not os.path.exists(manifest.path_of(FLAGS.output_path)):
            sources = "the JSON says"
        print(f"{FLAGS.output_path}: as {sources}")
    return cli.NEGATIVE if problems else cli.DONE


if __name__ == "__main__":
    cli.run(main, required=["output_path"])
