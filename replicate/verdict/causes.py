"""What may explain a missed figure: the documented reasons, ordered by what this run shows.

Each reason gets a likelihood from the run's facts: a judgement that orders the list, no
probability. What the facts rule out is left out; what they neither show nor rule out comes last.
"""

import dataclasses
import re
import statistics
from collections.abc import Iterator

from replicate import engine, reasons
from replicate.verdict import comparable, conditions, measured, official, telling
from replicate.verdict.run_facts import RunFacts
from replicate.verdict.tolerance import Judged

# Words of a likelihood, from the highest; the last is of what nothing speaks for.
_WORDS = (
    (0.9, "shown by this run"),
    (0.5, "likely"),
    (0.2, "possible"),
    (0.0, telling.NOT_RULED_OUT),
)
_STANDARD_ERRORS = 3  # beyond them a gap is no chance
_DROPPED = 0.001  # a conversion that leaves out more trains another set
_DIVERGED = 2  # a total loss that ends so many times above its beginning is no noise
_SILENT = 0.1  # share of categories without any detection

# Likelihood of a reason of which nothing is known; the others have _OPEN.
_UNKNOWN = {
    reasons.START: 0.15,
    reasons.TRAINING_IMAGES: 0.14,
    reasons.DECODER: 0.12,
    reasons.RECORDS: 0.1,
    reasons.RESUME: 0.06,
    reasons.PLATFORM: 0.01,
}
_OPEN = 0.05
# Of a config difference, by the reason it is evidence of; the others have _DIFFERENCE.
_DIFFERENCES = {reasons.START: 0.75, reasons.SCHEDULE: 0.72, reasons.RATE: 0.7, reasons.CUT: 0.65}
_DIFFERENCE = 0.5

# A reason, how likely the run makes it, and the sentence that says why; None rules it out.
_Evidence = tuple[reasons.Reason, float, str | None]


@dataclasses.dataclass
class _Case:
    """A reason and what speaks for it."""

    likelihood: float = 0.0
    evidence: list[str] = dataclasses.field(default_factory=list)

    def add(self, likelihood: float, sentence: str) -> None:
        self.likelihood = max(self.likelihood, likelihood)
        if sentence not in self.evidence:
            self.evidence.append(sentence)


@dataclasses.dataclass(frozen=True)
class Situation:
    """All that the causes are told from.

    Attributes:
      evaluations: list of metrics.json dicts.
      conditions: conditions.Conditions.
      kind: "training" or "checkpoint".
      environment: the dict of environment.json (`environment.of_run`), or {}.
      facts: list of RunFacts, one a run.
      judged: list of tolerance.Judged; empty where nothing could be judged.
      two_figures: sentences where table and header differ.
      explained: as of `measured.of_run`: what changes were measured to cost here.
      engine: whose figure it is, as `replicate.engine` names it.
      cut, cap: the score that the published figure's detections are cut at, and how many of an
        image count, as of `comparable.of_detections`.
    """

    evaluations: list[dict]
    conditions: conditions.Conditions
    kind: str
    environment: dict
    facts: list[RunFacts]
    judged: list[Judged]
    two_figures: list[str]
    explained: list[dict]
    engine: str = engine.ODAPI
    cut: float = 0.0
    cap: int | None = None

    @property
    def above(self) -> bool:
        """Whether every figure lies above the published one."""
        return bool(self.judged) and min(figure.gap for figure in self.judged) > 0


def likely(situation: Situation) -> list:
    """The reasons that may explain a gap, by what this run shows.

    Args:
      situation: Situation.

    Returns:
      list of dicts: cause, number, likelihood (in words), evidence (sentences; empty: not ruled
      out), effect, measured (whether that is this model's own, measured), source, check, mend.
    """
    cases: dict = {}

    def add(reason: reasons.Reason, likelihood: float, sentence: str) -> None:
        cases.setdefault(reason, _Case()).add(likelihood, sentence)

    ruled_out = set()
    for find in (_evaluated, _configured, _trained, _started, _executed, _preflighted, _around):
        for reason, likelihood, sentence in find(situation):
            if sentence is None:
                ruled_out.add(reason)
            else:
                add(reason, likelihood, sentence)
    for reason in reasons.ALL:
        fits = situation.kind in reason.kinds
        direction = reason.above if situation.above else reason.below
        if reason in cases and (not fits or not direction) and cases[reason].likelihood < 0.9:
            del cases[reason]
        elif reason not in cases and fits and direction and not _silent(reason, ruled_out):
            cases[reason] = _Case(_UNKNOWN.get(reason, _OPEN))
    paths = [change.path for change in situation.conditions.changes if change.path]
    sizes = {reason: measured.largest(reason, situation.explained, paths) for reason in cases}

    def rank(item: tuple[reasons.Reason, _Case]) -> tuple[bool, float, float]:
        reason, case = item
        own = sizes[reason]
        size = abs(own["delta_ap"]) if own else reason.points or 0.0
        return bool(case.evidence), case.likelihood, size

    ordered = sorted(cases.items(), key=rank, reverse=True)
    return [
        _as_json(reason.of_engine(situation.engine), case, sizes[reason])
        for reason, case in ordered
    ]


def _silent(reason: reasons.Reason, ruled_out: set[reasons.Reason]) -> bool:
    """Reasons that are there only where something speaks for them."""
    by_evidence: tuple[reasons.Reason, ...] = (
        reasons.CODE,
        reasons.CHANCE,
        reasons.TWO_FIGURES,
        reasons.ADAM,
    )
    by_evidence += (reasons.PRECISION, reasons.BFLOAT16, reasons.EVALUATORS, reasons.LABELS)
    return reason in ruled_out or reason in by_evidence or reason.config_alone


def _as_json(reason: reasons.Reason, case: _Case, own: dict | None) -> dict:
    words = (word for least, word in _WORDS if case.likelihood >= least)
    return {
        "cause": reason.cause,
        "number": reason.number,
        "likelihood": next(words) if case.evidence else telling.NOT_RULED_OUT,
        "evidence": case.evidence,
        "effect": f"measured on this model: {measured.sentence(own)}" if own else reason.effect,
        "measured": bool(own),
        "source": "; ".join(reason.sources),
        "check": reason.check,
        "mend": reason.mend,
    }


def _evaluated(situation: Situation) -> Iterator[_Evidence]:
    """What the evaluations themselves show."""
    for evaluation in situation.evaluations:
        for sentence in comparable.of_evaluators(evaluation):
            yield reasons.EVALUATORS, 1.0, sentence
        for sentence in comparable.of_images(evaluation):
            yield reasons.IMAGES, 1.0, sentence
        sentences = list(comparable.of_categories(evaluation))
        for sentence in sentences:
            if sentence == comparable.RENUMBERED:
                yield reasons.LABELS, 0.97, sentence
            else:
                yield reasons.IMAGES, 1.0, sentence
        cuts = list(
            comparable.of_detections(
                evaluation["detections"], evaluation["iou_type"], situation.cut, situation.cap
            )
        )
        for sentence in cuts:
            yield reasons.CUT, 0.95, sentence
        silent = None if sentences else _without_detections(evaluation)
        if silent:
            yield reasons.LABELS, *_of_silence(silent, situation, bool(cuts))
    for facts in situation.facts:
        decoder = (facts.evaluation or {}).get("decoder")
        if decoder and not str(decoder).lower().startswith("tensorflow"):
            yield reasons.DECODER, 0.6, f"images were decoded by {decoder}"
        elif decoder:
            yield reasons.DECODER, 0.0, None


def _of_silence(sentence: str, situation: Situation, is_cut: bool) -> tuple[float, str]:
    """(likelihood, sentence): where preflight found the labels right they are hardly the reason,
    and a cut of the detections silences categories as well."""
    for facts in situation.facts:
        statuses = (facts.preflight or {}).get("statuses") or {}
        if statuses.get(str(reasons.LABELS.number)) == "pass":
            return 0.2, f"{sentence}; preflight found label map and classes right"
    if is_cut:
        return 0.2, f"{sentence}, which the cut of the detections may have made as well"
    return 0.85, sentence


def _without_detections(evaluation: dict) -> str | None:
    """A sentence where many categories that have five objects or more got no detection at all."""
    present = [category for category in evaluation["per_category"] if category["groundtruth"] >= 5]
    silent = [category["name"] for category in present if not category["detections"]]
    if len(silent) < max(2, _SILENT * len(present)):
        return None
    return (
        f"{len(silent)} of {len(present)} categories with five objects or more have no detection "
        f"at all ({', '.join(silent[:4])}{', …' if len(silent) > 4 else ''})"
    )


def _configured(situation: Situation) -> Iterator[_Evidence]:
    """What the config changes of the recipe.

    Classes that follow from other groundtruth are no sign of a wrong label map.
    """
    own_classes = any(
        sentence != comparable.RENUMBERED
        for evaluation in situation.evaluations
        for sentence in comparable.of_categories(evaluation)
    )
    for change in situation.conditions.changes:
        if change.cls != "facts":
            reason = reasons.of_path(change.path)
            if reason is reasons.LABELS and own_classes:
                continue
            if reason.kinds and situation.kind in reason.kinds:
                yield reason, _DIFFERENCES.get(reason, _DIFFERENCE), change.sentence
    for facts in situation.facts:
        sentence = _of_rate(facts, situation.conditions)
        if sentence:
            yield reasons.RATE, 0.92, sentence
    scaling = situation.conditions.scaling
    if scaling and not scaling["established"]:
        yield reasons.ADAM, 0.55, conditions.told_scaling(scaling)


def _of_rate(facts: RunFacts, conditioned: conditions.Conditions) -> str | None:
    """A batch other than published, with the published rates, or None."""
    here, there = facts.global_batch, facts.published_batch
    changed = [change.path for change in conditioned.changes]
    if (
        not here
        or not there
        or here == there
        or not any(path in changed for path in engine.BATCH.values())
    ):
        return None
    if any(re.search(r"learning_rate|optimizer", path) for path in changed):
        return None
    times = f"{max(here / there, there / here):.3g} times too {'high' if here < there else 'low'}"
    return f"batch {here}, published {there}, at the published rate: by the linear rule {times}"


def _trained(situation: Situation) -> Iterator[_Evidence]:
    """Images trained on and seen, annotations lost, losses."""
    split = official.TRAIN2017
    for facts in situation.facts:
        sentence = conditions.of_training_images(facts)
        if sentence and facts.training is not None:
            share = min(facts.training["images"] / split.images, 1)
            yield reasons.TRAINING_IMAGES, _of_share(share), sentence
        elif facts.training is not None:
            yield reasons.TRAINING_IMAGES, 0.0, None
        yield from _records(facts)
        yield from _overlap(facts)
        images_seen, published = facts.images_seen, facts.published_images_seen
        if images_seen and published:
            share = images_seen / published
            if share < conditions.WHOLE:
                part = conditions.percent(share)
                evidence = f"{images_seen:,} images seen, {part} of the recipe's {published:,}"
                yield reasons.SCHEDULE, _of_share(share), evidence
            elif not conditions.of_images_seen(facts):
                yield reasons.SCHEDULE, 0.0, None
        losses = facts.losses
        if losses is not None and not losses["finite"]:
            yield reasons.DIVERGED, 0.97, "a logged loss is not a finite number"
        elif losses is not None and losses["last"] > _DIVERGED * losses["first"]:
            evidence = f"the total loss went from {losses['first']:.3g} to {losses['last']:.3g}"
            yield reasons.DIVERGED, 0.9, evidence
        elif losses is not None and losses["last"] < losses["first"]:
            yield reasons.DIVERGED, 0.0, None


def _of_share(share: float) -> float:
    """The likelihood that a share of the images, below one, is the reason: 0.4 to 1."""
    return 0.4 + 0.6 * (1 - share) ** 0.25


def _records(facts: RunFacts) -> Iterator[_Evidence]:
    training = facts.training
    if training is None:
        return
    dropped = training.get("dropped") or 0
    if dropped > _DROPPED * training["annotations"]:
        evidence = (
            f"{dropped:,} of {training['annotations']:,} annotations did not arrive in records"
        )
        yield reasons.RECORDS, 0.5, evidence
    else:
        yield reasons.RECORDS, 0.0, None


def _overlap(facts: RunFacts) -> Iterator[_Evidence]:
    sentence = conditions.of_overlap(facts)
    trained, evaluated = facts.training or {}, facts.evaluation or {}
    ids = trained.get("image_ids_sha256")
    statuses = (facts.preflight or {}).get("statuses") or {}
    if sentence:
        yield reasons.OVERLAP, 0.95, sentence
    elif statuses.get(str(reasons.IMAGES.number)) == "pass":
        yield reasons.OVERLAP, 0.0, None
    elif ids and ids == evaluated.get("image_ids_sha256"):
        yield reasons.OVERLAP, 0.4, "training records and evaluation have the same image ids"


def _started(situation: Situation) -> Iterator[_Evidence]:
    for facts in situation.facts:
        sentence = conditions.of_start(facts)
        if sentence:
            yield reasons.START, 0.95, sentence
        elif not facts.recipe_starts or (facts.start or {}).get("matched"):
            yield reasons.START, 0.0, None


def _executed(situation: Situation) -> Iterator[_Evidence]:
    """Precision, replicas, micro-batches."""
    for facts in situation.facts:
        sentence = conditions.of_precision(facts)
        if sentence:
            yield reasons.PRECISION, 0.25, sentence
        if facts.recipe_bfloat16 and facts.precision == "float32":
            yield reasons.BFLOAT16, 0.2, "the recipe computes in bfloat16, this run in float32"
        sentence = conditions.of_micro_batches(facts)
        if sentence:
            yield reasons.BATCH_NORM, 0.4, sentence
        here = _images_a_replica(facts.global_batch, facts.replicas)
        there = _images_a_replica(facts.published_batch, facts.published_replicas)
        if here and there and here != there:
            evidence = f"batch norm over {here:g} images a replica, {there:g} published"
            yield reasons.BATCH_NORM, 0.3, evidence
        elif here and there and not sentence:
            yield reasons.BATCH_NORM, 0.0, None


def _images_a_replica(batch: int | None, replicas: int | None) -> float | None:
    return batch / replicas if batch and replicas else None


# Reasons that preflight's pass rules out; the others it tells in part.
_PASSED = (
    *(reasons.START, reasons.RATE, reasons.DEVICES, reasons.RECORDS, reasons.LABELS),
    *(reasons.RESUME, reasons.OVERLAP),
)


def _preflighted(situation: Situation) -> Iterator[_Evidence]:
    """What preflight passed is ruled out, what it failed is evidence."""
    numbered = {str(reason.number): reason for reason in reasons.ALL}
    for facts in situation.facts:
        if facts.preflight is None:
            continue
        for number, status in facts.preflight["statuses"].items():
            reason, observation = numbered.get(number), facts.preflight["seen"].get(number, "")
            if reason is None or not reason.kinds:
                continue
            if status == "fail":
                yield reason, 0.8, f"preflight failed: {observation}"
            elif status == "pass" and reason in _PASSED:
                yield reason, 0.0, None


def _around(situation: Situation) -> Iterator[_Evidence]:
    """Two published figures, code, platform, chance."""
    for sentence in situation.two_figures:
        yield reasons.TWO_FIGURES, 0.3, sentence
    environment = situation.environment
    if (environment.get("git") or {}).get("diff"):
        revision = environment["git"].get("revision", "")[:12]
        yield reasons.CODE, 0.3, f"the working tree differed from revision {revision}"
    version = environment.get("packages", {}).get("tensorflow")
    if version:
        names = [gpu.get("device_name", "a GPU") for gpu in environment.get("gpus", [])]
        evidence = f"this run: TensorFlow {version} on {', '.join(names) or 'the CPU'}"
        yield reasons.PLATFORM, 0.02, evidence
    for judged in situation.judged:
        error = judged.standard_error
        if error and abs(judged.gap) <= _STANDARD_ERRORS * error:
            away = abs(judged.gap) / error
            chance = 2 * (1 - statistics.NormalDist().cdf(away))
            evidence = (
                f"the gap is {away:.1f} standard errors: so far in {chance:.0%} of honest runs"
            )
            yield reasons.CHANCE, max(0.1, min(chance, 0.85)), evidence
