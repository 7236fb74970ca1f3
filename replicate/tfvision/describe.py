"""What the rest of the kit has to know of a TF-Vision config. Imports no TensorFlow."""

from typing import Any

from replicate.engine import Description
from replicate.errors import UserError
from replicate.tfvision import configs
from replicate.tfvision.configs import VisionConfig
from replicate.tfvision.experiments import Params

#: Of the package's detection generators, where a config cannot be composed.
_DEFAULT_CUT = 0.05


def described(config: VisionConfig) -> Description:
    """The Description of a config; TF-Vision counts the background as a class."""
    params = config.params
    return Description(
        num_classes=params.at("task.model.num_classes") - 1,
        label_map=_label_map(params, "task.validation_data.decoder") or None,
        predicts_masks=bool(params.at("task.model.include_mask")),
        predicts_keypoints=False,
        batch_size=params.at("task.train_data.global_batch_size"),
        num_steps=params.at("trainer.train_steps"),
        low_precision=params.at("runtime.mixed_precision_dtype") == "bfloat16",
        train_records=_patterns(params.at("task.train_data.input_path")),
        val_records=_patterns(params.at("task.validation_data.input_path")),
        train_label_map=_label_map(params, "task.train_data.decoder"),
        start=params.at("task.init_checkpoint") or "",
        start_kind=_start_kind(params.at("task.init_checkpoint_modules")),
        input_hw=_input_hw(params.at("task.model.input_size")),
        shuffle_buffer=params.at("task.train_data.shuffle_buffer_size") or 0,
        score_cut=params.at("task.model.detection_generator.pre_nms_score_threshold"),
    )


def _patterns(path: Any) -> tuple[str, ...]:
    """The patterns of an `input_path`: a text, several with commas, or a list."""
    given = path if isinstance(path, list) else [path or ""]
    return tuple(part.strip() for text in given for part in str(text).split(",") if part.strip())


def _start_kind(modules: Any) -> str:
    """`init_checkpoint_modules`: a word, or several in a list."""
    return ", ".join(modules) if isinstance(modules, list) else str(modules or "")


def _input_hw(size: Any) -> tuple[int, int]:
    whole = isinstance(size, list) and len(size) > 1 and all(type(n) is int for n in size[:2])
    return (size[0], size[1]) if whole else (0, 0)


def _label_map(params: Params, reader: str) -> str:
    if params.at(f"{reader}.type") != "label_map_decoder":
        return ""
    return params.at(f"{reader}.label_map_decoder.label_map") or ""


def score_cut(model: str) -> float:
    """The score below which a published row's detections are thrown away before suppression."""
    try:
        params = configs.read(model).params
    except UserError:
        return _DEFAULT_CUT
    threshold = params.at("task.model.detection_generator.pre_nms_score_threshold")
    return _DEFAULT_CUT if threshold is None else float(threshold)
