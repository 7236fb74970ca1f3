"""The demo's run: the zoo's SSD MobileNet V2 FPNLite recipe, small enough for two CPU cores."""

import os

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


def request(folder: str | os.PathLike[str]) -> ReplicationRequest:
    """Draws the data into `folder` and returns what to ask of `replicate.replication`."""
    splits = drawing.draw(folder)
    return ReplicationRequest(
        model=MODEL,
        train_annotations=splits["train"][0],
        train_images=splits["train"][1],
        val_annotations=splits["val"][0],
        val_images=splits["val"][1],
        num_steps=STEPS,
        overrides=tuple((path, str(value)) for path, value in OVERRIDES.items()),
        seed=1,
        checkpoint_every_n=STEPS // 2,
    )
