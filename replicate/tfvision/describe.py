"""What the rest of the kit has to know of a TF-Vision config. Imports no TensorFlow."""

from replicate.engine import Description
from replicate.errors import UserError
from replicate.tfvision import configs
from replicate.tfvision.configs import VisionConfig

#: Of the package's detection generators, where a config cannot be composed.
_DEFAULT_CUT = 0.05


def described(config: VisionConfig) -> Description:
    """The Description of a config; TF-Vision counts the background as a class."""
    params = config.params
    reader = "task.validation_data.decoder"
    by_name = params.at(f"{reader}.type") == "label_map_decoder"
    return Description(
        num_classes=params.at("task.model.num_classes") - 1,
        label_map=params.at(f"{reader}.label_map_decoder.label_map") if by_name else None,
        predicts_masks=bool(params.at("task.model.include_mask")),
        predicts_keypoints=False,
        batch_size=params.at("task.train_data.global_batch_size"),
        num_steps=params.at("trainer.train_steps"),
    )


def score_cut(model: str) -> float:
    """The score below which a published row's detections are thrown away before suppression."""
    try:
        params = configs.read(model).params
    except UserError:
        return _DEFAULT_CUT
    found = params.at("task.model.detection_generator.pre_nms_score_threshold")
    return _DEFAULT_CUT if found is None else float(found)
