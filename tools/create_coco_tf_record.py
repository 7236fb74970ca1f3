"""Converts a COCO dataset to the Object Detection API's TFRecords.

    python tools/create_coco_tf_record.py --annotations_file=annotations/instances_val2017.json \\
        --image_dir=val2017 --output_path=data/val2017 --num_shards=32 --include_masks

writes data/val2017-00000-of-00032.tfrecord …, data/manifest-val2017.json (every shard's SHA-256,
records and bytes, all counts) and data/dropped-val2017.jsonl (every annotation and image that did
not arrive, with the reason). The features are those of the API's own create_coco_tf_record.

Interrupted at any point, the same command continues and makes only the missing shards; finished,
it says so at once. --label_map=FILE also writes the label map, with COCO's ids, and beside it the
same as id,name lines (FILE's name, ending in .csv).

TF-Vision's default decoder reads the classes from image/object/class/label, which the API's
converter does not write: --include_class_labels adds it. Without it, TF-Vision needs its label map
decoder (`decoder.type: label_map_decoder`) and that CSV.

An annotation file that is not as COCO has it is refused, with the --fix=… that mends its kind; the
mended file is left beside the records, for training and evaluation to read the same one.

Beyond one machine, --runner=DataflowRunner (any of Apache Beam's) writes the same bytes as a Beam
pipeline, with requirements-beam.txt; options of the runner follow after --:

    python tools/create_coco_tf_record.py … --runner=DataflowRunner -- --project=P --region=R
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import types

from absl import flags

import tfrecords
from tfrecords import boxes, label_map, mending
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("annotations_file", None, "COCO annotations (.json, .json.gz)")
flags.DEFINE_string("image_dir", None, "folder of the images")
flags.DEFINE_string("output_path", None, "prefix of the written files, such as data/val2017")
flags.DEFINE_integer("num_shards", None, "number of shards", lower_bound=1)
flags.DEFINE_bool("include_masks", False, "write instance masks (PNG) as well")
flags.DEFINE_bool(
    "include_class_labels",
    False,
    "write category ids (image/object/class/label) as well, which TF-Vision's decoder reads",
)
flags.DEFINE_string("keypoints_file", None, "person_keypoints annotations: write keypoints as well")
flags.DEFINE_enum(
    "invalid_boxes",
    "skip",
    boxes.POLICIES,
    "boxes that are empty or not inside the image: leave out (listed in the ledger), clip to the "
    "image, or stop",
)
flags.DEFINE_bool(
    "keep_images_without_annotations",
    True,
    "write images that have no annotations too, as the API's converter does",
)
flags.DEFINE_enum(
    "on_error",
    "stop",
    ["stop", "skip"],
    "images that are missing, unreadable or not as annotated, and annotations of unknown images "
    "or categories: stop, or leave out and list in the ledger",
)
flags.DEFINE_list(
    "fix",
    [],
    "what to mend in the annotation file first, as the error message offers; the mended file is "
    f"written to annotations-NAME.json. {mending.help_text()}",
)
flags.DEFINE_integer("num_workers", None, "processes (default: all cores)", lower_bound=1)
flags.DEFINE_string(
    "label_map",
    None,
    "also write the label map here; one that is there already must have the same ids and names",
)
flags.DEFINE_string("runner", None, "Apache Beam runner, such as DirectRunner (default: no Beam)")


def main(runner_options: list[str]) -> None:
    if runner_options and not FLAGS.runner:
        raise tfrecords.InputError(cli.unexpected(runner_options))
    options = {
        "include_masks": FLAGS.include_masks,
        "keypoints_file": FLAGS.keypoints_file,
        "invalid_boxes": FLAGS.invalid_boxes,
        "keep_images_without_annotations": FLAGS.keep_images_without_annotations,
        "on_error": FLAGS.on_error,
        "include_class_labels": FLAGS.include_class_labels,
    }
    what = (FLAGS.annotations_file, FLAGS.image_dir, FLAGS.output_path, FLAGS.num_shards)
    if FLAGS.runner and FLAGS.fix:
        raise tfrecords.InputError(
            "--fix and --runner: mend the file first, with tools/convert_annotations.py "
            f"--from=coco --to=coco --fix={','.join(FLAGS.fix)}"
        )
    if FLAGS.label_map:
        label_map.refuse_other(FLAGS.label_map)
    if FLAGS.runner:
        summary = _beam().convert(
            *what, **options, runner=FLAGS.runner, pipeline_options=runner_options
        )
    else:
        summary = tfrecords.convert(*what, **options, fix=FLAGS.fix, num_workers=FLAGS.num_workers)
    if FLAGS.label_map:
        converted = summary.manifest["source"]["annotations_file"]
        label_map.write(converted, FLAGS.label_map, replace=False)
    print(f"already done\n{summary}" if summary.reused else summary)
    if FLAGS.label_map:
        print(f"label map {FLAGS.label_map}, beside it its CSV")
    if (
        summary.manifest["source"]["annotations"]
        and not (summary.manifest["counts"]["annotations_written"])
    ):
        raise tfrecords.InputError(
            f"none of the {summary.manifest['source']['annotations']} annotations was written, so "
            f"there is nothing to train on or to find; {summary.ledger_path} says why, one by one"
        )


def _beam() -> types.ModuleType:
    try:
        from tfrecords import beam_pipeline
    except ImportError as error:
        raise tfrecords.InputError(
            f"--runner needs Apache Beam ({error}); its pins contradict requirements.txt, so give "
            "it an environment of its own: python -m venv build/beam && "
            "build/beam/bin/pip install -r requirements-beam.txt"
        ) from error
    return beam_pipeline


if __name__ == "__main__":
    cli.run(main, required=["annotations_file", "image_dir", "output_path", "num_shards"])
