"""Names that a config gives as plain strings and the API looks up; a test holds them against it."""

_RESNETS = ("resnet50", "resnet101", "resnet152")

# TensorFlow 2's feature extractors (object_detection/builders/model_builder.py).
FEATURE_EXTRACTORS = {
    "ssd": (
        "ssd_mobilenet_v1_keras",
        "ssd_mobilenet_v1_fpn_keras",
        "ssd_mobilenet_v2_keras",
        "ssd_mobilenet_v2_fpn_keras",
        *(f"ssd_{resnet}_v1_fpn_keras" for resnet in _RESNETS),
        *(f"ssd_efficientnet-b{size}_bifpn_keras" for size in range(8)),
    ),
    "faster_rcnn": (
        *(f"faster_rcnn_{resnet}_keras" for resnet in _RESNETS),
        *(f"faster_rcnn_{resnet}_fpn_keras" for resnet in _RESNETS),
        "faster_rcnn_inception_resnet_v2_keras",
    ),
    "center_net": (
        *(f"hourglass_{layers}" for layers in (10, 20, 32, 52, 104)),
        *(f"resnet_v1_{layers}_fpn" for layers in (18, 34, 50, 101)),
        "resnet_v2_50",
        "resnet_v2_101",
        "mobilenet_v2",
        "mobilenet_v2_fpn",
        "mobilenet_v2_fpn_sep_conv",
    ),
}

# TensorFlow 1's, of which TensorFlow 2 has none under the name with _keras (the same file).
OF_TENSORFLOW_1_ALONE = (
    "embedded_ssd_mobilenet_v1",
    *("ssd_inception_v2", "ssd_inception_v3", "ssd_pnasnet", "ssd_spaghettinet"),
    *(f"ssd_mobiledet_{device}" for device in ("cpu", "dsp", "edgetpu", "gpu")),
    *("ssd_mobilenet_edgetpu", "ssd_mobilenet_v1_ppn", "ssd_mobilenet_v2_mnasfpn"),
    *("ssd_mobilenet_v3_large", "ssd_mobilenet_v3_small"),
    *(f"ssd_{resnet}_v1_ppn" for resnet in _RESNETS),
    *("faster_rcnn_inception_v2", "faster_rcnn_nas", "faster_rcnn_pnas"),
)

# Evaluators (object_detection/eval_util.py).
METRICS = (
    "coco_detection_metrics",
    "coco_keypoint_metrics",
    "coco_mask_metrics",
    "coco_panoptic_metrics",
    "lvis_mask_metrics",
    "oid_V2_detection_metrics",
    "oid_challenge_detection_metrics",
    "oid_challenge_segmentation_metrics",
    "pascal_voc_detection_metrics",
    "pascal_voc_instance_segmentation_metrics",
    "precision_at_recall_detection_metrics",
    "weighted_pascal_voc_detection_metrics",
    "weighted_pascal_voc_instance_segmentation_metrics",
)
