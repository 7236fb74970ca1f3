"""report.json of a recognition run."""

from typing import Literal, NotRequired, TypedDict

from replicate.contracts.common import Checkpoint, NotChecked, Share, Words
from replicate.contracts.reports import ReportTraining
from replicate.contracts.runs import RecognitionRequest
from tfrecords.json_shapes import Count, Sha256

Split = Literal["train", "val"]


class RecognitionClass(TypedDict):
    """An output of the model, and its category in the label map."""

    index: Count
    id: int
    name: str


class RecordsIdentity(TypedDict):
    """What tells two sets of records apart: `fingerprint` is of their names and sizes."""

    pattern: str
    files: Count
    bytes: Count
    fingerprint: Sha256


class RecognitionRecords(TypedDict):
    split: Split
    pattern: str
    files: Count
    bytes: Count
    images: Count
    images_without_categories: Count
    labels: Count
    labels_from_crowds_alone: Count
    crowds_count: bool
    categories: Count


class RecognitionRate(TypedDict):
    step: list[Count]
    learning_rate: list[float]


class RecognitionProgress(TypedDict):
    step: Count
    num_steps: Count
    batch_size: Count
    images_seen: Count
    epochs: float
    learning_rate: RecognitionRate


class Averages(TypedDict):
    """Over all decisions, and the mean of the categories that count; null where none does."""

    micro: Share | None
    macro: Share | None


class NamedCategory(TypedDict):
    id: int
    name: str


class CategoryFigures(TypedDict):
    """Of one category; null where no image holds it."""

    AP: Share | None
    precision: Share | None
    recall: Share | None
    F1: Share | None


class RecognitionCategory(CategoryFigures):
    id: int
    name: str
    positives: Count


class RecognitionMetrics(TypedDict):
    images: Count
    threshold: float
    mean_AP: Share | None
    categories_counted: Count
    without_positives: list[NamedCategory]
    precision: Averages
    recall: Averages
    F1: Averages
    per_category: list[RecognitionCategory]


class OverThresholds(TypedDict):
    """Over all decisions, at each threshold."""

    threshold: list[float]
    precision: list[Share | None]
    recall: list[Share | None]
    F1: list[Share | None]


class RecognitionEvaluation(TypedDict):
    """One checkpoint on one split, as evals/<step>/<split>.json holds it."""

    format: Literal[1]
    step: Count
    split: Split
    checkpoint: Checkpoint
    records: RecordsIdentity
    include_crowd: bool
    scores_sha256: Sha256 | None
    metrics: RecognitionMetrics
    over_thresholds: OverThresholds


class CheckpointFigures(TypedDict):
    mean_AP: Share | None
    F1: Averages


class RecognitionCheckpoint(TypedDict):
    step: Count
    train: NotRequired[CheckpointFigures]
    val: NotRequired[CheckpointFigures]


class RecognitionRow(RecognitionClass):
    """A category: how many images hold it, and what the last checkpoint makes of it."""

    train_images: NotRequired[Count]
    val_images: NotRequired[Count]
    train: NotRequired[CategoryFigures]
    val: NotRequired[CategoryFigures]


class ScoredCategory(TypedDict):
    name: str
    score: Share
    present: bool


class RecognitionImage(TypedDict):
    position: Count
    id: str
    groups: list[str]
    ranking: Share | None
    categories: list[ScoredCategory]


class RecognitionGallery(TypedDict):
    split: Split
    records: RecordsIdentity
    threshold: float
    images_scored: Count
    images: list[RecognitionImage]


class RecognitionReportFile(TypedDict):
    """report.json of a recognition run: everything that its page says."""

    format: Literal[1]
    kind: Literal["recognition"]
    run: str
    command: str | None
    request: RecognitionRequest
    environment: Words
    classes: list[RecognitionClass]
    data: list[RecognitionRecords]
    training: ReportTraining | None
    progress: RecognitionProgress | None
    splits: list[RecognitionEvaluation]
    checkpoints: list[RecognitionCheckpoint]
    per_category: list[RecognitionRow]
    gallery: RecognitionGallery | None
    sentence: str
    chance: Share | None
    not_checked: list[NotChecked]
