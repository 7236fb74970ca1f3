"""The shapes of the files that a run keeps and reads back: what must be there, and of what type.

Fields that are read only where they are there are in the optional half; others may stand beside
them. `replicate.run.read_json` checks every file of these names.
"""

from typing import Any, TypedDict

Number = int | float


class _Spec(TypedDict, total=False):
    kind: str
    model: str | None
    request: dict[str, Any]
    command: str
    forced: list[str]
    accepted: list[dict[str, Any]]


class _Identity(TypedDict, total=False):
    seed: int
    precision: str | None
    config: str
    label_map: dict[str, str] | None
    train_records: str | None
    train_annotations: str | None
    starting_checkpoint: str | None
    accepted: list[dict[str, Any]]


class _TrainingSoFar(TypedDict, total=False):
    reason: str
    execution: dict[str, Any]


class _Training(_TrainingSoFar):
    state: str
    step: int
    num_steps: int
    pid: int
    host: str
    updated: Number


class _LaunchBegun(TypedDict):
    target: str
    launched: Number


class _Launch(_LaunchBegun, total=False):
    pid: int
    host: str
    job: str
    log: str
    exit: int
    skipped: str


class _EnvironmentKnown(TypedDict):
    packages: dict[str, str]


class _Environment(_EnvironmentKnown, total=False):
    cpu: dict[str, Any]
    gpus: list[dict[str, Any]]
    variables: dict[str, str]
    git: dict[str, Any] | None
    earlier: list[dict[str, Any]]


class _Preflight(TypedDict, total=False):
    results: list[dict[str, Any]]
    forced: list[str]
    tried: bool
    config: str
    forecast: dict[str, Any] | None


class _VerdictMore(TypedDict, total=False):
    reasons: list[str]
    notes: list[str]
    achieved: dict[str, Any]
    published: dict[str, Any]
    seeds: dict[str, Any]
    likely_causes: list[dict[str, Any]]


class _Verdict(_VerdictMore):
    verdict: str


class _Checkpoint(TypedDict):
    path: str
    sha256: str


class _MetricsMore(TypedDict, total=False):
    step: int | None
    iou_type: str
    metrics: dict[str, Any]
    checkpoint: _Checkpoint
    annotations: dict[str, Any]
    detections: dict[str, Any]
    others: list[dict[str, Any]]
    per_category: list[dict[str, Any]]


class _Report(TypedDict, total=False):
    format: int
    run: str
    checkpoints: list[dict[str, Any]]


class _Seen(TypedDict):
    bytes: int
    mtime_ns: int
    sha256: str


class _Facts(TypedDict):
    images: int
    annotations: int
    crowd: int
    image_ids_sha256: str
    categories: dict[str, str]
    objects: dict[str, int]


class _AnnotationFacts(TypedDict):
    format: int
    files: dict[str, _Seen]
    facts: dict[str, _Facts]


class _Operation(TypedDict):
    device: str
    operation: str
    seconds: Number
    share: Number


class _Profile(TypedDict):
    first_step: int
    steps: int
    seconds: Number
    operations: list[_Operation]


class _Line(TypedDict):
    step: int


class _MoreOfLine(_Line, total=False):
    losses: dict[str, Number]
    learning_rate: Number
    steps_per_second: Number
    images_per_second: Number
    input_wait: Number
    seconds_to_first_step: Number | None
    seconds_to_compile: Number | None
    host: dict[str, Any]
    device: dict[str, Any]


LINE = _MoreOfLine
ANNOTATION_FACTS = _AnnotationFacts  # apart: annotations.json is what COCO's files are called too
OF_FILES = {
    "profile.json": _Profile,
    "spec.json": _Spec,
    "identity.json": _Identity,
    "training.json": _Training,
    "launch.json": _Launch,
    "environment.json": _Environment,
    "preflight.json": _Preflight,
    "verdict.json": _Verdict,
    "deviations.json": list[dict[str, Any]] | None,
    "metrics.json": _MetricsMore,
    "report.json": _Report,
}


def fault(value: Any, shape: Any) -> str | None:
    """What is wrong with a value in words ("Expected `int`, got `str` - at `$.step`"), or None."""
    import msgspec

    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        return str(error)
    return None
