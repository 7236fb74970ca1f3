"""Exports a checkpoint as the zoo publishes models, and in the forms that devices run.

    python tools/export.py --trained_checkpoint_dir=runs/a --output_directory=exported/a
    python tools/export.py --trained_checkpoint_dir=runs/a --output_directory=exported/a \\
        --format=saved_model,tflite,tflite_float16,tflite_int8

The flags are those of the Object Detection API's exporter_main_v2.py, whose code writes the
SavedModel. With --input_type=image_tensor it has the signature of the zoo's archives: a uint8
image [1, height, width, 3] in; detection_boxes, detection_scores, detection_classes (from 1),
num_detections and the model's other outputs, float32, out. Where the config evaluates moving
averages, they are what is exported.

--format names the forms: saved_model (with checkpoint/ and pipeline.config); tflite,
tflite_float16, tflite_int8 (SSD, EfficientDet and CenterNet, as far as the API's TFLite builder
takes them); onnx (needs requirements-onnx.txt). The folder's export.json says what each takes and
gives, how it was made, and its hash; labels.txt has the class names.

--evaluate runs the checkpoint and every form over the same images with the same pixels and prints
what each keeps: AP with its paired interval, latency at batch 1, size (also in ladder.json, which
tools/compare_runs.py draws):

    python tools/export.py --trained_checkpoint_dir=runs/a --output_directory=exported/b \\
        --format=saved_model,tflite,tflite_int8 --evaluate \\
        --annotations_file=annotations/instances_val2017.json --image_dir=val2017

Try it:

    python tools/benchmark.py --model=exported/a \\
        --annotations_file=annotations/instances_val2017.json --image_dir=val2017
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import pathlib

from absl import flags

from replicate import export
from replicate.execution import MOST_SEED
from tools import cli

_CHECKPOINT = flags.DEFINE_string(
    "trained_checkpoint_dir",
    None,
    "a run directory, a released MODEL.tar.gz, the name of a zoo model that tools/download.py "
    "fetched, a folder with checkpoints (the last one is taken), or the prefix of one (…/ckpt-4).",
)
_OUTPUT = flags.DEFINE_string("output_directory", None, "a folder that is not there yet.")
_CONFIG = flags.DEFINE_string(
    "pipeline_config_path",
    None,
    "the checkpoint's config; a run directory or an archive has its own.",
)
_INPUT = flags.DEFINE_enum(
    "input_type", "image_tensor", export.INPUT_TYPES, "what the SavedModel takes."
)
_FORMAT = flags.DEFINE_list("format", ["saved_model"], "the forms: " + ", ".join(export.FORMS))
_MAX_DETECTIONS = flags.DEFINE_integer(
    "max_detections", 100, "detections an image of the TFLite forms.", lower_bound=1
)
_NMS = flags.DEFINE_enum(
    "nms",
    "regular",
    ["regular", "fast"],
    "suppression in an SSD's TFLite forms: category by category, as evaluation does it, or over "
    "the best category of each box alone, which is quicker and costs AP.",
)
_REPRESENTATIVE = flags.DEFINE_integer(
    "representative",
    200,
    "tflite_int8: images of the training records, from which the ranges of activations are taken.",
    lower_bound=1,
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "of the sample of representative images.", lower_bound=0, upper_bound=MOST_SEED
)
_EVALUATE = flags.DEFINE_bool(
    "evaluate", False, "run every form over the images, and print what each keeps."
)
_ANNOTATIONS = flags.DEFINE_string("annotations_file", None, "--evaluate: COCO annotations.")
_IMAGES = flags.DEFINE_string("image_dir", None, "--evaluate: the folder of their images.")
_NUM_IMAGES = flags.DEFINE_integer(
    "num_images", None, "--evaluate: the first N images by id alone.", lower_bound=1
)


def main(_: list[str]) -> int:
    from replicate import engine, weights
    from replicate.errors import UserError

    if _EVALUATE.value:
        from replicate.benchmarking import Dataset

        if not (_ANNOTATIONS.value and _IMAGES.value):
            raise UserError("--evaluate: needs --annotations_file and --image_dir")
        dataset = Dataset(_ANNOTATIONS.value, _IMAGES.value, _NUM_IMAGES.value)
        len(dataset.images)  # a missing one is told before minutes of work
    trained = weights.of(_CHECKPOINT.value)
    config_path = _CONFIG.value or trained.config
    if not config_path:
        raise UserError(
            f"--pipeline_config_path: {_CHECKPOINT.value} is no run directory; name its config"
        )
    read = engine.read(config_path)
    if engine.of(read) == engine.TFVISION:
        if set(_FORMAT.value) != {"saved_model"} or _EVALUATE.value:
            raise UserError(
                "a TF-Vision model is exported as its saved_model alone (--format=saved_model); "
                "tools/benchmark.py scores that"
            )
        prefix = engine.saved_model(read, trained.checkpoint, _OUTPUT.value)
        print(f"{prefix} exported to {_OUTPUT.value}: saved_model")
        return cli.DONE
    prefix = export.export(
        read,
        trained.checkpoint,
        _OUTPUT.value,
        names=tuple(dict.fromkeys(_FORMAT.value)),
        settings=export.ExportSettings(
            input_type=_INPUT.value,
            max_detections=_MAX_DETECTIONS.value,
            nms=_NMS.value,
            representative=_REPRESENTATIVE.value,
            seed=_SEED.value,
        ),
        progress=True,
        beside=pathlib.Path(config_path).parent,
    )
    print(f"{prefix} exported to {_OUTPUT.value}: {', '.join(_FORMAT.value)}")
    if not _EVALUATE.value:
        return cli.DONE
    from replicate.benchmarking import ladder

    rungs = ladder.of(_OUTPUT.value, dataset)
    rungs.write(pathlib.Path(_OUTPUT.value) / ladder.FILE)
    print("\n" + rungs.text())
    return cli.NEGATIVE if rungs.lost else cli.DONE


if __name__ == "__main__":
    cli.run(main, required=["trained_checkpoint_dir", "output_directory"])
