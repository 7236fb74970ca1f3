"""verdict.json and deviations.json."""

from typing import Any, Literal, NotRequired, TypedDict

from replicate.contracts.common import Checkpoint, FigureName, Pair, Share, VerdictName
from tfrecords.json_shapes import Count, Needed, Sha256

Kind = Literal["training", "checkpoint"]
ConfigClass = Literal[
    "architecture",
    "training",
    "evaluation",
    "speed only",
    "no effect in TensorFlow 2",
    "paths",
    "cosmetic",
    "",
]

# "class" is a word of Python's, so that the functional form is needed.
Deviation = TypedDict(
    "Deviation",
    {
        "op": Literal["set", "modify", "delete"],
        "path": str,
        "a": Any,
        "b": Any,
        "class": ConfigClass,
        "why": str,
        "source": str,
    },
)

DeviationsFile = list[Deviation] | None


class Change(TypedDict):
    cls: Literal["architecture", "training", "evaluation", "facts"]
    path: str
    sentence: str


class Scaling(TypedDict):
    rule: str
    factor: float
    batch: Count
    published_batch: Count
    optimizer: str
    established: bool
    follows: list[str]


class Conditions(TypedDict):
    answer: Literal["as published", "as the reference", "scaled", "changed", "not known"]
    sentence: str
    scaling: Scaling | None
    changes: list[Change]
    unknown: list[str]


class Figure(TypedDict):
    """One published figure, and how it was judged where it could be."""

    published: float | None
    header: float | None
    rounding: NotRequired[float]
    runs: NotRequired[int]
    spread: NotRequired[float | None]
    val2017: NotRequired[Literal["stated", "inferred"]]
    against: NotRequired[Literal["table", "header"] | None]
    verdict: NotRequired[VerdictName]
    reason: NotRequired[str]
    seeds: NotRequired[Count]
    gap: NotRequired[float]
    bands: NotRequired[Pair]
    sigma: NotRequired[float | None]
    own_sigma: NotRequired[bool]
    standard_error: NotRequired[float | None]
    interval90: NotRequired[Pair | None]
    seeds_needed: NotRequired[int | None]
    margin: NotRequired[float | None]
    method: NotRequired[
        Literal["two sets of runs", "paired over the images", "a single figure"] | None
    ]
    reference_seeds: NotRequired[list[float | None]]


class Sigma(TypedDict):
    low: float
    high: float
    pooled: float


class Tolerance(TypedDict):
    """Null where the reference is the user's own: near and sigma; replicated where nothing was
    judged by a margin."""

    kind: Kind
    replicated: float | None
    near: float | None
    unit: str
    why: str
    sigma: Sigma | None


class AskedReference(TypedDict):
    """What --reference, --reference_on and --margin said, as spec.json keeps it."""

    given: list[str]
    on: Literal["", "this", "val2017"]
    margin: float | None


class Reference(TypedDict):
    """What the figure was held against."""

    kind: Literal["zoo", "runs", "metrics", "figures", "none"]
    name: str
    given: NotRequired[list[str]]
    on: NotRequired[Literal["", "this", "val2017"]]
    margin: NotRequired[float | None]


class Cause(TypedDict):
    cause: str
    number: int
    likelihood: Literal["shown by this run", "likely", "possible", "not ruled out"]
    evidence: list[str]
    effect: str
    measured: bool
    source: str
    check: str
    mend: str


class StartFacts(TypedDict):
    path: str
    type: NotRequired[str]
    sha256: NotRequired[str | None]
    matched: Count
    variables: Count
    others: NotRequired[Count]
    fresh: NotRequired[list[str]]
    missed: NotRequired[list[str]]


class TrainingFacts(TypedDict):
    file: str | None
    sha256: Sha256 | None
    images: Count
    annotations: Count
    crowds: Count | None
    image_ids_sha256: Sha256 | None
    arrived: Count | None
    dropped: Count


class LossFacts(TypedDict):
    finite: bool
    first: float | None
    last: float | None


class PreflightFacts(TypedDict):
    statuses: dict[str, Literal["pass", "warn", "fail"]]
    seen: dict[str, str]
    rehearsal: bool
    forced: list[str]


class EvaluationFacts(TypedDict):
    file: str
    sha256: Sha256 | None
    images: Count
    annotations: Count
    crowds: Count | None
    image_ids_sha256: Sha256
    image_bytes_sha256: Sha256 | None
    decoder: str | None
    suppression: str | None
    jit_compile: NotRequired[bool]
    tf32: NotRequired[bool]
    official: bool | None


class BestKept(TypedDict):
    """The best checkpoint by a metric, kept beside the last ones."""

    metric: str
    step: Count
    value: Share
    checkpoint: Checkpoint
    evaluations: Count
    without_figure: Count
    annotations_sha256: Sha256 | None


class BestBeside(BestKept):
    """The same, beside what is judged: `judged` is its metric."""

    judged: Share | None


class RunFacts(TypedDict):
    """What is known of one run; null where its files do not say."""

    run: str
    checkpoint_sha256: Sha256 | None
    seed: int | None
    step: int | None
    num_steps: int | None
    ended_early: NotRequired[str | None]
    best: NotRequired[BestBeside | None]
    global_batch: int | None
    replicas: int | None
    micro_batches: int | None
    images_seen: int | None
    published_batch: int | None
    published_replicas: int | None
    published_images_seen: int | None
    precision: str | None
    recipe_bfloat16: bool | None
    recipe_starts: bool
    start: StartFacts | None
    training: TrainingFacts | None
    losses: LossFacts | None
    preflight: PreflightFacts | None
    accepted: list[str]
    evaluation: EvaluationFacts | None


class Verdict(TypedDict):
    """What verdict.json and the report's verdict share."""

    verdict: Needed[VerdictName]
    reached: bool | None
    headline: str
    conditions: Conditions
    reasons: list[str]
    achieved: dict[FigureName, float | None]
    published: dict[FigureName, float]
    seeds: dict[FigureName, list[float | None]]
    tolerance: Tolerance
    sources: list[str]
    facts: list[RunFacts]
    notes: list[str]
    reference: NotRequired[Reference]


class VerdictFile(Verdict):
    figures: dict[FigureName, Figure]
    likely_causes: list[Cause]
