"""What the API refuses to build, said before it is asked; and what it builds and nobody wants.

`tests/config/test_mutations.py` holds the errors against the API's own refusals.
"""

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from replicate.config import no_effect, paths
from replicate.config.facts import facts, learning_rate
from replicate.config.problem import ERROR, WARNING, ConfigProblem
from replicate.errors import UserError
from tfrecords import label_map

if TYPE_CHECKING:
    from google.protobuf.message import Message

# A recipe's threshold is about 1e-8; what is cut above this is missed by AP.
_DEPLOYED_SCORE = 0.01
_RATES = {  # the rate of each schedule
    "constant_learning_rate": "learning_rate",
    "cosine_decay_learning_rate": "learning_rate_base",
    "exponential_decay_learning_rate": "initial_learning_rate",
    "manual_step_learning_rate": "initial_learning_rate",
}
_LOWEST_LEVELS = {"fpn": 2, "bifpn": 1}  # of the feature maps that the API's backbones give


def resizer(message: "Message") -> Iterator[ConfigProblem]:
    """Image resizers that are not possible, and one that leaves images of different sizes."""
    path, meta = _meta(message)
    kind = meta.image_resizer.WhichOneof("image_resizer_oneof")
    if kind is None:
        yield ConfigProblem(ERROR, f"{path}.image_resizer", "no resizer: how large are images?")
        return
    here, chosen = f"{path}.image_resizer.{kind}", getattr(meta.image_resizer, kind)
    if kind == "keep_aspect_ratio_resizer":
        if chosen.min_dimension > chosen.max_dimension:
            yield ConfigProblem(
                ERROR,
                f"{here}.min_dimension",
                f"min_dimension {chosen.min_dimension} is above max_dimension "
                f"{chosen.max_dimension}; swap them, or raise max_dimension",
            )
        batch = message.train_config.batch_size
        if not chosen.pad_to_max_dimension and batch > 1:
            yield ConfigProblem(
                WARNING,
                f"{here}.pad_to_max_dimension",
                f"false, at batch_size {batch}: images of different shapes cannot be put into one "
                "batch; write pad_to_max_dimension: true",
            )
    for name in ("height", "width", "min_dimension", "max_dimension"):
        if getattr(chosen, name, 1) < 1:
            yield ConfigProblem(WARNING, f"{here}.{name}", f"{getattr(chosen, name)}: of no image")
    if kind == "pad_to_multiple_resizer" and chosen.multiple < 1:
        yield ConfigProblem(ERROR, f"{here}.multiple", f"{chosen.multiple}: it must be above 0")


def suppression(message: "Message") -> Iterator[ConfigProblem]:
    """Non-maximum suppression: thresholds, counts, kinds that exclude each other."""
    path, meta = _meta(message)
    kind = message.model.WhichOneof("model")
    if kind == "faster_rcnn":
        yield from _fraction(path, meta, "first_stage_nms_iou_threshold")
        post, where = meta.second_stage_post_processing, f"{path}.second_stage_post_processing"
    elif kind == "ssd":
        post, where = meta.post_processing, f"{path}.post_processing"
    else:
        return
    nms, where = post.batch_non_max_suppression, f"{where}.batch_non_max_suppression"
    yield from _fraction(where, nms, "iou_threshold")
    if nms.max_detections_per_class > nms.max_total_detections:
        yield ConfigProblem(
            ERROR,
            f"{where}.max_detections_per_class",
            f"{nms.max_detections_per_class} of a class are more than max_total_detections, "
            f"{nms.max_total_detections}; raise that",
        )
    for name in ("max_detections_per_class", "max_total_detections"):
        if getattr(nms, name) < 1:
            yield ConfigProblem(
                WARNING, f"{where}.{name}", f"{getattr(nms, name)}: nothing is detected"
            )
    if nms.soft_nms_sigma < 0:
        yield ConfigProblem(ERROR, f"{where}.soft_nms_sigma", "below 0; 0 is none")
    if nms.use_combined_nms and nms.use_class_agnostic_nms:
        yield ConfigProblem(
            ERROR,
            f"{where}.use_combined_nms",
            "use_combined_nms and use_class_agnostic_nms exclude each other; keep one of them",
        )
    if nms.score_threshold > _DEPLOYED_SCORE:
        yield ConfigProblem(
            WARNING,
            f"{where}.score_threshold",
            f"{nms.score_threshold:.3g} cuts off what AP counts; recipes have about 1e-8",
        )


def proposals(message: "Message") -> Iterator[ConfigProblem]:
    """The two stages of a Faster R-CNN against each other."""
    if message.model.WhichOneof("model") != "faster_rcnn":
        return
    path, meta = _meta(message)
    if not 1 <= meta.number_of_stages <= 3:
        yield ConfigProblem(
            ERROR, f"{path}.number_of_stages", f"{meta.number_of_stages}: it is 1, 2 or 3"
        )
    if meta.second_stage_batch_size > meta.first_stage_max_proposals:
        yield ConfigProblem(
            ERROR,
            f"{path}.second_stage_batch_size",
            f"second_stage_batch_size {meta.second_stage_batch_size} is above "
            f"first_stage_max_proposals {meta.first_stage_max_proposals}, of which it is drawn; "
            "lower the one or raise the other",
        )
    for name in ("maxpool_kernel_size", "maxpool_stride"):
        if getattr(meta, name) < 0:
            yield ConfigProblem(ERROR, f"{path}.{name}", f"{getattr(meta, name)}: below 0")


def matcher(message: "Message") -> Iterator[ConfigProblem]:
    """SSD's matching thresholds."""
    if message.model.WhichOneof("model") != "ssd":
        return
    path, meta = _meta(message)
    where = f"{path}.matcher"
    kind = meta.matcher.WhichOneof("matcher_oneof")
    if kind != "argmax_matcher":
        yield ConfigProblem(
            ERROR,
            where,
            f"{kind or 'none'}: TensorFlow 2 has argmax_matcher alone",
        )
        return
    argmax, where = meta.matcher.argmax_matcher, f"{where}.argmax_matcher"
    if argmax.ignore_thresholds:
        return
    matched, unmatched = argmax.matched_threshold, argmax.unmatched_threshold
    if unmatched > matched:
        yield ConfigProblem(
            ERROR,
            f"{where}.unmatched_threshold",
            f"unmatched_threshold {unmatched:.3g} is above matched_threshold {matched:.3g}; an "
            "anchor would be both",
        )
    elif unmatched == matched and not argmax.negatives_lower_than_unmatched:
        yield ConfigProblem(
            ERROR,
            f"{where}.negatives_lower_than_unmatched",
            "false takes negatives from between the two thresholds, which are equal; write true, "
            "or an unmatched_threshold below matched_threshold",
        )


def anchors(message: "Message") -> Iterator[ConfigProblem]:
    """Levels, and what is divided by."""
    if message.model.WhichOneof("model") != "ssd":
        return
    path, meta = _meta(message)
    kind = meta.anchor_generator.WhichOneof("anchor_generator_oneof")
    where = f"{path}.anchor_generator"
    if kind is None:
        yield ConfigProblem(ERROR, where, "no anchor generator")
        return
    generator, where = getattr(meta.anchor_generator, kind), f"{where}.{kind}"
    if kind == "multiscale_anchor_generator":
        yield from _levels(where, generator)
        if generator.scales_per_octave < 1:
            yield ConfigProblem(
                ERROR, f"{where}.scales_per_octave", f"{generator.scales_per_octave}: at least 1"
            )
    if kind == "ssd_anchor_generator" and generator.num_layers < 1:
        yield ConfigProblem(ERROR, f"{where}.num_layers", f"{generator.num_layers}: at least 1")
    for pyramid, lowest in _LOWEST_LEVELS.items():
        if meta.feature_extractor.HasField(pyramid):
            held, where = getattr(meta.feature_extractor, pyramid), f"{path}.feature_extractor"
            yield from _levels(f"{where}.{pyramid}", held)
            if held.min_level < lowest:
                yield ConfigProblem(
                    ERROR,
                    f"{where}.{pyramid}.min_level",
                    f"min_level {held.min_level}: backbones have no feature map below level "
                    f"{lowest}",
                )


def box_coder(message: "Message") -> Iterator[ConfigProblem]:
    """Scales that the API asserts to be above 0."""
    if message.model.WhichOneof("model") != "ssd":
        return
    path, meta = _meta(message)
    kind = meta.box_coder.WhichOneof("box_coder_oneof")
    if kind not in ("faster_rcnn_box_coder", "keypoint_box_coder"):
        return
    coder = getattr(meta.box_coder, kind)
    for name in ("y_scale", "x_scale", "height_scale", "width_scale"):
        if getattr(coder, name) <= 0:
            yield ConfigProblem(
                ERROR, f"{path}.box_coder.{kind}.{name}", f"{getattr(coder, name)}: above 0"
            )


def box_code_size(message: "Message") -> Iterator[ConfigProblem]:
    """A predictor gives as many numbers a box as its coder reads: the API builds any number above
    0, and fails at the first step."""
    kind, (path, meta) = message.model.WhichOneof("model"), _meta(message)
    if kind == "ssd":
        coder = meta.box_coder.WhichOneof("box_coder_oneof")
        points = 2 * meta.box_coder.keypoint_box_coder.num_keypoints  # 0 of the other coders
        path, size = f"{path}.box_predictor", 3 if coder == "square_box_coder" else 4 + points
        held = meta.box_predictor
    elif kind == "faster_rcnn":
        path, size = f"{path}.second_stage_box_predictor", 4
        held = meta.second_stage_box_predictor
    else:
        return
    chosen = held.WhichOneof("box_predictor_oneof")
    given = getattr(getattr(held, chosen), "box_code_size", size) if chosen else size
    if given != size:
        yield ConfigProblem(
            ERROR,
            f"{path}.{chosen}.box_code_size",
            f"{given}: the box coder has {size} numbers a box; write {size}",
        )


def box_predictor(message: "Message") -> Iterator[ConfigProblem]:
    """Kernels and depths of SSD's convolutional box predictors."""
    if message.model.WhichOneof("model") != "ssd":
        return
    path, meta = _meta(message)
    kind = meta.box_predictor.WhichOneof("box_predictor_oneof")
    if kind is None:
        yield ConfigProblem(ERROR, f"{path}.box_predictor", "no box predictor")
        return
    predictor, where = getattr(meta.box_predictor, kind), f"{path}.box_predictor.{kind}"
    if kind == "convolutional_box_predictor" and predictor.min_depth > predictor.max_depth:
        yield ConfigProblem(
            ERROR,
            f"{where}.min_depth",
            f"min_depth {predictor.min_depth} is above max_depth {predictor.max_depth}; swap them",
        )
    if kind not in ("convolutional_box_predictor", "weight_shared_convolutional_box_predictor"):
        return
    if predictor.kernel_size < 1:
        yield ConfigProblem(ERROR, f"{where}.kernel_size", f"{predictor.kernel_size}: at least 1")
    elif predictor.use_depthwise and predictor.kernel_size == 1:
        yield ConfigProblem(
            ERROR,
            f"{where}.kernel_size",
            "1 with use_depthwise: a depthwise kernel of one pixel; write 3, or use_depthwise: "
            "false",
        )


def optimizer(message: "Message") -> Iterator[ConfigProblem]:
    """Momentum, and rates and batches of nothing."""
    chosen = message.train_config.optimizer
    kind = chosen.WhichOneof("optimizer")
    path = f"train_config.optimizer.{kind}"
    if kind == "momentum_optimizer":
        momentum = chosen.momentum_optimizer.momentum_optimizer_value
        if not 0 <= momentum <= 1:
            yield ConfigProblem(
                ERROR, f"{path}.momentum_optimizer_value", f"{momentum:.3g}: between 0 and 1"
            )
    if message.train_config.batch_size < 1:
        yield ConfigProblem(
            WARNING,
            "train_config.batch_size",
            f"{message.train_config.batch_size}: nothing is trained on",
        )
    try:
        rate = learning_rate(message)
    except UserError:
        return
    if rate is None:
        return
    kind = rate.WhichOneof("learning_rate")
    field = _RATES.get(kind)
    held = getattr(rate, kind) if field else None
    steps = list(getattr(held, "schedule", ()))
    if field and not getattr(held, field) and not any(step.learning_rate for step in steps):
        yield ConfigProblem(
            WARNING, f"{path}.learning_rate.{kind}.{field}", "0: no weight ever changes"
        )


def readers(message: "Message") -> Iterator[ConfigProblem]:
    """What is read of masks, and evaluation that leaves images out or takes them twice."""
    if facts(message).predicts_masks and not message.train_input_reader.load_instance_masks:
        yield ConfigProblem(
            WARNING,
            "train_input_reader.load_instance_masks",
            "false, but the model has a mask head: its loss has nothing to learn from; write true",
        )
    for index, reader in enumerate(message.eval_input_reader):
        path = f"eval_input_reader[{index}]"
        if reader.sample_1_of_n_examples > 1:
            yield ConfigProblem(
                WARNING,
                f"{path}.sample_1_of_n_examples",
                f"{reader.sample_1_of_n_examples}: evaluates a part of the images alone",
            )
        if reader.num_epochs > 1:
            yield ConfigProblem(
                WARNING,
                f"{path}.num_epochs",
                f"{reader.num_epochs}: evaluates each image so often; write 1",
            )


def keypoint_class(message: "Message") -> Iterator[ConfigProblem]:
    """CenterNet's keypoints belong to a class of the keypoint label map."""
    meta = message.model.center_net
    path = meta.keypoint_label_map_path
    if not meta.keypoint_estimation_task or not os.path.isfile(path):
        return
    try:
        names = label_map.read(path).values()
    except UserError as error:
        yield ConfigProblem(ERROR, "model.center_net.keypoint_label_map_path", str(error))
        return
    for index, task in enumerate(meta.keypoint_estimation_task):
        if task.keypoint_class_name not in names:
            yield ConfigProblem(
                ERROR,
                f"model.center_net.keypoint_estimation_task[{index}].keypoint_class_name",
                f"{task.keypoint_class_name!r} is no label of {path}: {', '.join(names)}",
            )


def unread(message: "Message") -> Iterator[ConfigProblem]:
    """Fields that somebody set, and that no TensorFlow 2 code of the API reads.

    Those that published configs set are passed over: there is nothing to do about them.
    """
    for path in no_effect.set_in(message):
        name = path.rpartition(".")[2]
        yield ConfigProblem(
            WARNING,
            path,
            f"no effect: no TensorFlow 2 code of the API reads {name}{_INSTEAD.get(name, '')}",
        )


_FREEZE = "; what freezes layers is --freeze=backbone or --freeze=PATTERN of the training tools"
_INSTEAD = {
    "freeze_variables": _FREEZE,
    "update_trainable_variables": _FREEZE,
    "graph_rewriter": "; quantize after training, in the export to TensorFlow Lite",
}


def initializers(message: "Message") -> Iterator[ConfigProblem]:
    """Scales of initial weights that Keras refuses."""
    for path, value in _floats(message.model, "model."):
        if path.endswith("variance_scaling_initializer.factor") and value <= 0:
            yield ConfigProblem(ERROR, path, f"{value:.3g}: it scales initial weights; above 0")


def finite(message: "Message") -> Iterator[ConfigProblem]:
    """Values that are no finite number, which the API takes without a word."""
    for path, value in _floats(message, ""):
        if not math.isfinite(value):
            yield ConfigProblem(WARNING, path, f"{value}: no number to train or evaluate with")


def _floats(message: "Message", prefix: str) -> Iterator[tuple[str, float]]:
    """(path, value) of the float fields that are set, in lists too."""
    for field, value in message.ListFields():
        values = list(value) if field.is_repeated and not paths.is_map(field) else [value]
        for index, element in enumerate(values):
            path = prefix + field.name + (f"[{index}]" if field.is_repeated else "")
            if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
                yield path, element
            elif field.cpp_type == field.CPPTYPE_MESSAGE and not paths.is_map(field):
                yield from _floats(element, f"{path}.")


RULES = (
    *(resizer, suppression, proposals, matcher, anchors, box_coder, box_code_size),
    *(box_predictor, optimizer),
    readers,
    finite,
    initializers,
    keypoint_class,
    unread,
)


def _meta(message: "Message") -> tuple[str, "Message"]:
    name = message.model.WhichOneof("model")
    return f"model.{name}", getattr(message.model, name)


def _fraction(path: str, holder: "Message", name: str) -> Iterator[ConfigProblem]:
    value = getattr(holder, name)
    if not 0 <= value <= 1:
        yield ConfigProblem(ERROR, f"{path}.{name}", f"{value:.3g}: an IoU is between 0 and 1")


def _levels(path: str, holder: "Message") -> Iterator[ConfigProblem]:
    if holder.min_level > holder.max_level:
        yield ConfigProblem(
            ERROR,
            f"{path}.min_level",
            f"min_level {holder.min_level} is above max_level {holder.max_level}; swap them",
        )
