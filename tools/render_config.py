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

Of TF-Vision (tools/zoo.py list --engine=tfvision) it writes a complete params YAML:

    python tools/render_config.py --model=retinanet_mobilenetv2_256 --output=params.yaml \\
        --train_records='data/train*' --val_records='data/val*' \\
        --annotations_file=annotations/instances_val2017.json --global_batch_size=32 --epochs=72

there PATH is dotted (task.model.num_classes), VALUE is YAML, and --label_map is the CSV of id,name
for records without class labels. --epochs count --num_images each (train2017's by default).
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from absl import flags

from replicate import config, run
from replicate.config import build_rules, parse_override, view
from replicate.config import operations as config_operations
from replicate.errors import UserError
from replicate.execution import MOST_STEPS
from replicate.tfvision import configs
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
    "fine_tune_checkpoint",
    None,
    "checkpoint that training starts from: its prefix, or a run, a released archive or a zoo "
    "model's name, of which it is the last; '' for random weights",
)
_STEPS = flags.DEFINE_integer(
    "num_steps",
    None,
    "steps to train; warm-up, decay and boundaries are shortened or stretched with them",
    lower_bound=1,
    upper_bound=MOST_STEPS,
)
_BATCH = flags.DEFINE_integer(
    "global_batch_size",
    None,
    "images a step over all devices",
    lower_bound=1,
    upper_bound=MOST_STEPS,
)
_GPUS = flags.DEFINE_integer("num_gpus", None, "devices", lower_bound=1)
_SCALE = flags.DEFINE_enum(
    "scale", "linear", ["linear", "none"], "what changes with the batch size"
)
_SCHEDULE = flags.DEFINE_enum("schedule", None, config.SCHEDULES, "another schedule")
_DEVIATIONS = flags.DEFINE_string("deviations", None, "write the differences here, as JSON")


_ANNOTATIONS = flags.DEFINE_string(
    "annotations_file", None, "TF-Vision: COCO JSON that the evaluation scores against"
)
_EPOCHS = flags.DEFINE_float("epochs", None, "TF-Vision: the training's length", lower_bound=0)
_NUM_IMAGES = flags.DEFINE_integer("num_images", 118287, "TF-Vision: images of an epoch")


def main(_: list[str]) -> None:
    of_vision = configs.is_one(_MODEL.value)
    if of_vision != (os.path.splitext(_OUTPUT.value)[1] in configs.ENDINGS):
        wanted = "a TF-Vision config is known by" if of_vision else "only a TF-Vision config has"
        raise UserError(f"--output: {_OUTPUT.value}: {wanted} its ending, .yaml or .yml")
    if of_vision:
        _render_vision()
        return
    for flag, given in (("annotations_file", _ANNOTATIONS.value), ("epochs", _EPOCHS.value)):
        if given is not None:
            raise UserError(f"--{flag} is of TF-Vision's configs alone")
    start = _start()
    message = config.render(
        _MODEL.value,
        overrides=[parse_override(text) for text in _SET.value],
        train_records=_TRAIN_RECORDS.value,
        val_records=_VAL_RECORDS.value,
        label_map=_LABEL_MAP.value,
        num_classes=_NUM_CLASSES.value,
        fine_tune_checkpoint=start,
        num_steps=_STEPS.value,
        global_batch_size=_BATCH.value,
        num_gpus=_GPUS.value,
        scale=_SCALE.value,
        schedule=_SCHEDULE.value,
    )
    recipe = config.recipe_of(_MODEL.value).model or _MODEL.value
    deviations = config.deviations(message, recipe)
    text = config.text_of(message, recipe)
    run.write_text(_OUTPUT.value, text)
    from replicate import opening

    opening.tell_of_secrets(_OUTPUT.value, text)
    if _DEVIATIONS.value:
        run.write_json(_DEVIATIONS.value, config.operations_to_json(deviations))
    for problem in build_rules.unread(message):
        print(f"warning: {problem.path}: {problem.message}", file=sys.stderr)
    print(view.text(deviations, colour=view.colour_wanted(sys.stdout)))


def _start() -> str | None:
    from replicate import weights

    return _CHECKPOINT.value and weights.start_of(_CHECKPOINT.value)


def _render_vision() -> None:
    from replicate.tfvision import diff, render

    for flag, given in (
        *(("num_classes", _NUM_CLASSES.value), ("num_gpus", _GPUS.value)),
        ("schedule", _SCHEDULE.value),
    ):
        if given is not None:
            raise UserError(f"--{flag} has no counterpart in TF-Vision's configs; use --set")
    if _STEPS.value is not None and _EPOCHS.value is not None:
        raise UserError("--num_steps and --epochs both say how long it trains; give one")
    recipe = configs.recipe_of(_MODEL.value).model or _MODEL.value
    start = _start()
    config = render.render(
        _MODEL.value,
        render.RenderRequest(
            overrides=[parse_override(text) for text in _SET.value],
            train_records=_TRAIN_RECORDS.value,
            val_records=_VAL_RECORDS.value,
            annotations_file=_ANNOTATIONS.value,
            label_map=_LABEL_MAP.value,
            init_checkpoint=start,
            num_steps=_STEPS.value,
            epochs=_EPOCHS.value,
            num_images=_NUM_IMAGES.value,
            global_batch_size=_BATCH.value,
            scale=_SCALE.value,
        ),
    )
    deviations = diff.deviations(config, recipe)
    run.write_text(_OUTPUT.value, render.text_of(config, recipe))
    if _DEVIATIONS.value:
        run.write_json(_DEVIATIONS.value, config_operations.to_json(deviations))
    print(view.text(deviations, colour=view.colour_wanted(sys.stdout)))


if __name__ == "__main__":
    cli.run(main, required=["model", "output"], in_place="model")
