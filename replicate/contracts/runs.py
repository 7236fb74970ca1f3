"""What a run directory keeps beside scores and verdict."""

from typing import Any, Literal, NotRequired, TypedDict

from replicate.contracts.common import Checkpoint, Share, Words
from replicate.contracts.verdicts import AskedReference
from tfrecords.json_shapes import Count, Needed, Sha256


class Accepted(TypedDict):
    """A difference of identity that --accept let by."""

    field: str
    was: Any
    now: Any
    step: Count


class Request(TypedDict, total=False):
    """What was asked of tools/replicate.py, tools/train.py or tools/train_recognition.py."""

    seed: int
    precision: str | None
    tf32: bool
    cache: str
    cache_dir: str
    profile: int
    jit_compile: bool
    gradient_accumulation_steps: int
    input_service: str
    checkpoint_every_n: int
    checkpoint_max_to_keep: int
    model: str
    train_annotations: str
    train_images: str
    val_annotations: str
    val_images: str
    num_steps: int | None
    overrides: list[list[str]]
    fine_tune_checkpoint: str
    include_masks: bool
    shorten_schedule: bool
    fix: list[str]
    purpose: str
    freeze: str
    restore: str
    config: str
    recipe_told_by: str
    log_every_n: int
    keep_best: str
    patience: int | None


class RecognitionRequest(TypedDict):
    records: str
    label_map: str
    backbone: str
    image_size: int
    weights: str | None
    include_crowd: bool
    batch_size: int
    num_epochs: float | None
    num_steps: int | None
    optimizer: str
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    batch_norm_momentum: float | None
    flip: bool
    seed: int


class SpecFile(TypedDict):
    """spec.json: what was asked."""

    format: Literal[1]
    kind: NotRequired[Literal["training", "recognition"]]
    model: NotRequired[str | None]
    request: Needed[Request | RecognitionRequest]
    command: str
    forced: NotRequired[list[str]]
    accepted: NotRequired[list[Accepted]]
    reference: NotRequired[AskedReference]


class Cpu(TypedDict):
    cores: int
    memory_bytes: int


class Git(TypedDict):
    revision: str
    diff: str


class Execution(TypedDict):
    precision: str | None
    jit_compile: NotRequired[bool]
    tf32: NotRequired[bool]
    gradient_accumulation_steps: NotRequired[int]
    replicas: int
    input_service: NotRequired[str]
    freeze: NotRequired[str]


class Environment(TypedDict):
    python: str
    system: str
    packages: Needed[dict[str, str]]
    cpu: Cpu
    gpus: list[Words]
    variables: dict[str, str]
    git: Git | None
    precision: NotRequired[str | None]
    execution: NotRequired[Execution]


class EnvironmentFile(Environment):
    """environment.json; `earlier` where a run was continued elsewhere."""

    earlier: NotRequired[list[Environment]]


class PreflightResult(TypedDict):
    number: int
    title: str
    status: Literal["pass", "warn", "fail"]
    seen: str
    fix: str


class Forecast(TypedDict):
    batch: int
    tried_batch: int
    gpus: int
    step_seconds: float | None
    input_wait: float | None
    first_step_seconds: float | None
    num_steps: int
    train_hours: float | None
    evaluations: int
    images: int
    eval_hours: float | None
    host_tried_bytes: float
    host_bytes: float
    host_available_bytes: float
    gpu_bytes: float
    gpu_available_bytes: float
    checkpoint_bytes: float
    checkpoints: int
    records_bytes: float
    detections_bytes: float
    disk_bytes: float


class PreflightFile(TypedDict):
    """preflight.json: what preflight said at the launch."""

    format: NotRequired[Literal[1]]
    results: Needed[list[PreflightResult]]
    forecast: NotRequired[Forecast | None]
    tried: NotRequired[bool]
    on: NotRequired[Any]
    rehearsal: NotRequired[bool]
    purpose: NotRequired[str]
    config: NotRequired[str]
    forced: list[str]


class IdentityFile(TypedDict):
    """identity.json: what makes it the same run when it is continued."""

    seed: Needed[int]
    precision: str | None
    config: Needed[str]
    label_map: dict[str, str] | None
    train_records: Sha256 | None
    train_annotations: Sha256 | None
    starting_checkpoint: Sha256 | None
    accepted: list[Accepted]


class ProfiledOperation(TypedDict):
    """What a device spent on one type of operation.

    Seconds are of its threads or streams, so that they may sum to more than the time that passed;
    the share is of their sum.
    """

    device: Needed[str]
    operation: Needed[str]
    seconds: Needed[float]
    share: Needed[Share]


class ProfileFile(TypedDict):
    """profile.json: some steps of a training, and its operations, the longest first."""

    first_step: Needed[Count]
    steps: Needed[Count]
    seconds: Needed[float]
    operations: Needed[list[ProfiledOperation]]


class StartFile(TypedDict):
    """start.json: the weights that the training began with."""

    path: Needed[str]
    type: str
    sha256: Sha256 | None
    matched: Needed[Count]
    variables: Needed[Count]
    others: int
    fresh: NotRequired[list[str]]
    missed: NotRequired[list[str]]


class BestConditions(TypedDict):
    """What the evaluations that are compared have in common."""

    annotations_sha256: Sha256 | None
    config_sha256: Sha256 | None


class BestEvaluation(TypedDict):
    """An evaluation: the metric, null where it has none, and its checkpoint's hash."""

    step: Needed[Count]
    value: Needed[Share | None]
    sha256: Needed[Sha256]


class BestFile(TypedDict):
    """best/best.json: the best checkpoint by a metric; null until an evaluation has a figure."""

    metric: Needed[str]
    conditions: Needed[BestConditions]
    step: Needed[Count | None]
    value: Needed[Share | None]
    checkpoint: Needed[Checkpoint | None]
    evaluations: Needed[list[BestEvaluation]]


class EarlyStopFile(TypedDict):
    """early_stop.json: the training is to end, as so many evaluations were no gain."""

    metric: Needed[str]
    patience: Needed[Count]
    best_step: Needed[Count]
    best_value: Needed[Share]
    at_step: Needed[Count]


class TrainingFile(TypedDict):
    """training.json: the state of the training."""

    state: Needed[Literal["running", "done", "stopped", "failed"]]
    step: Needed[Count]
    num_steps: Needed[Count]
    pid: Needed[int]
    host: Needed[str]
    updated: Needed[float]
    execution: Execution
    reason: NotRequired[str]


class LaunchFile(TypedDict):
    """launch/launch.json: where the run was launched."""

    target: Needed[str]
    launched: Needed[float]
    pid: NotRequired[int]
    host: NotRequired[str]
    log: NotRequired[str]
    job: NotRequired[str]
    script: NotRequired[str]
    exit: NotRequired[int]
    skipped: NotRequired[str]
    waits: NotRequired[bool]


class SeenFile(TypedDict):
    bytes: Needed[Count]
    mtime_ns: Needed[int]
    sha256: Needed[Sha256]


class AnnotationFacts(TypedDict):
    images: Needed[Count]
    annotations: Needed[Count]
    crowd: Needed[Count]
    image_ids_sha256: Needed[Sha256]
    categories: Needed[dict[str, str]]
    objects: Needed[dict[str, Count]]


class AnnotationsFile(TypedDict):
    """annotations.json: what several stages need of the annotation files, by their SHA-256."""

    format: Needed[Literal[1]]
    files: Needed[dict[str, SeenFile]]
    facts: Needed[dict[str, AnnotationFacts]]


class HostUse(TypedDict):
    cpu_percent: float
    memory_gib: float


class DeviceUse(TypedDict, total=False):
    memory_gib: float
    utilization_percent: float
    power_watts: float
    temperature_celsius: float


class LogLine(TypedDict):
    """A line of metrics.jsonl: one logged step."""

    step: Needed[Count]
    losses: dict[str, float]
    learning_rate: float
    steps_per_second: float
    images_per_second: float
    input_wait: Share
    host: HostUse
    device: DeviceUse
    seconds_to_first_step: NotRequired[float]
    seconds_to_compile: NotRequired[float]
