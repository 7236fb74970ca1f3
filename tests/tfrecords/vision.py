"""TF-Vision's own converter and decoders, unmodified, for the tests to compare with.

    python tests/tfrecords/vision.py convert ANNOTATIONS IMAGES OUTPUT NUM_SHARDS
    python tests/tfrecords/vision.py decode PATTERN [LABEL_MAP.csv]

The first writes records with masks; the second prints a JSON object an image by its source_id:
classes, boxes_yxyx_norm, crowd, areas and the masks' sizes in pixels, as the decoder gives them.
A process of its own, because the converter defines absl flags when it is imported.
"""

import json
import os
import pathlib
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def run(*arguments):
    """What the script prints, given these arguments."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def convert(annotations, images, output, num_shards):
    from absl import flags
    from official.vision.data import create_coco_tf_record as vision

    flags.FLAGS(["vision", "--num_processes=0"])
    vision._create_tf_record_from_coco_annotations(
        annotations,
        [images],
        output,
        int(num_shards),
        object_annotations_file=annotations,
        include_masks=True,
    )


def decode(pattern, label_map=None):
    import tensorflow as tf
    from official.vision.dataloaders import tf_example_decoder, tf_example_label_map_decoder

    masks = {"include_mask": True}
    decoder = (
        tf_example_label_map_decoder.TfExampleDecoderLabelMap(label_map, **masks)
        if label_map
        else tf_example_decoder.TfExampleDecoder(**masks)
    )
    found = {}
    for record in tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(pattern))):
        read = decoder.decode(record)
        found[read["source_id"].numpy().decode()] = {
            "classes": read["groundtruth_classes"].numpy().tolist(),
            "boxes_yxyx_norm": read["groundtruth_boxes"].numpy().tolist(),
            "crowd": read["groundtruth_is_crowd"].numpy().astype(int).tolist(),
            "areas": read["groundtruth_area"].numpy().tolist(),
            "mask_px": read["groundtruth_instance_masks"].numpy().sum((1, 2)).tolist(),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.path.insert(0, str(PROJECT))
    from replicate import odapi

    odapi.require_keras_2()
    {"convert": convert, "decode": decode}[sys.argv[1]](*sys.argv[2:])
