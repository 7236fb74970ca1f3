"""What evaluators really do otherwise than COCO: each a change of a Setting, with who does it."""

import dataclasses
from typing import Any

from replicate.explain import geometry
from replicate.explain.setting import OFFICIAL, Setting

#: Thresholds that detections are found cut at: those of deployments, and the other tenths.
SCORE_CUTS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A way in which an evaluation departs from COCO's.

    Attributes:
      name: as tables and tests say it.
      what: one line.
      variants: variant's name ("" where there is one) -> fields of Setting.
      who: who does it, and where that is written.
      boxes_only: does not apply to masks.
    """

    name: str
    what: str
    variants: dict[str, dict[str, Any]]
    who: tuple[str, ...]
    boxes_only: bool = False


@dataclasses.dataclass(frozen=True)
class Variant:
    """A protocol with its value.

    Attributes:
      name: of the protocol.
      value: the variant's name, or "".
      fields: the fields of Setting that it changes, sorted.
    """

    name: str
    value: str
    fields: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name

    def over(self, setting: Setting = OFFICIAL) -> Setting:
        """`setting` with this change."""
        return dataclasses.replace(setting, **dict(self.fields))

    def compatible(self, other: "Variant") -> bool:
        """Whether both can be done at once: no field is changed by both."""
        return not {name for name, _ in self.fields} & {name for name, _ in other.fields}


PROTOCOLS = (
    Protocol(
        "images_with_detections",
        "scores only the images that have a detection",
        {"": {"with_detections": True}},
        (
            "TF-Vision: tensorflow/models, official/vision/evaluation/coco_evaluator.py sets "
            "imgIds to the predictions' (its own detectors fill 100 places of every image, so it "
            "shows where detections were cut before)",
            "keras-cv: issue 2504",
        ),
    ),
    Protocol(
        "images_with_groundtruth",
        "leaves out images without objects, and the false detections on them",
        {"": {"with_groundtruth": True}},
        ("YOLACT: dbolya/yolact issue 22", "MLPerf SSD: mlcommons/training issue 215"),
    ),
    Protocol(
        "score_cut",
        "detections below a threshold are gone",
        {f"{cut:g}": {"score_cut": cut} for cut in SCORE_CUTS},
        (
            "deployment thresholds: tensorflow/models issues 10376 and 10337 (0.3 in frozen "
            "graphs); YOLOv5 validates at 0.001 and detects at 0.25",
            "0.7: Deformable DETR's usage (groq/mlagility, popular_on_huggingface/"
            "SenseTime_deformable-detr.py); the other tenths: round figures, of nobody's",
        ),
    ),
    Protocol(
        "max_dets",
        "another number of detections of each image and category than 100",
        {
            **{str(n): {"max_dets": n} for n in (1, 10, 300)},
            "no limit": {"max_dets": None},
        },
        ("COCO's own AR@1 and AR@10", "torchmetrics' max_detection_thresholds: issue 1153"),
    ),
    Protocol(
        "max_dets_of_image",
        "the number of detections is counted over all categories of an image",
        {str(n): {"max_dets": n, "per_image": True} for n in (1, 10, 100, 300)},
        (
            "YOLOv5 and Ultralytics: max_det=300 of an image (ultralytics/yolov5 PR 7732)",
            "Detectron2 and torchvision: 100 detections of an image",
        ),
    ),
    Protocol(
        "one_class_per_box",
        "only the best category of each box",
        {"": {"one_class": True}},
        (
            "DETR's PostProcess: facebookresearch/detr, models/detr.py; what top-k changes: "
            "ultralytics/ultralytics PR 24403, Atten4Vis/ConditionalDETR issue 8",
        ),
    ),
    Protocol(
        "class_agnostic",
        "all categories are one",
        {"": {"agnostic": True}},
        (
            "pycocotools with useCats=0",
            'torchmetrics: MeanAveragePrecision(average="micro") sets all labels to 0',
            "supervision: MeanAveragePrecision(class_agnostic=True)",
        ),
    ),
    Protocol(
        "crowd_as_object",
        "crowds are objects to be found, not ignored regions",
        {"": {"crowd": "object"}},
        (
            "torchmetrics and supervision, where the target carries no iscrowd "
            "(roboflow/supervision PR 1834)",
        ),
    ),
    Protocol(
        "crowd_removed",
        "crowds are not there: what is found on them is false",
        {"": {"crowd": "removed"}},
        (
            "YOLO's labels leave them out: ultralytics/yolov5 PR 7732",
            "measured for YOLACT: cocodataset/cocoapi issue 444",
        ),
    ),
    Protocol(
        "area_of_box",
        "small, medium and large by the area of the box, not of the annotation",
        {"": {"box_areas": True}},
        (
            "torchmetrics, where the target carries no area",
            "supervision: roboflow/supervision PR 1894",
        ),
    ),
    Protocol(
        "area_under_curve",
        "precision averaged over all points of the curve instead of 101",
        {"": {"interpolation": "area"}},
        ("PASCAL VOC from 2010; mmdetection's eval_map: open-mmlab/mmdetection issue 3076",),
    ),
    Protocol(
        "eleven_points",
        "precision averaged over 11 points of recall instead of 101",
        {"": {"interpolation": "11"}},
        ("PASCAL VOC 2007; mmdetection's eval_map: open-mmlab/mmdetection issue 3076",),
    ),
    Protocol(
        "trapezoid",
        "101 points joined by lines, down to precision 0 at recall 1 or at the last recall",
        {
            "to recall 1": {"interpolation": "trapezoid"},
            "to the last recall": {"interpolation": "trapezoid, cut"},
        },
        (
            "to recall 1: YOLOv5 and Ultralytics' compute_ap for long (what it adds: "
            "WongKinYiu/yolov7 PR 775)",
            "to the last recall: ultralytics 8.4.190, ultralytics/utils/metrics.py, compute_ap",
        ),
    ),
    Protocol(
        "float32_recalls",
        "the 101 recalls in float32, so that an exact tenth may miss its point",
        {"": {"interpolation": "101 in float32"}},
        ("torchmetrics: torch.linspace(0, 1, 101) in src/torchmetrics/detection/mean_ap.py",),
    ),
    Protocol(
        "best_object_only",
        "a detection whose best object is taken is false, whatever else it overlaps",
        {"": {"best_object_only": True}},
        (
            "PASCAL VOC's evaluation (the code in ultralytics/yolov5 issue 6666)",
            "YOLOv5 and earlier Ultralytics keep of each detection its best object alone",
        ),
    ),
    Protocol(
        "inclusive_pixels",
        "width and height of every box plus one pixel",
        {"": {"inclusive": True}},
        ("PASCAL VOC's evaluation (the code in ultralytics/yolov5 issue 6666)",),
        boxes_only=True,
    ),
    Protocol(
        "rounded_boxes",
        "the detections' corners are whole pixels",
        {"nearest": {"rounded": "nearest"}, "truncated": {"rounded": "truncated"}},
        (
            "to the nearest: qqwweee/keras-yolo3, yolo.py, detect_image",
            "truncated: bubbliiiing/yolov4-pytorch, get_dr_txt.py",
        ),
        boxes_only=True,
    ),
    Protocol(
        "clipped_boxes",
        "the detections' corners are cut to the image",
        {"": {"clipped": True}},
        ("Detectron2 and Ultralytics clip; fizyr/keras-retinanet issue 179 (left out)",),
        boxes_only=True,
    ),
    Protocol(
        "empty_categories_zero",
        "categories without objects count as 0 in the mean",
        {"": {"empty_as_zero": True}},
        ("darknet's map: AlexeyAB/darknet issue 1768",),
    ),
    Protocol(
        "micro_average",
        "all categories in one list of detections",
        {"": {"micro": True}},
        (
            "weighted_pascal_voc_metrics of the Object Detection API: "
            "utils/object_detection_evaluation.py",
        ),
    ),
    Protocol(
        "contiguous_ids",
        "category ids without COCO's gaps taken for COCO's 1 to 90",
        {"from 1": {"category_ids": "from 1"}, "from 0": {"category_ids": "from 0"}},
        (
            "open-mmlab/mmdetection issue 474 (ids from 0 without gaps, to be mapped back)",
            "supervisely-ecosystem/RT-DETRv2 PR 52 (off by one in evaluation)",
        ),
    ),
    Protocol(
        "corners_as_size",
        "x2, y2 read as width, height",
        {"": {"corners_as_size": True}},
        ("facebookresearch/detectron2 issue 2957 (the same confusion, the other way about)",),
        boxes_only=True,
    ),
    Protocol(
        "scale_not_undone",
        "boxes left in the pixels of the resized or padded image",
        {name: {"scale": name} for name in geometry.SCALES},
        ("fizyr/keras-retinanet issue 179", "VisionLearningGroup/visda-2018-public issue 10"),
        boxes_only=True,
    ),
)


@dataclasses.dataclass(frozen=True)
class Library:
    """An evaluator as a combination of protocols.

    Attributes:
      name: of the library.
      what: how it is used.
      fields: of Setting.
      metrics: what of its output has a counterpart here.
      who: where that is written.
    """

    name: str
    what: str
    fields: dict[str, Any]
    metrics: tuple[str, ...]
    who: str

    @property
    def setting(self) -> Setting:
        return Setting(**self.fields)


_ALL = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl")
LIBRARIES = (
    Library(
        "torchmetrics",
        "MeanAveragePrecision, targets of boxes and labels alone",
        {"crowd": "object", "box_areas": True, "interpolation": "101 in float32"},
        _ALL,
        "Lightning-AI/torchmetrics, src/torchmetrics/detection/mean_ap.py: iscrowd 0 and the "
        "box's area where the target has none, recalls in float32",
    ),
    Library(
        "supervision",
        "metrics.MeanAveragePrecision, targets without iscrowd",
        {"crowd": "object"},
        ("AP", "AP50", "AP75"),
        "roboflow/supervision, supervision/metrics/mean_average_precision.py: iscrowd 0 where "
        "the target has none",
    ),
    Library(
        "TF-Vision",
        "official.vision.evaluation.coco_evaluator, given images that have detections alone",
        {"with_detections": True},
        _ALL,
        "tensorflow/models, official/vision/evaluation/coco_evaluator.py",
    ),
    Library(
        "VOC 2010",
        "the devkit's way from 2010 on: all points, pixels inclusive, one try for each box",
        {
            "crowd": "removed",
            "interpolation": "area",
            "inclusive": True,
            "best_object_only": True,
            "max_dets": None,
        },
        ("AP50",),
        "py-faster-rcnn's voc_eval (the code in ultralytics/yolov5 issue 6666)",
    ),
    Library(
        "VOC 2007",
        "the devkit's way of 2007: 11 points, pixels inclusive, one try for each box",
        {
            "crowd": "removed",
            "interpolation": "11",
            "inclusive": True,
            "best_object_only": True,
            "max_dets": None,
        },
        ("AP50",),
        "py-faster-rcnn's voc_eval with use_07_metric",
    ),
    Library(
        "Ultralytics",
        "val's own metrics (8.4): no crowds, 300 of an image, trapezoids to the last recall",
        {
            "crowd": "removed",
            "interpolation": "trapezoid, cut",
            "max_dets": 300,
            "per_image": True,
        },
        ("AP", "AP50"),
        "ultralytics 8.4.190, ultralytics/utils/metrics.py and engine/validator.py",
    ),
    Library(
        "YOLOv5",
        "val's own metrics, Ultralytics' for long: as above with one try for each box, to recall 1",
        {
            "crowd": "removed",
            "interpolation": "trapezoid",
            "best_object_only": True,
            "max_dets": 300,
            "per_image": True,
        },
        ("AP", "AP50"),
        "ultralytics/yolov5 PR 7732; ultralytics/ultralytics, ultralytics/utils/metrics.py of 2023",
    ),
)


def variants(masks: bool = False) -> list[Variant]:
    """All Variants, in the order of PROTOCOLS.

    Args:
      masks: leave out what applies to boxes alone.
    """
    return [
        Variant(protocol.name, value, tuple(sorted(fields.items())))
        for protocol in PROTOCOLS
        if not (masks and protocol.boxes_only)
        for value, fields in protocol.variants.items()
    ]


def protocol_of(name: str) -> Protocol:
    """The Protocol called `name`."""
    return next(protocol for protocol in PROTOCOLS if protocol.name == name)
