"""The models that parity looks at: one of each family and backbone of the zoo."""

import pathlib
from typing import Any

from google.protobuf import text_format

from replicate import config

INCEPTION = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"
_SMALL = (
    "image_resizer { fixed_shape_resizer { height: 320 width: 320 } } "
    "first_stage_max_proposals: 32 second_stage_batch_size: 32"
)
_CENTERNET = "centernet_resnet101_v1_fpn_512x512_coco17_tpu-8"
#: label: (template, what is changed in it). Some are made smaller, as the labels say, to spare time
#: and memory; the other changes make the zoo models whose training configs were not published.
MODELS = {
    "SSD MobileNet v1 FPN": ("ssd_mobilenet_v1_fpn_640x640_coco17_tpu-8", ""),
    "SSD MobileNet v2": ("ssd_mobilenet_v2_320x320_coco17_tpu-8", ""),
    "SSD MobileNet v2 FPNLite": ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", ""),
    "SSD ResNet-50 v1 FPN": ("ssd_resnet50_v1_fpn_640x640_coco17_tpu-8", ""),
    "EfficientDet-D0": ("ssd_efficientdet_d0_512x512_coco17_tpu-8", ""),
    "Faster R-CNN ResNet-50 v1": ("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8", ""),
    "Faster R-CNN ResNet-50 v1 FPN": ("faster_rcnn_resnet50_v1_fpn_640x640_coco17_tpu-8", ""),
    "Faster R-CNN Inception ResNet v2 (320 px; 32 proposals)": (
        INCEPTION,
        f"faster_rcnn {{ {_SMALL} number_of_stages: 2 second_stage_box_predictor {{ "
        "mask_rcnn_box_predictor { predict_instance_masks: false } } }",
    ),
    "Mask R-CNN Inception ResNet v2 (320 px; 32 proposals)": (
        INCEPTION,
        f"faster_rcnn {{ {_SMALL} }}",
    ),
    "CenterNet Hourglass-104 (256 px)": (
        "centernet_hourglass104_512x512_coco17_tpu-8",
        "center_net { image_resizer { keep_aspect_ratio_resizer { min_dimension: 256 "
        "max_dimension: 256 } } }",
    ),
    "CenterNet ResNet-50 v2 keypoints": ("centernet_resnet50_v2_512x512_kpts_coco17_tpu-8", ""),
    "CenterNet ResNet-50 v1 FPN keypoints": (
        "centernet_resnet50_v1_fpn_512x512_kpts_coco17_tpu-8",
        "",
    ),
    "CenterNet ResNet-101 v1 FPN": (_CENTERNET, ""),
    "CenterNet MobileNet v2 FPN": (
        _CENTERNET,
        'center_net { feature_extractor { type: "mobilenet_v2_fpn_sep_conv" } }',
    ),
}


def write_config(label: str, work: pathlib.Path, path: pathlib.Path) -> None:
    """Writes the config of a model of MODELS to `path`; a label map that it needs, to `work`."""
    template, changes = MODELS[label]
    message = config.template(template)
    text_format.Merge(changes, message.model)
    if message.model.center_net.keypoint_label_map_path:
        label_map = work / "keypoints_label_map.pbtxt"
        label_map.write_text(_keypoint_label_map(message.model.center_net), encoding="utf-8")
        message.model.center_net.keypoint_label_map_path = str(label_map)
    path.write_text(text_format.MessageToString(message), encoding="utf-8")


def _keypoint_label_map(center_net: Any) -> str:
    """A label map with the classes and keypoints that the keypoint tasks ask for."""
    lines = []
    for task in center_net.keypoint_estimation_task:
        lines.append(f'item {{ id: 1 name: "{task.keypoint_class_name}" display_name: "person"')
        for index, keypoint in enumerate(sorted(task.keypoint_label_to_std)):
            lines.append(f'  keypoints {{ id: {index} label: "{keypoint}" }}')
        lines.append("}")
    return "\n".join(lines)
