"""metrics.json, and the record of a benchmark."""

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from replicate.contracts.common import (
    AnnotationColumns,
    Annotations,
    CategoryScore,
    Checkpoint,
    Detections,
    Evaluator,
    FigureName,
    Inference,
    IouType,
    MetricName,
    Metrics,
    Share,
    VerdictName,
    Words,
)
from tfrecords.json_shapes import Count, Needed, Sha256

Difference = Annotated[float, Meta(ge=-1, le=1)]


class ProtocolImages(TypedDict):
    count: Count
    image_ids_sha256: Sha256
    annotations: AnnotationColumns


class ProtocolDetections(TypedDict):
    score_threshold: float | None
    cap_per_image: Count | None
    repairs: list[str]


class ProtocolInference(TypedDict):
    decoder: str | None
    decoder_version: str | None
    suppression: str | None
    jit_compile: NotRequired[bool]
    tf32: NotRequired[bool]


class Protocol(TypedDict):
    """By what a score was measured; `sha256` is of all the rest."""

    iou_type: IouType
    evaluators: dict[Evaluator, str]
    provenance: Literal["parity_verified", "extension"] | None
    iou_thresholds: list[Share]
    recall_thresholds: Count
    max_detections: list[Count]
    area_ranges_px2: dict[str, Annotated[list[float], Meta(min_length=2, max_length=2)]]
    by_category: bool
    oks_sigmas: NotRequired[list[float]]
    crowds: str
    areas_of: str
    images: ProtocolImages
    detections: ProtocolDetections
    inference: ProtocolInference | None
    sha256: Sha256


class Repair(TypedDict):
    problem: str
    message: str
    remedy: str
    changed: Count
    of: Count


class ScoreInterval(TypedDict):
    low: float
    high: float
    standard_error: float
    of: Literal["population", "samples"]


class Analysis(TypedDict):
    by_size: dict[Literal["small", "medium", "large"], Words]
    precision_recall: Words
    f1: NotRequired[Words]
    calibration: NotRequired[Words]
    tide: NotRequired[Words]
    confusion: NotRequired[Words]
    intervals: NotRequired[dict[MetricName, ScoreInterval]]
    intervals_method: NotRequired[str]


class Comparison(TypedDict):
    differences: dict[MetricName, Difference]
    intervals: dict[MetricName, ScoreInterval]
    intervals_method: str | None
    per_category: list[Words]


class Score(TypedDict):
    """One kind of evaluation."""

    protocol: Protocol
    iou_type: IouType
    metrics: Needed[Metrics]
    evaluators: dict[Evaluator, Metrics]
    versions: dict[Evaluator, str]
    agree: bool | None
    annotations: Annotations
    detections: Detections
    inference: NotRequired[Inference]
    repairs: list[Repair]
    notes: list[str]
    per_category: list[CategoryScore]


class ImageBytes(TypedDict):
    sha256: Sha256


class MetricsFile(Score):
    """metrics.json; of a run's evaluation with its checkpoint."""

    step: NotRequired[int | None]
    checkpoint: NotRequired[Checkpoint]
    images: NotRequired[ImageBytes]
    others: NotRequired[list[Score]]
    analysis: NotRequired[Analysis]
    comparison: NotRequired[Comparison]


class RecordedModel(TypedDict):
    name: str
    identity: str | None


class Paper(TypedDict):
    arxiv: str | None
    results: dict[str, float] | None


class Dataset(TypedDict):
    annotations_sha256: Sha256
    images_sha256: Sha256 | None
    images: Count
    annotations_file: str
    image_dir: str | None


class RecordedEvaluators(TypedDict):
    versions: dict[Evaluator, str]
    agree: bool | None


class Latency(TypedDict):
    median: float
    p90: float
    p95: NotRequired[float]


class Speed(TypedDict):
    images_per_second: float
    latency_ms: Latency
    batch_size: int
    warmup_batches: int
    measured_batches: int
    device: str


class PublishedBeside(TypedDict):
    model: str
    arxiv: str
    paper: str
    source: str
    dataset: str
    metric: FigureName | MetricName
    categories: NotRequired[str]
    rounding: NotRequired[float]
    score_threshold: NotRequired[float]
    max_detections: NotRequired[int]
    published: float
    achieved: float
    difference: float
    verdict: VerdictName
    reasons: list[str]


class RecordFile(TypedDict):
    """The record of tools/benchmark.py."""

    model: RecordedModel
    paper: Paper
    dataset: Dataset
    metrics: dict[IouType, Metrics]
    evaluators: RecordedEvaluators
    detections_sha256: Sha256
    remarks: dict[IouType, list[str]]
    findings: NotRequired[list[str]]
    inference: Inference
    protocol: dict[IouType, Protocol]
    speed: Speed | None
    published: list[PublishedBeside]


class ClaimedAnnotations(TypedDict):
    sha256: Sha256
    images: Count
    image_ids_sha256: Sha256
    annotations: Count
    content: AnnotationColumns


class ClaimFile(TypedDict):
    """claim.json: what a bundle claims, and the SHA-256 of each of its files."""

    kit: str
    run: str
    step: Count
    verdict: VerdictName
    headline: str
    metrics: dict[IouType, Metrics]
    protocol_sha256: Sha256
    annotations: ClaimedAnnotations
    files: dict[str, Sha256]
