"""report.json."""

from typing import Any, Literal, NotRequired, TypedDict

from replicate.contracts.common import (
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
    NotChecked,
    Pair,
    Share,
)
from replicate.contracts.runs import EnvironmentFile, Request
from replicate.contracts.scores import Analysis
from replicate.contracts.verdicts import BestKept, Cause, ConfigClass, Deviation, Verdict
from tfrecords.json_shapes import Count, Sha256


class ReportModel(TypedDict):
    name: str | None
    display_name: NotRequired[str]
    family: NotRequired[str]
    input_size: NotRequired[str]
    published: NotRequired[dict[FigureName, float]]
    speed_ms: NotRequired[float | None]
    note: NotRequired[str]
    sources: NotRequired[list[str]]
    reruns: NotRequired[list[str]]


class ReportFigure(TypedDict):
    name: FigureName
    achieved: float | None
    published: float | None
    gap: float | None
    seeds: list[float | None]
    header: float | None
    interval90: Pair | None
    bands: Pair | None


class ReportCause(Cause):
    measured_here: list[str]


class ReportVerdict(Verdict):
    figures: list[ReportFigure]
    likely_causes: list[ReportCause]
    sentence: str
    of_another: NotRequired[str]


class Row(TypedDict):
    name: MetricName
    meaning: str
    value: Share | None
    published: float | None
    evaluators: dict[Evaluator, Share | None]


class Beside(TypedDict):
    iou_type: IouType
    name: str
    agree: bool | None
    versions: dict[Evaluator, str]
    remarks: list[str]
    rows: list[Row]


class ReportMetrics(TypedDict):
    step: Count
    checkpoint: Checkpoint | None
    iou_type: IouType
    agree: bool | None
    versions: dict[Evaluator, str]
    annotations: Annotations
    detections: Detections
    remarks: list[str]
    inference: Inference | None
    made_by: str
    rows: list[Row]
    others: list[Beside]


DeviationClass = TypedDict(
    "DeviationClass",
    {"class": ConfigClass, "affects_ap": bool, "operations": list[Deviation]},
)


class DeviationChoice(TypedDict):
    name: str
    what: str
    affects_ap: bool
    operations: list[Deviation]


class ReportDeviations(TypedDict):
    affecting: Count
    classes: list[DeviationClass]
    choices: NotRequired[list[DeviationChoice]]


class ReportPreflightResult(TypedDict):
    number: Count | None
    title: str | None
    status: str | None
    seen: str | None
    fix: str | None


class ReportPreflight(TypedDict):
    rehearsal: bool
    forced: list[str]
    results: list[ReportPreflightResult]


class NextCommand(TypedDict):
    why: str
    command: str
    choose: NotRequired[dict[str, str]]


class ReportAnswers(TypedDict):
    reached: str
    runs: str
    interval: str | None
    rehearsal: bool
    next: list[NextCommand]


class ReportRecords(TypedDict):
    split: str
    annotations_file: str | None
    annotations_sha256: str | None
    source_images: Count | None
    images: Count | None
    images_without_annotations: Count | None
    images_skipped: Count
    images_skipped_by_reason: dict[str, Count]
    source_annotations: Count | None
    annotations: Count | None
    dropped: Count
    dropped_by_reason: dict[str, Count]
    crowd: Count | None
    crowd_dropped: Count | None
    boxes_clipped: Count | None
    notes: dict[str, Count]
    shards: Count
    bytes: Count


class ClassBalance(TypedDict):
    id: int
    name: str
    val: Count
    val_share: Share | None
    train: Count | None
    train_share: Share | None


class ReportData(TypedDict):
    records: list[ReportRecords]
    class_balance: list[ClassBalance] | None


class Planned(TypedDict):
    step: list[Count]
    learning_rate: list[float]


class Actual(TypedDict):
    step: list[Count]
    learning_rate: list[float | None]


class Schedule(TypedDict):
    kind: str | None
    batch_size: Count
    num_steps: Count
    steps_run: Count | None
    images_planned: Count
    images_seen: Count | None
    marks: list[list[Any]]
    planned: Planned
    actual: Actual


class ReportTraining(TypedDict):
    logged_steps: Count
    step: list[Count]
    losses: dict[str, list[float | None]]
    final_losses: dict[str, float | None]
    images_per_second: list[float | None]
    input_wait: list[float | None]
    system: dict[str, list[float | None]]
    median_images_per_second: float | None
    median_input_wait: float | None


class ReportCheckpoint(TypedDict):
    step: Count
    checkpoint: Checkpoint | None
    images: Count
    metrics: Metrics
    F1_50: float | None


CategoryCurve = TypedDict(
    "CategoryCurve",
    {
        "id": int,
        "name": str,
        "AP": Share | None,
        "0.50": list[float | None],
        "0.75": list[float | None],
    },
)


class CategoryCurves(TypedDict):
    recall: list[float]
    categories: list[CategoryCurve]


class ShownTruth(TypedDict):
    category_id: int
    box_xywh_px: list[float]
    crowd: bool
    size: NotRequired[Literal["small", "medium", "large"]]
    polygons: NotRequired[list[list[float]]]
    keypoints: NotRequired[list[float]]


class Outline(TypedDict):
    polygons: NotRequired[list[list[float]]]
    keypoints: NotRequired[list[float]]


class ShownImage(TypedDict):
    id: int
    file_name: str
    image_hw: list[int]
    ap50: Share | None
    ap50_by_step: NotRequired[dict[str, Share | None]]
    groups: list[str]
    groundtruth: list[ShownTruth]
    detections: dict[str, list[list[float | Outline | None]]]


class ShownStep(TypedDict):
    step: Count
    checkpoint: Checkpoint | None
    AP: Share | None


class Gallery(TypedDict):
    steps: list[ShownStep]
    best_threshold: NotRequired[Share | None]
    highest_score: NotRequired[float | None]
    error_kinds: NotRequired[list[str]]
    groups: dict[str, str]
    categories: dict[str, str]
    iou_threshold: float
    detection_fields: list[str]
    min_score: float
    max_per_image: int
    max_outlined: NotRequired[int]
    images_scored: Count
    images: list[ShownImage]


class Fact(TypedDict):
    label: str
    text: str
    ok: bool | None


class DamagedFile(TypedDict):
    """A file of the run that is there and cannot be read; `file` is its path below the run."""

    file: str
    why: str


class AnyReport(TypedDict):
    """What a page of a run and one of a benchmark's record say; a record leaves out the run's."""

    format: Literal[1]
    run: str
    model: ReportModel
    command: str | None
    request: Request
    verdict: ReportVerdict | None
    metrics: ReportMetrics | None
    deviations: ReportDeviations | None
    execution: list[str]
    data: ReportData
    schedule: Schedule | None
    training: ReportTraining | None
    checkpoints: list[ReportCheckpoint]
    per_category: list[CategoryScore] | None
    analysis: Analysis | None
    category_curves: CategoryCurves | None
    gallery: Gallery | None
    environment: EnvironmentFile | None
    forced: list[str]
    preflight: NotRequired[ReportPreflight | None]
    answers: NotRequired[ReportAnswers]
    facts: list[Fact]
    damaged: NotRequired[list[DamagedFile]]
    not_checked: list[NotChecked]


class ReportFile(AnyReport):
    """report.json: everything that the page says."""

    of_zoo: NotRequired[bool]
    best: NotRequired[BestKept | None]
    sources: dict[str, Sha256 | dict[Evaluator, str] | None]


class BenchmarkReportFile(AnyReport):
    """report.json of a benchmark's page."""

    benchmark: Literal[True]
