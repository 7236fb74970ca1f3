"""Twenty training steps of a model with XLA and without, and one in bfloat16, at tiny inputs.

    python -m tests.train.compiled "SSD MobileNet v2 FPNLite" OUTPUT.json
    python -m tests.train.compiled --all build/compiled    # docs/engine.md's table, kept by file

Models are those of `replicate.parity.models`, with drawn weights and fixed batch norm, on records
with masks and keypoints; `--all` prints the table's rows.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from replicate import odapi

STEPS = 20
BATCH = 2
SIDE = 128
#: Classes and boxes of the records, by image; corners of no symmetry, so that no IoU is tied.
BOXES_XYWH_PX = ((11.3, 7.1, 53.7, 61.9), (67.9, 43.3, 41.1, 71.7), (23.9, 71.3, 37.3, 29.1))
_ROW = "| {label} | {xla} | {step_1} | {difference} | {bfloat16} | {compile} |"


def write_records(folder, images=4, boxes_xywh_px=BOXES_XYWH_PX):
    """Records of drawn noise with the boxes, their masks and keypoints; the label map's path."""
    import PIL.Image

    import tfrecords

    rng = np.random.default_rng(0)
    folder = pathlib.Path(folder)
    (folder / "images").mkdir(parents=True)
    content = {"images": [], "annotations": [], "categories": []}
    for number in range(1, images + 1):
        name = f"{number}.png"
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "images" / name)
        content["images"].append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        for at, box in enumerate(boxes_xywh_px):
            x, y, width, height = (float(value) for value in np.add(box, rng.uniform(-3, 3, 4)))
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            points = [[x + width * (k + 1) / 20, y + height * (k + 1) / 19, 2] for k in range(17)]
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": at + 1,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [corners],
                    "num_keypoints": 17,
                    "keypoints": [value for point in points for value in point],
                }
            )
    names = ("person", "bicycle", "car")
    content["categories"] = [{"id": at, "name": name} for at, name in enumerate(names, 1)]
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(content), encoding="utf-8")
    tfrecords.convert(
        annotations,
        folder / "images",
        folder / "train",
        1,
        include_masks=True,
        keypoints_file=annotations,
        num_workers=1,
        progress=False,
    )
    tfrecords.write_label_map(str(annotations), str(folder / "label_map.pbtxt"))
    return folder / "label_map.pbtxt"


def config_of(label, folder):
    """The model's config at tiny inputs over the records in `folder`."""
    from google.protobuf import text_format

    from replicate import config
    from replicate.parity import models

    folder = pathlib.Path(folder)
    models.write_config(label, folder, folder / "parity.config")
    message = config.read(folder / "parity.config")
    model = getattr(message.model, message.model.WhichOneof("model"))
    resizer = model.image_resizer
    kind = getattr(resizer, resizer.WhichOneof("image_resizer_oneof"))
    for field in ("height", "width", "min_dimension", "max_dimension"):
        if hasattr(kind, field):
            setattr(kind, field, SIDE)
    if hasattr(model, "freeze_batchnorm"):
        model.freeze_batchnorm = True
    if message.model.HasField("faster_rcnn"):
        model.first_stage_max_proposals = 32
        model.second_stage_batch_size = 16
    train = message.train_config
    train.batch_size, train.num_steps = BATCH, STEPS
    train.fine_tune_checkpoint, train.use_bfloat16 = "", False
    del train.data_augmentation_options[:]
    # Of updates as large as drawn weights would give, rounding is multiplied at each step.
    train.gradient_clipping_by_norm = 1.0
    train.ClearField("optimizer")
    text_format.Parse(
        "momentum_optimizer { learning_rate { constant_learning_rate { learning_rate: 1e-4 } } "
        "momentum_optimizer_value: 0.9 } use_moving_average: false",
        train.optimizer,
    )
    reader = message.train_input_reader
    reader.tf_record_input_reader.input_path[:] = [f"{folder}/train-*.tfrecord"]
    reader.label_map_path = str(folder / "label_map.pbtxt")
    reader.shuffle = False
    return message


def train(config, *, steps=STEPS, jit_compile=False, precision="float32"):
    """(losses of each step, seconds of the first)."""
    from replicate.execution import Execution
    from replicate.parity import fixed
    from replicate.train.trainer import Trainer

    execution = Execution(seed=3, jit_compile=jit_compile, precision=precision)
    trainer = Trainer(config, execution)
    trainer.build_variables()
    fixed.fill_weights(trainer.model)
    losses, seconds = [], 0.0
    for step in range(steps):
        began = time.monotonic()
        losses.append(trainer.train(1)["losses"])
        seconds = seconds if step else time.monotonic() - began
    return losses, seconds


def losses_in(config, precision):
    """The losses of the first batch in that precision, nothing updated."""
    import tensorflow as tf

    from replicate.execution import Execution
    from replicate.parity import fixed
    from replicate.train import steps
    from replicate.train.trainer import Trainer

    trainer = Trainer(config, Execution(seed=3, precision=precision))
    replica = steps.Replica(
        trainer.config,
        trainer.model,
        trainer.optimizer,
        trainer.global_step,
        trainer.strategy,
        trainer._execution,
    )
    features, labels, _ = trainer._input().next()
    function = tf.function(lambda *batch: replica.on_each(replica.losses, *batch))
    function.get_concrete_function(features, labels)
    fixed.fill_weights(trainer.model)
    return {name: float(value) for name, value in function(features, labels).items()}


def _write_imagenet_weights(home):
    """Where Keras finds the weights that one extractor fetches when it is built."""
    import tensorflow as tf

    folder = pathlib.Path(home) / ".keras" / "models"
    folder.mkdir(parents=True)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    model = tf.keras.applications.MobileNetV2(weights=None, include_top=False)
    model.save_weights(folder / name)
    os.environ["HOME"] = str(home)


def measure(label):
    """What the table has of a model: dict."""
    from replicate.odapi import xla

    with tempfile.TemporaryDirectory() as folder:
        if label == "CenterNet MobileNet v2 FPN":
            _write_imagenet_weights(folder)
        write_records(pathlib.Path(folder) / "records")
        config = config_of(label, pathlib.Path(folder) / "records")
        plain, plain_s = train(config)
        bfloat16 = losses_in(config, "bfloat16")
        found = {
            "label": label,
            "losses": plain,
            "bfloat16": bfloat16,
            "plain_first_s": plain_s,
            "obstacle": xla.obstacle(config.model),
        }
        if os.environ.get("TRY_ANYWAY") or not found["obstacle"]:
            compiled, compiled_s = train(config, jit_compile=True)
            found |= {"compiled": compiled, "compile_s": compiled_s}
    return found


def difference(found):
    """The largest relative difference of a loss with XLA, over all steps and terms."""
    return max(
        abs(ours[name] - theirs[name]) / max(abs(theirs[name]), 1e-3)
        for ours, theirs in zip(found["compiled"], found["losses"], strict=True)
        for name in theirs
    )


def row(found):
    """A model's line of docs/engine.md."""
    total = "Loss/total_loss"
    plain = found["losses"][0][total]
    compiled = found.get("compiled")
    return _ROW.format(
        label=found["label"],
        xla="yes" if compiled else "refused",
        step_1=f"{compiled[0][total]:.6f}, {plain:.6f}" if compiled else f"–, {plain:.6f}",
        difference=f"{difference(found):.0e}" if compiled else "–",
        bfloat16=f"{found['bfloat16'][total]:.4f}, {plain:.4f}",
        compile=f"{found['compile_s']:.0f} s" if compiled else "–",
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("label")
    parser.add_argument("output", nargs="?")
    parser.add_argument("--all", metavar="FOLDER", dest="folder")
    if sys.argv[1:2] == ["--all"]:
        return _all(pathlib.Path(sys.argv[2]))
    arguments = parser.parse_args()
    odapi.load()
    found = measure(arguments.label)
    pathlib.Path(arguments.output).write_text(json.dumps(found), encoding="utf-8")
    print(row(found))


def _all(folder):
    """Every model in a process of its own; what is there is not measured again."""
    from replicate.parity import models

    folder.mkdir(parents=True, exist_ok=True)
    for number, label in enumerate(models.MODELS):
        kept = folder / f"{number:02d}.json"
        if not kept.exists():
            command = [sys.executable, "-m", "tests.train.compiled", label, str(kept)]
            with open(kept.with_suffix(".log"), "wb") as log:
                status = subprocess.run(command, stdout=log, stderr=log).returncode
            if status:
                print(f"| {label} | failed, see {log.name} | | | | |", flush=True)
                continue
        print(row(json.loads(kept.read_text(encoding="utf-8"))), flush=True)


if __name__ == "__main__":
    main()
