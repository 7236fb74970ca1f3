"""What tools/explain.py writes: of detections, of a model, of two runs."""

from typing import Any, Literal, NotRequired, TypedDict

from replicate.contracts.common import (
    Annotations,
    Detections,
    MetricName,
    Metrics,
    Pair,
    Words,
)
from tfrecords.json_shapes import Count


class Alone(TypedDict):
    protocol: str
    value: str
    what: str
    who: list[str]
    figures: Metrics
    effects: dict[MetricName, float | None]


class Library(TypedDict):
    name: str
    what: str
    who: str
    metrics: list[MetricName]
    figures: Metrics


class Told(TypedDict):
    metric: MetricName
    written: str
    value: float
    half: float


class Explanation(TypedDict):
    kind: Literal["official", "alone", "library", "ties", "pair"]
    protocols: list[str]
    figures: Words


class OfDetections(TypedDict):
    format: Literal[1]
    form: Literal["detections"]
    official: Metrics
    alone: list[Alone]
    ties: dict[MetricName, Pair]
    libraries: list[Library]
    pairs: Count
    subsumed: Count
    told: list[Told]
    explanations: list[Explanation]
    chance: float | None
    tried: Count
    notes: list[str]
    annotations: Annotations | None
    detections: Detections | None
    remarks: list[str]


class ExplainedModel(TypedDict):
    name: str
    path: str
    input_hw: list[int]


class ModelChange(TypedDict):
    name: str
    reason: int | None
    paths: str | None
    step: str | None
    value: Any
    control: Any
    delta_ap: float | None
    interval: Pair | None
    pixel_difference: float | None
    identical: bool
    matters: bool | None
    elsewhere: Literal["yes", "no", "not known"]
    figures: Metrics
    held: NotRequired[Any]


class LeftOut(TypedDict):
    step: str | None
    value: Any
    reason: str


class OfModel(TypedDict):
    format: Literal[1]
    form: Literal["model"]
    model: ExplainedModel
    annotations: Annotations
    baseline: Words
    tolerance_points: float
    remarks: list[str]
    changes: list[ModelChange]
    left_out: list[LeftOut]


class ExplainedRun(TypedDict):
    path: str
    step: Count
    AP: float | None


class Crossed(TypedDict, total=False):
    a_as_b: float | None
    b_as_a: float | None


class Split(TypedDict):
    evaluation: float
    training: float


class RunsDiffer(TypedDict):
    part: str
    what: str
    a: Any
    b: Any
    why: str


class OfRuns(TypedDict):
    format: Literal[1]
    form: Literal["runs"]
    runs: list[ExplainedRun]
    gap: float | None
    interval: Pair | None
    crossed: Crossed
    split: Split | None
    note: str
    differences: list[RunsDiffer]


ExplainFile = OfDetections | OfModel | OfRuns
