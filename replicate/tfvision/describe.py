"""What the rest of the kit has to know of a TF-Vision config. Imports no TensorFlow."""

from replicate.engine import Description
from replicate.tfvision.configs import VisionConfig


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
