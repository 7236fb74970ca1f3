"""What one asks of a config most often, in one small record."""

import dataclasses
from typing import TYPE_CHECKING

from replicate.engine import Description
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message


@dataclasses.dataclass(frozen=True)
class ConfigFacts:
    """The facts of a `pipeline.config`.

    Attributes:
      architecture: "ssd", "faster_rcnn" or "center_net".
      feature_extractor: its type, e.g. "ssd_mobilenet_v2_fpn_keras".
      num_classes: number of classes, background not counted.
      resizer: "fixed" (height and width) or "keep_aspect" (bounds of the shorter and longer side),
        or the API's name of another one.
      input_height, input_width: pixels; of "keep_aspect" the shorter and the longer bound.
      pads: whether a "keep_aspect" resizer pads to a square of the longer bound.
      batch_size: images a training step, over all replicas (the field is global).
      num_steps: training steps.
      fine_tune_checkpoint, fine_tune_checkpoint_type: where training starts; "" for random weights.
      metrics_set: evaluators named by the config.
      label_map: path of the training label map.
      train_records, val_records: record patterns of training and of the first evaluation reader.
      predicts_masks, predicts_keypoints: what is detected besides boxes.
    """

    architecture: str
    feature_extractor: str
    num_classes: int
    resizer: str
    input_height: int
    input_width: int
    pads: bool
    batch_size: int
    num_steps: int
    fine_tune_checkpoint: str
    fine_tune_checkpoint_type: str
    metrics_set: tuple[str, ...]
    label_map: str
    train_records: tuple[str, ...]
    val_records: tuple[str, ...]
    predicts_masks: bool
    predicts_keypoints: bool

    @property
    def images_seen(self) -> int:
        """Images a full training run reads: `batch_size * num_steps`."""
        return self.batch_size * self.num_steps


def facts(message: "Message") -> ConfigFacts:
    """The `ConfigFacts` of a config.

    Args:
      message: a `TrainEvalPipelineConfig`.

    Raises:
      UserError: the config names no model.
    """
    detector = architecture_message(message)
    resizer, height, width, pads = _resizer(detector.image_resizer)
    train, readers = message.train_config, message.eval_input_reader
    return ConfigFacts(
        architecture=message.model.WhichOneof("model"),
        feature_extractor=detector.feature_extractor.type,
        num_classes=detector.num_classes,
        resizer=resizer,
        input_height=height,
        input_width=width,
        pads=pads,
        batch_size=train.batch_size,
        num_steps=train.num_steps,
        fine_tune_checkpoint=train.fine_tune_checkpoint,
        fine_tune_checkpoint_type=train.fine_tune_checkpoint_type,
        metrics_set=tuple(message.eval_config.metrics_set),
        label_map=message.train_input_reader.label_map_path,
        train_records=tuple(message.train_input_reader.tf_record_input_reader.input_path),
        val_records=tuple(readers[0].tf_record_input_reader.input_path) if readers else (),
        predicts_masks=_predicts_masks(message.model),
        predicts_keypoints=bool(message.model.center_net.keypoint_estimation_task),
    )


def described(message: "Message") -> Description:
    """What the rest of the kit has to know of a config, whichever engine's (`replicate.engine`)."""
    of_config = facts(message)
    readers = message.eval_input_reader
    return Description(
        num_classes=of_config.num_classes,
        label_map=readers[0].label_map_path if readers else "",
        predicts_masks=of_config.predicts_masks,
        predicts_keypoints=of_config.predicts_keypoints,
        batch_size=of_config.batch_size,
        num_steps=of_config.num_steps,
        low_precision=message.train_config.use_bfloat16,
        train_records=of_config.train_records,
        val_records=of_config.val_records,
        train_label_map=of_config.label_map,
        start=of_config.fine_tune_checkpoint,
        start_kind=of_config.fine_tune_checkpoint_type,
        input_hw=(of_config.input_height, of_config.input_width),
        shuffle_buffer=_shuffle_buffer(message.train_input_reader),
        score_cut=_score_cut(message),
    )


def _score_cut(message: "Message") -> float | None:
    model = message.model
    if model.WhichOneof("model") == "ssd":
        post = model.ssd.post_processing
    elif model.WhichOneof("model") == "faster_rcnn":
        post = model.faster_rcnn.second_stage_post_processing
    else:  # CenterNet: no suppression
        return None
    return post.batch_non_max_suppression.score_threshold


def _shuffle_buffer(reader: "Message") -> int:
    return reader.shuffle_buffer_size if reader.shuffle else 0


def architecture_message(message: "Message") -> "Message":
    """The message below `model`: `model.ssd`, `model.faster_rcnn` or `model.center_net`.

    Raises:
      UserError: the config names no model.
    """
    name = message.model.WhichOneof("model")
    if name not in ("ssd", "faster_rcnn", "center_net"):
        raise UserError("the config names no model: it needs model { ssd { … } } or another")
    return getattr(message.model, name)


def learning_rate(message: "Message") -> "Message | None":
    """The optimizer's `LearningRate` message, or None where no optimizer is set."""
    optimizer = message.train_config.optimizer
    name = optimizer.WhichOneof("optimizer")
    return getattr(optimizer, name).learning_rate if name else None


def _resizer(image_resizer: "Message") -> tuple[str, int, int, bool]:
    kind = image_resizer.WhichOneof("image_resizer_oneof") or ""
    if kind == "fixed_shape_resizer":
        fixed = image_resizer.fixed_shape_resizer
        return "fixed", fixed.height, fixed.width, False
    if kind == "keep_aspect_ratio_resizer":
        keep = image_resizer.keep_aspect_ratio_resizer
        return "keep_aspect", keep.min_dimension, keep.max_dimension, keep.pad_to_max_dimension
    return kind, 0, 0, False


def _predicts_masks(model: "Message") -> bool:
    stages = model.faster_rcnn
    head = stages.second_stage_box_predictor.mask_rcnn_box_predictor
    in_third_stage = stages.number_of_stages == 3 and head.predict_instance_masks
    return in_third_stage or model.center_net.HasField("mask_estimation_task")
