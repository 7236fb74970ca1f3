"""Writes the complete pipeline.config of a zoo model, with your paths and changes.

    python tools/render_config.py --model=ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 \\
        --output=pipeline.config --label_map=data/label_map.pbtxt \\
        --train_records='data/train2017-?????-of-00256.tfrecord' \\
        --val_records='data/val2017-?????-of-00032.tfrecord' \\
        --num_steps=1000 --set 'eval_input_reader[0].shuffle=false'

PATH is a field's path; VALUE is protobuf text format: 0.04, true, SIGMOID, a string without
quotes, a list [1.0, 2.0], a message { random_horizontal_flip {} }. A list's element is PATH[0],
and the index after the last appends. What the result changes of the published config is printed,
with its class and why it matters; --deviations=FILE keeps it as JSON.

--global_batch_size (or --num_gpus, which keeps the recipe's images a device) scales the learning
rate with the batch, and warm-up and steps against it, so that the images seen stay equal;
--scale=none changes the batch alone. --schedule=piecewise_1x and piecewise_3x drop the rate
tenfold at numbers of images seen (0.96 and 1.28 of 1.44 million; 3.36 and 4 of 4.32 million).
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from absl import flags

from replicate import config, run
from replicate.config import view
from tools import cli

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "a zoo model's name (tools/zoo.py list), MODEL.tar.gz as released, a config, a run directory",
)
_OUTPUT = flags.DEFINE_string("output", None, "where the pipeline.config is written")
_SET = flags.DEFINE_multi_string("set", [], "PATH=VALUE, any field; may be repeated")
_LABEL_MAP = flags.DEFINE_string("label_map", None, "label map, for training and evaluation")
_TRAIN_RECORDS = flags.DEFINE_string("train_records", None, "pattern of the training records")
_VAL_RECORDS = flags.DEFINE_string("val_records", None, "pattern of the evaluation records")
_NUM_CLASSES = flags.DEFINE_integer(
    "num_classes",
    None,
    "number of classes (default: the highest id in an existing --label_map)",
    lower_bound=1,
)
_CHECKPOINT = flags.DEFINE_string(
    "fine_tune_checkpoint", None, "checkpoint that training starts from; '' for random weights"
)
_STEPS = flags.DEFINE_integer(
    "num_steps",
    None,
    "steps to train; warm-up, decay and boundaries are shortened or stretched with them",
    lower_bound=1,
)
_BATCH = flags.DEFINE_integer(
    "global_batch_size", None, "images a step over all devices", lower_bound=1
)
_GPUS = flags.DEFINE_integer("num_gpus", None, "devices", lower_bound=1)
_SCALE = flags.DEFINE_enum(
    "scale", "linear", ["linear", "none"], "what changes with the batch size"
)
_SCHEDULE = flags.DEFINE_enum("schedule", None, config.SCHEDULES, "another schedule")
_DEVIATIONS = flags.DEFINE_string("deviations", None, "write the differences here, as JSON")


def main(_: list[str]) -> None:
    message = config.render(
        _MODEL.value,
        overrides=[config.parse_override(text) for text in _SET.value],
        train_records=_TRAIN_RECORDS.value,
        val_records=_VAL_RECORDS.value,
        label_map=_LABEL_MAP.value,
        num_classes=_NUM_CLASSES.value,
        fine_tune_checkpoint=_CHECKPOINT.value,
        num_steps=_STEPS.value,
        global_batch_size=_BATCH.value,
        num_gpus=_GPUS.value,
        scale=_SCALE.value,
        schedule=_SCHEDULE.value,
    )
    recipe = config.recipe_of(_MODEL.value).model or _MODEL.value
    deviations = config.deviations(message, recipe)
    run.write_text(_OUTPUT.value, config.text_of(message, recipe))
    if _DEVIATIONS.value:
        run.write_json(_DEVIATIONS.value, config.operations_to_json(deviations))
    print(view.text(deviations, colour=view.colour_wanted(sys.stdout)))


if __name__ == "__main__":
    cli.run(main, required=["model", "output"])
