"""Values that several of the kit's files hold."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from tfrecords.json_shapes import Count, Held, Needed, Sha256

Share = Annotated[float, Meta(ge=0, le=1)]
Pair = Annotated[list[float], Meta(min_length=2, max_length=2)]
IouType = Literal["bbox", "segm", "keypoints"]
MetricName = Literal[
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR", "AR50", "AR75", "AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl"),
]
#: A figure of an evaluation, None where it is undefined.
Figure = Held[Share | None]
Metrics = dict[MetricName, Figure]
Evaluator = Literal["hotcoco", "pycocotools"]
# The zoo publishes AP alone; of a reference of one's own any metric may be given.
FigureName = Annotated[str, Meta(pattern="^(box|mask|keypoint) (AP|AR)")]
VerdictName = Literal[
    *("REPLICATED", "NEAR", "INCONCLUSIVE", "NOT REPLICATED", "NOT COMPARABLE", "NO REFERENCE"),
]
#: What a file says in words of its own, whose shape is not promised.
Words = dict[str, Any]


class Checkpoint(TypedDict):
    path: Needed[str]
    sha256: Needed[Sha256 | None]


class AnnotationColumns(TypedDict):
    boxes: Sha256
    areas: Sha256
    crowds: Sha256
    categories: Sha256
    keypoints: NotRequired[Sha256]


class Annotations(TypedDict):
    """What was scored against."""

    file: str
    sha256: Sha256
    images: Count
    images_in_file: Count
    annotations: Count
    crowd_annotations: Count
    image_ids_sha256: Sha256
    first_ids_sha256: Sha256
    categories: Count
    box_areas: Count
    content: AnnotationColumns


class Detections(TypedDict):
    """What was scored."""

    file: str | None
    sha256: Sha256
    count: Count
    images: Count
    max_per_image: Count
    min_score: float | None
    score_threshold: float | None
    score_threshold_from: NotRequired[float | None]
    cap_per_image: Count | None
    whole_pixels: bool
    images_without: NotRequired[Count]
    objects_in_images_without: NotRequired[Count]


class Inference(TypedDict):
    """How detections were made."""

    decoder: str | None
    decoder_version: str | None
    suppression: str | None
    suppression_asked: NotRequired[str]
    jit_compile: NotRequired[bool]
    tf32: NotRequired[bool]
    batch_size: int | None
    config_sha256: NotRequired[Sha256]


class CategoryScore(TypedDict):
    id: int
    name: str
    groundtruth: Count
    detections: Count
    AP: Figure
    AP50: Figure
    AP75: Figure
    APs: NotRequired[Figure]
    APm: Figure
    APl: Figure
    AR: Figure


class NotChecked(TypedDict):
    what: str
    why: str
