"""Under which conditions a figure was reached, or not: as published, scaled, changed, not known."""

import dataclasses
import fractions
import itertools
from collections.abc import Iterable, Iterator

from replicate import reasons
from replicate.config import Scaling
from replicate.verdict import comparable, official
from replicate.verdict.run_facts import RunFacts

AS_PUBLISHED, SCALED, CHANGED, NOT_KNOWN = "as published", "scaled", "changed", "not known"
AS_REFERENCE = "as the reference"  # of a run of one's own

# Of training: less of the recipe's images, of a checkpoint's variables, is another experiment.
WHOLE = 0.99
_MOST_VARIABLES = 0.9


@dataclasses.dataclass(frozen=True)
class ConditionChange:
    """One way in which a run is not the published experiment.

    Attributes:
      cls: "architecture", "training", "evaluation" (config), "facts" (what the run's files say).
      path: the config path, "" of facts.
      sentence: what is so, and what is published.
    """

    cls: str
    path: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Conditions:
    """The second answer of a verdict.

    Attributes:
      answer: AS_PUBLISHED, AS_REFERENCE, SCALED, CHANGED or NOT_KNOWN.
      sentence: the answer in words.
      scaling: dict of `config.Scaling` where a rule holds, else None: rule, factor, batch,
        published_batch, optimizer, established, follows.
      changes: list of ConditionChange.
      unknown: list of what is not known, such as "training images".
    """

    answer: str
    sentence: str
    scaling: dict | None
    changes: list[ConditionChange]
    unknown: list[str]


def of(
    kind: str, deviations: list[dict] | None, scaling: Scaling | None, facts: list[RunFacts]
) -> Conditions:
    """The Conditions of a run, or of several seeds of one.

    Args:
      kind: "training" or "checkpoint".
      deviations: list of dicts as in deviations.json, or None where the config is not known.
      scaling: `config.Scaling` or None.
      facts: list of RunFacts.
    """
    training = kind == "training"
    scaling = scaling if training else None
    changes = [
        change
        for change in _of_config(deviations or (), scaling)
        if change.cls in comparable.AFFECTING[kind]
    ]
    unknown = [] if deviations is not None else ["config"]
    if training:
        changes += _of_facts(facts)
        unknown += _unknown(facts)
    scaled = _scaling_json(scaling) if scaling else None
    if changes:
        answer = CHANGED
    elif deviations is None:
        answer = NOT_KNOWN
    else:
        answer = SCALED if scaling else AS_PUBLISHED
    return Conditions(
        answer, sentence_of(answer, changes, unknown, scaled), scaled, changes, unknown
    )


def _of_config(deviations: Iterable[dict], scaling: Scaling | None) -> Iterator[ConditionChange]:
    """The differences that no scaling rule explains, each a ConditionChange."""
    if scaling is None:
        for deviation in deviations:
            yield ConditionChange(
                deviation["class"], deviation["path"], comparable.in_words(deviation)
            )
        return
    deviations = list(deviations)
    for deviation in deviations:
        if deviation["path"].startswith("--"):  # of no config, so that no rule knows it
            yield ConditionChange(
                deviation["class"], deviation["path"], comparable.in_words(deviation)
            )
    published = {deviation["path"]: deviation for deviation in deviations}
    for operation in scaling.rest:
        known = published.get(operation.path)
        if known is not None and known["a"] == operation.a:
            sentence = comparable.in_words(known)
        else:  # what should have followed, and did not
            sentence = f"{operation.path} is {comparable.short(operation.b)}; "
            sentence += f"the {scaling.rule} rule gives {comparable.short(operation.a)}"
        yield ConditionChange(operation.cls, operation.path, sentence)


def _scaling_json(scaling: Scaling) -> dict:
    value = dataclasses.asdict(scaling)
    del value["rest"]
    return value | {"follows": list(scaling.follows)}


def told_scaling(scaling: dict) -> str:
    """The rule and its factor, once."""
    factor = fractions.Fraction(scaling["batch"], scaling["published_batch"])
    times = str(factor) if factor.denominator < 100 else f"{scaling['factor']:.3g}"
    sentence = (
        f"scaled by the {scaling['rule']} rule: batch {scaling['batch']} for "
        f"{scaling['published_batch']}, rates × {times}, schedule ÷ {times}"
    )
    if not scaling["established"]:
        sentence += f"; for {scaling['optimizer'].capitalize()} the rule is not established"
    return sentence


def sentence_of(
    answer: str,
    changes: list[ConditionChange],
    unknown: list[str],
    scaling: dict | None = None,
) -> str:
    """The answer in words.

    Args:
      answer, changes, unknown: as in Conditions.
      scaling: the same, the dict of a rule that holds.
    """
    if answer == AS_REFERENCE:
        return "as the reference in all that its files tell"
    if answer == NOT_KNOWN:
        return "not known: no config was compared with the recipe's"
    parts = [told_scaling(scaling)] if scaling else []
    if changes:
        facts = [change.sentence for change in changes if change.cls == "facts"]
        counts: dict[str, int] = {}
        for change in changes:
            if change.cls != "facts":
                counts[change.cls] = counts.get(change.cls, 0) + 1
        settings = sum(counts.values())
        if settings:
            of = ", ".join(f"{count} of {cls}" for cls, count in counts.items())
            parts.append(f"changed in {settings} setting{'s' * (settings > 1)} ({of})")
        parts += facts
    elif not scaling:
        parts.append("as published")
    sentence = "; ".join(parts)
    missing = [fact for fact in unknown if fact != "config"]
    if "config" in unknown:
        sentence += "; the config is not known"
    return sentence + (f" (not known: {', '.join(missing)})" if missing else "")


def percent(share: float) -> str:
    """A share for reading: 10.0 %, 0.004 %."""
    return f"{100 * share:.1f} %" if share >= 0.01 else f"{100 * share:.2g} %"


def _of_facts(facts: Iterable[RunFacts]) -> list[ConditionChange]:
    """What the runs' files say besides the config, each once."""
    sentences = {}
    for run_facts in facts:
        for sentence in (
            of_training_images(run_facts),
            of_overlap(run_facts),
            of_images_seen(run_facts),
            of_start(run_facts),
            of_micro_batches(run_facts),
            of_precision(run_facts),
        ):
            if sentence:
                sentences[sentence] = ConditionChange("facts", "", sentence)
    return list(sentences.values())


def _unknown(facts: list[RunFacts]) -> list[str]:
    known = {
        "training images": lambda run_facts: run_facts.training is not None,
        "images seen": lambda run_facts: run_facts.images_seen is not None,
        "starting checkpoint": lambda run_facts: (
            run_facts.start is not None or not run_facts.recipe_starts
        ),
    }
    return [name for name, knows in known.items() if not facts or not all(map(knows, facts))]


def of_training_images(facts: RunFacts) -> str | None:
    """Trained on other or fewer images than train2017's, or None."""
    training, split = facts.training, official.TRAIN2017
    if training is None:
        return None
    images, annotations = training["images"], training["annotations"]
    if (images, annotations) == (split.images, split.annotations):
        return None
    if images == split.images:
        return f"trained on {annotations:,} annotations; {split.name} has {split.annotations:,}"
    share = f"{percent(images / split.images)} of {split.name}'s {split.images:,}"
    return f"trained on {images:,} images with {annotations:,} annotations ({share})"


def of_overlap(facts: RunFacts) -> str | None:
    """Training images were evaluated, as manifests or preflight tell, or None."""
    trained, evaluated = facts.training or {}, facts.evaluation or {}
    if trained.get("sha256") and trained["sha256"] == evaluated.get("sha256"):
        return (
            f"{reasons.TRAINING_EVALUATED}: the training records were made of the evaluation's "
            f"annotation file ({evaluated['file']})"
        )
    sentences = ((facts.preflight or {}).get("seen") or {}).get(str(reasons.IMAGES.number), "")
    return next(
        (
            sentence
            for sentence in sentences.split("; ")
            if sentence.startswith(reasons.TRAINING_EVALUATED)
        ),
        None,
    )


def of_images_seen(facts: RunFacts) -> str | None:
    """Stopped, or evaluated, before the config's own end, or None."""
    if facts.step is None or not facts.num_steps or facts.step >= WHOLE * facts.num_steps:
        return None
    share = percent(facts.step / facts.num_steps)
    sentence = f"evaluated at step {facts.step:,} of {facts.num_steps:,} ({share} of the images)"
    return sentence + (f": {facts.ended_early}" if facts.ended_early else "")


def of_start(facts: RunFacts) -> str | None:
    """Little or nothing of the recipe's starting checkpoint was loaded, or None."""
    start = facts.start
    if start is None or not facts.recipe_starts:
        return None
    if start.get("path") == "":
        return "trained from random weights; the recipe starts from a checkpoint"
    if not start.get("variables"):
        return None
    if start["matched"] >= _MOST_VARIABLES * start["variables"]:
        return None
    return f"{start['matched']} of {start['variables']} variables came from the starting checkpoint"


def of_micro_batches(facts: RunFacts) -> str | None:
    """Batches computed in parts, or None."""
    if facts.micro_batches in (None, 1):
        return None
    return f"each batch was split into {facts.micro_batches} micro-batches"


def of_precision(facts: RunFacts) -> str | None:
    """Another precision than float32 where the recipe does not say bfloat16, or None."""
    precision = facts.precision
    if precision in (None, "float32") or (facts.recipe_bfloat16 and "bfloat16" in precision):
        return None
    return f"computed in {precision}"


def between(ours: list[RunFacts], theirs: list[RunFacts]) -> list[ConditionChange]:
    """In what runs differ from those of a reference, the config aside, each once.

    Seeds may differ; that is what several runs are for.
    """
    sentences: list[str] = []
    for run_facts, other in itertools.product(ours, theirs):
        sentences += [
            sentence
            for sentence in (
                _of_records(run_facts, other),
                of_overlap(run_facts),
                _of_end(run_facts, other),
                _of_weights(run_facts, other),
                _of_way(run_facts, other),
                _of_pixels(run_facts, other),
            )
            if sentence
        ]
    return [ConditionChange("facts", "", sentence) for sentence in dict.fromkeys(sentences)]


def _of_records(ours: RunFacts, theirs: RunFacts) -> str | None:
    here, there = ours.training, theirs.training
    if not here or not there or here["sha256"] == there["sha256"]:
        return None
    counts = [
        f"{side['images']:,} images, {side['annotations']:,} annotations" for side in (here, there)
    ]
    if counts[0] == counts[1]:
        return f"trained on another annotation file of as many images ({counts[0]})"
    return f"trained on {counts[0]}; the reference on {counts[1]}"


def _of_end(ours: RunFacts, theirs: RunFacts) -> str | None:
    if ours.step == theirs.step or None in (ours.step, theirs.step):
        return None
    return f"evaluated at step {ours.step:,}; the reference at {theirs.step:,}"


def _of_weights(ours: RunFacts, theirs: RunFacts) -> str | None:
    here, there = ours.start, theirs.start
    if here is None or there is None:
        return None
    if here.get("sha256") != there.get("sha256") or here.get("path", "") == "" != there.get("path"):
        said = [side.get("path") or "random weights" for side in (here, there)]
        of = " (another file of that name)" if said[0] == said[1] else ""
        return f"started from {said[0]}{of}; the reference from {said[1]}"
    counts = [(side.get("matched"), side.get("variables")) for side in (here, there)]
    if counts[0] != counts[1]:
        said = [f"{matched} of {variables} variables" for matched, variables in counts]
        return f"{said[0]} came from the starting checkpoint; in the reference {said[1]}"
    return None


def _of_way(ours: RunFacts, theirs: RunFacts) -> str | None:
    differing = [
        f"{name} {getattr(ours, field)} for {getattr(theirs, field)}"
        for name, field in (
            ("precision", "precision"),
            ("micro-batches", "micro_batches"),
            ("replicas", "replicas"),
        )
        if None not in (getattr(ours, field), getattr(theirs, field))
        and getattr(ours, field) != getattr(theirs, field)
    ]
    return f"computed with {', '.join(differing)}" if differing else None


def _of_pixels(ours: RunFacts, theirs: RunFacts) -> str | None:
    here, there = ours.evaluation or {}, theirs.evaluation or {}
    differing = [
        f"{name} {here[name]} for {there[name]}"
        for name in ("decoder", "suppression")
        if here.get(name) and there.get(name) and here[name] != there[name]
    ]
    compiled = [bool(side.get("jit_compile")) for side in (here, there)]
    if here and there and compiled[0] != compiled[1]:
        differing.append(
            "XLA for TensorFlow's kernels" if compiled[0] else "TensorFlow's kernels for XLA"
        )
    reduced = [bool(side.get("tf32")) for side in (here, there)]
    if here and there and reduced[0] != reduced[1]:
        differing.append(
            "TensorFloat-32 for float32" if reduced[0] else "float32 for TensorFloat-32"
        )
    if differing:
        return f"evaluated with {', '.join(differing)}"
    hashes = here.get("image_bytes_sha256"), there.get("image_bytes_sha256")
    if None not in hashes and hashes[0] != hashes[1]:
        return "the image files that were evaluated are others, byte for byte, under the same ids"
    return None
