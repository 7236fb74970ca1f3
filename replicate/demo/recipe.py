"""The demo's runs, small enough for two CPU cores: the zoo's SSD MobileNet V2 FPNLite recipe, and
TF-Vision's RetinaNet MobileNetV2 made about as small."""

import os
from typing import Any

from replicate import engine
from replicate.demo import drawing
from replicate.replication import ReplicationRequest

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
STEPS = 600

_SSD = "model.ssd"
_PREDICTOR = f"{_SSD}.box_predictor.weight_shared_convolutional_box_predictor"
_SCHEDULE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"

OVERRIDES = {
    f"{_SSD}.image_resizer.fixed_shape_resizer.height": 192,
    f"{_SSD}.image_resizer.fixed_shape_resizer.width": 192,
    f"{_SSD}.feature_extractor.depth_multiplier": 0.5,
    f"{_SSD}.feature_extractor.fpn.additional_layer_depth": 64,
    f"{_PREDICTOR}.depth": 64,
    f"{_PREDICTOR}.num_layers_before_predictor": 2,
    # Levels and scale for objects of 22 pixels in 256, seen at 192.
    f"{_SSD}.anchor_generator.multiscale_anchor_generator.anchor_scale": 3.0,
    # The recipe's running averages need thousands of steps to settle.
    f"{_SSD}.feature_extractor.conv_hyperparams.batch_norm.decay": 0.97,
    f"{_PREDICTOR}.conv_hyperparams.batch_norm.decay": 0.97,
    "train_config.batch_size": 16,
    f"{_SCHEDULE}.learning_rate_base": 0.1,
    f"{_SCHEDULE}.total_steps": STEPS,
    f"{_SCHEDULE}.warmup_steps": STEPS // 10,
}

VISION_MODEL = "retinanet_mobilenetv2_256"
_TRAIN, _OPTIMIZER = "task.train_data", "trainer.optimizer_config"
_COSINE = f"{_OPTIMIZER}.learning_rate.cosine"
VISION_OVERRIDES = {
    "task.model.input_size": [192, 192, 3],
    "task.model.backbone.mobilenet.filter_size_scale": 0.5,
    "task.model.decoder.fpn.num_filters": 64,
    "task.model.head.num_filters": 64,
    "task.model.head.num_convs": 2,
    # Levels and size for objects of 22 pixels in 256, seen at 192.
    "task.model.max_level": 5,
    "task.model.anchor.anchor_size": 2,
    # The recipe's running averages need thousands of steps to settle.
    "task.model.norm_activation.norm_momentum": 0.97,
    f"{_TRAIN}.global_batch_size": 16,
    f"{_TRAIN}.shuffle_buffer_size": 500,
    f"{_TRAIN}.dtype": "float32",
    "task.validation_data.dtype": "float32",
    f"{_TRAIN}.parser.aug_scale_min": 0.8,
    f"{_TRAIN}.parser.aug_scale_max": 1.2,
    f"{_OPTIMIZER}.learning_rate.type": "cosine",
    f"{_COSINE}.initial_learning_rate": 0.04,
    f"{_COSINE}.decay_steps": STEPS,
    f"{_OPTIMIZER}.warmup.linear.warmup_steps": STEPS // 10,
    f"{_OPTIMIZER}.warmup.linear.warmup_learning_rate": 0.001,
}
_OF_ENGINE: dict[str, tuple[str, dict[str, Any]]] = {
    engine.ODAPI: (MODEL, OVERRIDES),
    engine.TFVISION: (VISION_MODEL, VISION_OVERRIDES),
}


def request(folder: str | os.PathLike[str], name: str = engine.ODAPI) -> ReplicationRequest:
    """Draws the data into `folder` and returns what to ask of `replicate.replication`.

    Args:
      name: the engine.
    """
    splits = drawing.draw(folder)
    model, overrides = _OF_ENGINE[name]
    return ReplicationRequest(
        model=model,
        train_annotations=splits["train"][0],
        train_images=splits["train"][1],
        val_annotations=splits["val"][0],
        val_images=splits["val"][1],
        num_steps=STEPS,
        overrides=tuple((path, str(value)) for path, value in overrides.items()),
        seed=1,
        checkpoint_every_n=STEPS // 2,
    )
