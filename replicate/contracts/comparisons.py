"""comparison.json."""

from typing import Any, Literal, TypedDict

from replicate.contracts.common import (
    IouType,
    MetricName,
    Metrics,
    NotChecked,
    Share,
    VerdictName,
)
from replicate.contracts.exports import Rung
from replicate.contracts.reports import Outline, ShownTruth
from replicate.contracts.scores import Dataset, Difference
from replicate.contracts.verdicts import ConfigClass
from tfrecords.json_shapes import Count


class RunGroup(TypedDict):
    """Runs that were evaluated on the same; only these can be compared. `runs` and `best` name
    them by their keys."""

    letter: str
    text: str
    runs: list[str]
    best: str | None


class PairedDifference(TypedDict):
    """Against the baseline, with its interval over the images, where there is one."""

    difference: Difference | None
    low: float | None
    high: float | None


class EvaluatedOn(TypedDict):
    annotations_sha256: str | None
    images: Count | None
    iou_type: IouType
    file: str


class ComparedRun(TypedDict):
    """A run or a benchmark's record; null where it does not say."""

    key: str
    name: str
    path: str
    kind: Literal["run", "benchmark"]
    config: bool
    model: str | None
    verdict: VerdictName | None
    step: Count | None
    metrics: Metrics
    F1_50: float | None
    total_loss: float | None
    train_images_per_second: float | None
    input_wait: float | None
    images_seen: Count | None
    latency_ms: float | None
    device: str | None
    seed: int | None
    made_by: str
    evaluated_on: EvaluatedOn | None
    batch_size: Count | None
    train_images: Count | None
    remarks: list[str]


class ZooRow(TypedDict):
    name: str
    model: str
    AP: Share | None
    latency_ms: float | None


# "class" is a word of Python's, so that the functional form is needed.
Hyperparameter = TypedDict(
    "Hyperparameter",
    {
        "path": str,
        "class": ConfigClass | Literal["randomness"],
        "values": dict[str, Any],
    },
)


class CurveLine(TypedDict):
    run: str
    step: list[Count]
    value: list[float | None]


class Curve(TypedDict):
    name: str
    y_label: str
    share: bool
    of_machine: bool
    lines: list[CurveLine]


class CategoryDifference(PairedDifference):
    AP: Share


class ComparedCategory(TypedDict):
    id: int
    name: str
    baseline: Share
    others: dict[str, CategoryDifference]


class SpeedOfZoo(TypedDict):
    name: str
    latency_ms: float
    AP: Share


class SpeedOfRun(TypedDict):
    run: str
    latency_ms: float
    AP: Share
    device: str | None


class ComparedSpeed(TypedDict):
    """Accuracy against latency; `frontier` names the published models that none beats in both."""

    zoo: list[SpeedOfZoo]
    frontier: list[str]
    runs: list[SpeedOfRun]


class ComparedImage(TypedDict):
    """AP50 by run; detections by run and step, "" of a benchmark."""

    id: int
    file_name: str
    image_hw: list[int]
    ap50: dict[str, Share | None]
    groundtruth: list[ShownTruth]
    detections: dict[str, dict[str, list[list[float | Outline | None]]]]


class ComparedGallery(TypedDict):
    runs: list[str]
    categories: dict[str, str]
    iou_threshold: float
    detection_fields: list[str]
    min_score: float
    start_score: float
    images: list[ComparedImage]


class NamedRung(Rung):
    name: str


class ComparedLadder(TypedDict):
    format: int
    export: str
    dataset: Dataset
    tolerance_points: float
    rungs: list[NamedRung]


class ComparisonFile(TypedDict):
    """comparison.json: every figure of a comparison's page."""

    format: Literal[1]
    groups: list[RunGroup]
    headline: list[str]
    overall: dict[str, PairedDifference]
    baseline: str | None
    metrics: list[MetricName]
    runs: list[ComparedRun]
    zoo: list[ZooRow]
    hyperparameters: list[Hyperparameter]
    curves: list[Curve]
    per_category: list[ComparedCategory] | None
    samples: Count
    intervals_method: str
    fewest_images: Count
    speed: ComparedSpeed
    gallery: ComparedGallery | None
    not_checked: list[NotChecked]
    ladders: list[ComparedLadder]
