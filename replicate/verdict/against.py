"""The verdict against a reference of the user's own: runs, a metrics.json, or figures.

What may be held against each other is told from facts, as it is of the zoo's figures: the same
images, annotations, categories and scoring. How the figure is judged: `two_sets.py`.
"""

import dataclasses
import pathlib
import statistics
from collections.abc import Iterable, Iterator

from replicate import config, engine
from replicate.errors import UserError
from replicate.run import RunDir
from replicate.score import text
from replicate.verdict import (
    comparable,
    conditions,
    deciding,
    paired,
    references,
    run_facts,
    telling,
    tolerance,
    two_sets,
)
from replicate.verdict.references import Reference, ScoreFiles

_HOW = (
    "--reference=RUN (an earlier run; several, comma separated, are its seeds), a metrics.json, or "
    "AP=0.412 with --reference_on=this"
)
WITHOUT = (
    f"no reference was given: a fine-tuning is of another task than the zoo's figure; {_HOW} says "
    "what it is held against"
)


@dataclasses.dataclass(frozen=True)
class Judging:
    """What is judged.

    Attributes:
      scores: list of references.ScoreFiles, of each kind of evaluation one a run.
      runs: the run directories, empty where scores alone are given.
      kind: "training" or "checkpoint".
    """

    scores: list[ScoreFiles]
    runs: list[RunDir]
    kind: str


def without_reference(judging: Judging) -> deciding.Verdict:
    """A Verdict that says what was achieved and that nothing was named to hold it against."""
    evaluations = [score.metrics for score in judging.scores]
    facts = _facts(judging.runs)
    unknown = conditions.Conditions(
        conditions.NOT_KNOWN, "nothing was named to compare them with", None, [], []
    )
    overlapping = [sentence for run in facts if (sentence := conditions.of_overlap(run))]
    return _verdict(
        *(telling.NO_REFERENCE, judging, None, unknown, [WITHOUT, *overlapping], {}, {}, facts),
        _notes(evaluations, facts),
    )


def decide(judging: Judging, reference: Reference, val2017: dict | None = None) -> deciding.Verdict:
    """The Verdict of runs, or of scores, against a reference of the user's own.

    Args:
      judging: Judging.
      reference: Reference of any kind but the zoo's.
      val2017: identity of the user's own official annotation file.

    Raises:
      UserError: the same detections twice, or the reference is what is judged, or its copy.
    """
    evaluations = [score.metrics for score in judging.scores]
    for side in (judging.scores, reference.scores):
        deciding.check_distinct([s.metrics for s in side], [s.source for s in side])
    _refuse_itself(judging, reference)
    facts = _facts(judging.runs)
    given = _given(judging, reference)
    obstacles = list(dict.fromkeys(_obstacles(judging, reference, val2017)))
    if not given and not obstacles:
        kinds = " and ".join(dict.fromkeys(score.metrics["iou_type"] for score in judging.scores))
        obstacles = [f"{reference.name} has no figure of {kinds}"]
    judged = {}
    if not obstacles:
        judged = {name: figure.judge(judging.kind) for name, figure in given.items()}
    verdict = (
        max((decided.verdict for decided in judged.values()), key=deciding.VERDICTS.index)
        if judged
        else deciding.NOT_COMPARABLE
    )
    reasons = obstacles or [f"{name}: {decided.reason}" for name, decided in judged.items()]
    notes = _notes(evaluations, facts)
    ours, theirs = (_checkpoints(scores) for scores in (judging.scores, reference.scores))
    if any(_same_detections(judging.scores, reference.scores)):
        notes.insert(
            0,
            "the detections are the reference's, byte for byte: an evaluation that repeats every "
            "bit, or its copy",
        )
    if ours & theirs:
        notes.insert(
            0,
            "a checkpoint of the reference has the same weights, to the last bit, as both "
            "evaluations recorded it",
        )
    notes += _notes_of_reference(reference)
    return _verdict(
        *(verdict, judging, reference, _conditions(judging, reference, facts), reasons),
        *(given, judged, facts, notes),
    )


@dataclasses.dataclass(frozen=True)
class _FigureOfBoth:
    """One figure of both sides.

    Attributes:
      metric: the kit's name of it.
      ours: list of ScoreFiles, one a run; theirs: the same of the reference, empty of figures.
      figure: of given figures, PublishedFigure; on_val2017: whether it is of val2017.
      margin: as it was given.
    """

    metric: str
    ours: list[ScoreFiles]
    theirs: list[ScoreFiles]
    figure: tolerance.PublishedFigure | None
    on_val2017: bool
    margin: float | None

    @property
    def rounding(self) -> float:
        return self.figure.rounding if self.figure else 0.0

    @property
    def achieved(self) -> list[float | None]:
        return [_points(score, self.metric) for score in self.ours]

    @property
    def reference(self) -> list[float | None]:
        if self.figure is not None:
            return [self.figure.points]
        return [_points(score, self.metric) for score in self.theirs]

    def judge(self, kind: str) -> tolerance.Judged:
        ours = [value for value in self.achieved if value is not None]
        theirs = [value for value in self.reference if value is not None]
        published = self.figure or tolerance.PublishedFigure(statistics.fmean(theirs), 0.0)
        if self.margin is None and kind == "checkpoint":
            return tolerance.judge(ours, published, kind)
        if self.margin is None and self.on_val2017 and self.metric == "AP":
            return tolerance.judge(ours, published, kind)  # the spread there is known
        judged = two_sets.judge_runs(ours, theirs, self.margin, self.rounding)
        if judged is not None:
            return judged
        why = "one run against one figure: how far runs spread from seed to seed is not known"
        if self.theirs and kind == "training":
            compared = paired.difference(self.ours[0], self.theirs[0], self.metric)
            if isinstance(compared, paired.PairedDifference):
                return two_sets.judge_paired(
                    ours[0], theirs[0], **dataclasses.asdict(compared), margin=self.margin
                )
            why = compared
        return two_sets.judge_plainly(ours[0], theirs[0], self.margin, why, self.rounding)


def _given(judging: Judging, reference: Reference) -> dict[str, _FigureOfBoth]:
    """Figure's name -> _FigureOfBoth, of what both sides have."""
    ours, theirs = _by_kind(judging.scores), _by_kind(reference.scores)
    on_val2017, margin = reference.asked.on == "val2017", reference.asked.margin
    if reference.kind == references.FIGURES:
        keys: dict[tuple[str, str], tolerance.PublishedFigure | None] = {**reference.figures}
    else:
        keys = {(iou_type, "AP"): None for iou_type in theirs}
    return {
        references.figure_name(iou_type, metric): _FigureOfBoth(
            metric, ours[iou_type], theirs.get(iou_type, []), figure, on_val2017, margin
        )
        for (iou_type, metric), figure in keys.items()
        if iou_type in ours
    }


def _by_kind(scores: Iterable[ScoreFiles]) -> dict[str, list[ScoreFiles]]:
    kinds: dict[str, list[ScoreFiles]] = {}
    for score in scores:
        kinds.setdefault(score.metrics["iou_type"], []).append(score)
    return kinds


def _points(score: ScoreFiles, metric: str) -> float | None:
    value = score.metrics["metrics"].get(metric)
    return None if value is None else 100 * value


def _checkpoints(scores: Iterable[ScoreFiles]) -> set[str]:
    held = (score.metrics.get("checkpoint") or {} for score in scores)
    return {checkpoint["sha256"] for checkpoint in held if checkpoint.get("sha256")}


def _notes_of_reference(reference: Reference) -> list[str]:
    """What of the reference's runs is not the last word: a later evaluation is incomplete."""
    steps = {run: run.evaluated_steps()[-1] for run in reference.runs}
    return [
        f"{run.evals}: a later evaluation of the reference is not complete; that of step {step:,} "
        "is taken"
        for run, step in steps.items()
        if any(unfinished > step for unfinished in run.unfinished_steps())
    ]


def _refuse_itself(judging: Judging, reference: Reference) -> None:
    theirs = {run.root.resolve() for run in reference.runs}
    files = {
        pathlib.Path(score.detections).resolve() for score in reference.scores if score.detections
    }
    for score in judging.scores:
        if score.detections and pathlib.Path(score.detections).resolve() in files:
            raise UserError(
                f"{score.detections}: judged, and its own reference; name another evaluation"
            )
    for run in judging.runs:
        if run.root.resolve() in theirs:
            raise UserError(f"{run.root}: judged, and its own reference; name another run")
    if judging.kind != "training":
        return
    for score, other in _same_detections(judging.scores, reference.scores):
        if score.log_sha256 and other.log_sha256 and score.log_sha256 != other.log_sha256:
            continue  # trained twice: their logs time every step
        raise UserError(
            f"{score.source}: its detections are those of the reference {other.source}, byte for "
            "byte: one run and its copy replicate nothing. Name another run; of a checkpoint that "
            "was evaluated again say --kind=checkpoint"
        )


def _same_detections(
    scores: Iterable[ScoreFiles], others: Iterable[ScoreFiles]
) -> Iterator[tuple[ScoreFiles, ScoreFiles]]:
    """The pairs that scored the same detections."""
    by_hash = {
        (other.metrics["iou_type"], other.metrics["detections"].get("sha256")): other
        for other in others
    }
    for score in scores:
        digest = score.metrics["detections"].get("sha256")
        other = by_hash.get((score.metrics["iou_type"], digest))
        if digest and other is not None:
            yield score, other


def _obstacles(judging: Judging, reference: Reference, val2017: dict | None) -> Iterator[str]:
    """Why the figures cannot be held against each other: sentences."""
    if reference.asked.on == "val2017":
        for score in judging.scores:
            yield from comparable.obstacles(score.metrics, val2017=val2017)
        return
    theirs = _by_kind(reference.scores)
    for score in judging.scores:
        yield from comparable.of_evaluators(score.metrics)
        iou_type = score.metrics["iou_type"]
        of_figures = [figure for figure in reference.figures if figure[0] == iou_type]
        for _, metric in of_figures:
            if metric != "AP" and _points(score, metric) is None:
                yield f"{references.figure_name(iou_type, metric)} is undefined here"
    for iou_type, scores in _by_kind(judging.scores).items():
        pairs = [(scores[0], other) for other in [*scores[1:], *theirs.get(iou_type, [])]]
        for ours, other in pairs:
            yield from comparable.of_two(ours.metrics, other.metrics, (ours.cut, other.cut))


def _facts(runs: Iterable[RunDir]) -> list[run_facts.RunFacts]:
    return [run_facts.of_run(run, None, references.scores_of(run)[0].metrics) for run in runs]


def _conditions(
    judging: Judging, reference: Reference, facts: list[run_facts.RunFacts]
) -> conditions.Conditions:
    """How what is judged differs from the reference in what was trained, and on what."""
    if not judging.runs or not reference.runs:
        which = "the reference" if judging.runs else "what is judged"
        sentence = f"not known: {which} comes without config and training"
        changes = [
            conditions.ConditionChange("facts", "", overlap)
            for run in facts
            if (overlap := conditions.of_overlap(run))
        ]
        answer = conditions.CHANGED if changes else conditions.NOT_KNOWN
        sentence = "; ".join([change.sentence for change in changes] + [sentence])
        return conditions.Conditions(answer, sentence, None, changes, ["config"])
    operations = _config_changes(judging.runs, reference.runs)
    theirs = _facts(reference.runs)
    changes = [
        conditions.ConditionChange(operation.cls, operation.path, _sentence(operation))
        for operation in operations or ()
        if operation.cls in comparable.AFFECTING[judging.kind]
    ]
    changes += list(conditions.between(facts, theirs))
    unknown = ["config"] if operations is None else []
    answer = conditions.CHANGED if changes else conditions.AS_REFERENCE
    if unknown and not changes:
        answer = conditions.NOT_KNOWN
    sentence = conditions.sentence_of(answer, changes, unknown)
    if unknown:
        without = [
            str(run.root) for run in (*judging.runs, *reference.runs) if not _has_config(run)
        ]
        why = f"no readable config in {', '.join(without)}" if without else "of two engines"
        sentences = [change.sentence for change in changes]
        sentence = "; ".join([*sentences, f"not known: the configs were not compared ({why})"])
    return conditions.Conditions(answer, sentence, None, changes, unknown)


def _has_config(run: RunDir) -> bool:
    try:
        engine.of_run(run.config)
    except UserError:
        return False
    return True


def _sentence(operation: config.Operation) -> str:
    here, there = (comparable.short(value) for value in (operation.b, operation.a))
    return f"{operation.path} is {here}, in the reference {there}"


def _config_changes(
    ours: Iterable[RunDir], theirs: Iterable[RunDir]
) -> list[config.Operation] | None:
    """The differences of each config from the reference's first one; None where one is not read."""
    try:
        first, *others = [engine.of_run(run.config) for run in (*theirs, *ours)]
        changes = [operation for other in others for operation in engine.diff(first, other)]
    except UserError:  # also of two engines
        return None
    distinct: list[config.Operation] = []
    for operation in changes:
        if operation not in distinct:
            distinct.append(operation)
    return distinct


def _notes(evaluations: list[dict], facts: list[run_facts.RunFacts]) -> list[str]:
    notes = []
    if any(evaluation["agree"] is None for evaluation in evaluations):
        notes.append("scored by one evaluator alone; --evaluator=both has the other's word")
    for evaluation in evaluations:
        notes += text.remarks(evaluation)
    return list(dict.fromkeys([*notes, *deciding.notes_of_runs(facts)]))


def _verdict(
    verdict: str,
    judging: Judging,
    reference: Reference | None,
    conditioned: conditions.Conditions,
    reasons: list[str],
    given: dict[str, _FigureOfBoth],
    judged: dict[str, tolerance.Judged],
    facts: list[run_facts.RunFacts],
    notes: list[str],
) -> deciding.Verdict:
    seeds = {name: figure.achieved for name, figure in given.items()}
    if not seeds:
        seeds = {
            references.figure_name(iou_type, "AP"): [_points(score, "AP") for score in scores]
            for iou_type, scores in _by_kind(judging.scores).items()
        }
    published = {
        name: statistics.fmean(known)
        for name, figure in given.items()
        if (known := deciding.known(figure.reference))
    }
    figures = {
        name: {
            "published": published.get(name),
            "header": None,
            "rounding": given[name].rounding if name in given else 0.0,
            "runs": len(given[name].reference) if name in given else 0,
            "reference_seeds": given[name].reference if name in given else [],
        }
        | (judged[name].to_json() if name in judged else {})
        for name in seeds
    }
    runs = max(map(len, seeds.values()))
    margins = [decided.margin for decided in judged.values()]
    return deciding.Verdict(
        verdict=verdict,
        reached={
            telling.NO_REFERENCE: None,
            deciding.NOT_COMPARABLE: None,
            "INCONCLUSIVE": None,
        }.get(verdict, verdict in deciding.REACHED),
        headline=telling.headline_against(
            verdict, judging.kind, runs, conditioned, reference.name if reference else None, margins
        ),
        conditions=conditioned,
        reasons=reasons,
        achieved={
            name: statistics.fmean(held) if (held := deciding.known(values)) else None
            for name, values in seeds.items()
        },
        published=published,
        figures=figures,
        seeds=seeds,
        tolerance=_tolerance(judging.kind, reference, judged),
        sources=[],
        likely_causes=[],
        facts=[run.to_json() for run in facts],
        notes=notes,
        reference=reference.to_json() if reference else {"kind": "none", "name": ""},
    )


def _tolerance(kind: str, reference: Reference | None, judged: dict[str, tolerance.Judged]) -> dict:
    """What REPLICATED leaves open, and where that comes from."""
    first, why = next(iter(judged.values()), None), "nothing was judged"
    if first is not None and first.method is None:  # by the margins of a published figure
        return deciding.tolerance_json(kind)
    if reference is not None and reference.asked.margin is not None:
        why = "as it was given (--margin)"
    elif first is not None and first.method is not None:
        why = {
            "two sets of runs": f"{two_sets.MARGIN_SIGMAS:.2f} σ of one run, as these runs spread: "
            "within it one run against one is shown to lie four times in five; tested as a margin "
            "in units of σ (Wellek 2010, 6.1), so that σ's own chance is in it",
            "paired over the images": "3.0 standard errors of the paired difference: what these "
            "images can show four times in five, were there no difference",
            "a single figure": "none: nothing tells how much of a gap is chance",
        }[first.method]
    return {
        "kind": kind,
        "replicated": first.margin if first else None,
        "near": None,
        "unit": "points of AP",
        "why": why,
        "sigma": None,
    }
