"""A model of each family at tiny inputs, and records for it, on which losses are compared."""

import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.execution import Execution
    from replicate.train.trainer import Trainer

BATCH = 2
SIDE_PX = 128
#: Two extractors refuse an input below 129 px (EfficientDet takes multiples of 128); at 128 px the
#: Hourglass's innermost map is one pixel, whose batch statistics let its gradient overflow.
_SIDES_PX = {
    "EfficientDet-D0": 256,
    "SSD ResNet-50 v1 FPN": 256,
    "CenterNet Hourglass-104 (256 px)": 256,
}
#: Boxes of no symmetry, so that no two anchors overlap one of them equally.
BOXES_XYWH_PX = ((11.3, 7.1, 53.7, 61.9), (67.9, 43.3, 41.1, 71.7), (23.9, 71.3, 37.3, 29.1))
_CATEGORIES = ("person", "bicycle", "car")
_CLIP_NORM = 1.0
_OPTIMIZER = (
    "momentum_optimizer { learning_rate { constant_learning_rate { learning_rate: 1e-4 } } "
    "momentum_optimizer_value: 0.9 } use_moving_average: false"
)


def write_records(
    folder: str | os.PathLike,
    images: int = 4,
    jitter_px: float = 3.0,
    boxes_xywh_px: Sequence[Sequence[float]] = BOXES_XYWH_PX,
) -> pathlib.Path:
    """Records of noise with the same boxes, masks and keypoints in each image, moved a little.

    Args:
      folder: made anew.
      images: how many.
      jitter_px: by how much a box's place and size differ from image to image, at most; with 0 each
        part of a batch has the normalizer of the whole.
      boxes_xywh_px: one of each category.

    Returns:
      path of the label map; records are FOLDER/train-*.tfrecord.
    """
    import PIL.Image

    import tfrecords

    rng = np.random.default_rng(0)
    folder = pathlib.Path(folder)
    (folder / "images").mkdir(parents=True)
    content: dict[str, list[dict]] = {"images": [], "annotations": [], "categories": []}
    for number in range(1, images + 1):
        name = f"{number}.png"
        pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "images" / name)
        content["images"].append(
            {"id": number, "file_name": name, "height": SIDE_PX, "width": SIDE_PX}
        )
        for at, box in enumerate(boxes_xywh_px):
            x, y, width, height = (
                float(value) for value in np.add(box, rng.uniform(-jitter_px, jitter_px, 4))
            )
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
    content["categories"] = [{"id": at, "name": name} for at, name in enumerate(_CATEGORIES, 1)]
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


def config_of(label: str, folder: str | os.PathLike, steps: int) -> "Message":
    """A model's config at tiny inputs, over the records that `write_records` made in `folder`.

    Batch norm is fixed where the config can, gradients are clipped and the rate is low: with drawn
    weights, larger updates multiply what rounding does at each step.

    Args:
      label: of `replicate.parity.models.MODELS`.
      steps: train_config.num_steps.

    Returns:
      TrainEvalPipelineConfig.
    """
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
            setattr(kind, field, _SIDES_PX.get(label, SIDE_PX))
    if hasattr(model, "freeze_batchnorm"):
        model.freeze_batchnorm = True
    if message.model.HasField("faster_rcnn"):
        model.first_stage_max_proposals = 32
        model.second_stage_batch_size = 16
    train = message.train_config
    train.batch_size, train.num_steps = BATCH, steps
    train.fine_tune_checkpoint, train.use_bfloat16 = "", False
    del train.data_augmentation_options[:]
    train.gradient_clipping_by_norm = _CLIP_NORM
    train.ClearField("optimizer")
    text_format.Parse(_OPTIMIZER, train.optimizer)
    reader = message.train_input_reader
    reader.tf_record_input_reader.input_path[:] = [f"{folder}/train-*.tfrecord"]
    reader.label_map_path = str(folder / "label_map.pbtxt")
    reader.shuffle = False
    return message


def trainer_of(config: "Message", execution: "Execution") -> "Trainer":
    """A Trainer with its variables built and the fixed weights of `replicate.parity.fixed`."""
    trainer = made(config, execution)
    trainer.build_variables()
    return filled(trainer)


def made(config: "Message", execution: "Execution") -> "Trainer":
    """A Trainer over this machine's devices, nothing traced."""
    from replicate.train import distribution
    from replicate.train.trainer import Trainer

    return Trainer(config, execution, distribution.strategy(None))


def filled(trainer: "Trainer") -> "Trainer":
    """`trainer` at its beginning: fixed weights, no momentum, step 0, the first batch."""
    from replicate.parity import fixed

    fixed.fill_weights(trainer.model)
    for variable in trainer.optimizer.variables():
        variable.assign(variable.numpy() * 0)
    trainer.global_step.assign(0)
    trainer._stream = None
    return trainer


def losses_of(trainer: "Trainer", steps: int) -> tuple[list[dict[str, float]], float]:
    """(the losses of each step, the seconds that the first one took)."""
    losses, first_s = [], 0.0
    for step in range(steps):
        begun = time.monotonic()
        losses.append(trainer.train(1)["losses"])
        first_s = first_s if step else time.monotonic() - begun
    return losses, first_s


def difference(losses: list[dict[str, float]], reference: list[dict[str, float]]) -> float:
    """The largest difference of a loss relative to the reference's, over all steps and terms.

    A term below a thousandth of the total counts relative to that: its own digits are rounding.
    """
    total = "Loss/total_loss"
    return max(
        abs(ours[name] - theirs[name]) / max(abs(theirs[name]), 1e-3 * abs(theirs[total]))
        for ours, theirs in zip(losses, reference, strict=True)
        for name in theirs
    )
