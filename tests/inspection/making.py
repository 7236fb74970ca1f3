"""Small models of the three families, and the batches that a trainer of them is fed."""

from replicate import config as configs

_FIXED = "image_resizer.fixed_shape_resizer"
_KEEP = "image_resizer.keep_aspect_ratio_resizer"
_SSD_ANCHORS = "model.ssd.anchor_generator.multiscale_anchor_generator"
_RPN_ANCHORS = "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator"
MODELS = {
    "ssd": (
        "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
        {
            f"model.ssd.{_FIXED}.height": 128,
            f"model.ssd.{_FIXED}.width": 128,
            "model.ssd.feature_extractor.depth_multiplier": 0.35,
        },
    ),
    "faster_rcnn": (
        "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8",
        {
            f"model.faster_rcnn.{_KEEP}.min_dimension": 192,
            f"model.faster_rcnn.{_KEEP}.max_dimension": 192,
            "model.faster_rcnn.first_stage_max_proposals": 20,
            "model.faster_rcnn.second_stage_batch_size": 8,
        },
    ),
    "centernet": (
        "centernet_resnet101_v1_fpn_512x512_coco17_tpu-8",
        {
            f"model.center_net.{_KEEP}.min_dimension": 128,
            f"model.center_net.{_KEEP}.max_dimension": 128,
        },
    ),
}
# One square anchor a cell, so that a case can be worked by hand.
PLAIN_ANCHORS = {
    "ssd": {
        f"{_SSD_ANCHORS}.aspect_ratios": "[1.0]",
        f"{_SSD_ANCHORS}.scales_per_octave": 1,
    },
    "faster_rcnn": {
        f"{_RPN_ANCHORS}.scales": "[0.25]",
        f"{_RPN_ANCHORS}.aspect_ratios": "[1.0]",
        "model.faster_rcnn.first_stage_minibatch_size": 16,
    },
}


def config(family, overrides=(), **rendered):
    """The small config of a family; `overrides` is a dict path -> value."""
    model, changes = MODELS[family]
    values = {**changes, "train_config.batch_size": 2, **dict(overrides)}
    return configs.render(
        model,
        overrides=[(path, str(value)) for path, value in values.items()],
        fine_tune_checkpoint="",
        **rendered,
    )


def paths(records):
    """What `config` renders of a folder of records."""
    return {
        "train_records": f"{records}/train-*.tfrecord",
        "label_map": str(records / "label_map.pbtxt"),
        "num_classes": 3,
    }
