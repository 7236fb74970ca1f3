"""The verdict of run directories: the one way from a run's files to its verdict."""

import collections
import os
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

from replicate import config, engine, environment, opening, zoo
from replicate.errors import UserError
from replicate.run import RunDir, read_json, read_json_or_none
from replicate.tfvision import describe
from replicate.verdict import (
    against,
    comparable,
    deciding,
    measured,
    official,
    references,
    run_facts,
)
from replicate.verdict.references import Asked
from replicate.zoo import vision


def of_runs(
    paths: Iterable[str | os.PathLike[str] | RunDir],
    model: str | None = None,
    kind: str = "training",
    val2017: dict | None = None,
    reference: Asked | None = None,
) -> deciding.Verdict:
    """The verdict of one run directory, or of several that are seeds of one experiment.

    Args:
      paths: run directories (paths or RunDir); the last evaluation of each is judged.
      model: the zoo model: its name, or a config, an archive or a run of it; a run directory knows
        its own.
      kind: "training" or "checkpoint".
      val2017: identity of the user's own official annotation file.
      reference: what the figure is held against; by default what the run was made with
        (spec.json), then `model`, then the zoo model that the run is of. A fine-tuning has none.

    Raises:
      UserError: no evaluation in a run, runs of different models, one run named twice, or a
        reference that cannot be read.
    """
    runs = [path if isinstance(path, RunDir) else RunDir.existing(path) for path in paths]
    _check_distinct(runs)
    if reference is None and model is None:
        for run in runs:
            if run.spec.is_file():
                read_json(run.spec)  # what it is held against stands there
    for run in runs:
        _tell_of_unread(run)
    asked = reference or (None if model else _remembered(runs))
    if asked is None and model is None and any(finetunes(run) for run in runs):
        return against.without_reference(_judging(runs, kind))
    if asked is not None:
        held_against = references.read(asked)
        if held_against.kind != references.ZOO:
            return against.decide(_judging(runs, kind), held_against, val2017)
        model = held_against.name
    models = {_named(model) if model else _model(run) for run in runs}
    if len(models) > 1:
        raise UserError(f"the runs are of different models: {', '.join(sorted(map(str, models)))}")
    (name,) = models
    for run in runs:
        _check_engine(run, name)
    evaluations, sources, known, scalings, explained = [], [], [], [], []
    deviations: list | None = []
    for run in runs:
        scores = [score.metrics for score in _scores(run)]
        evaluations += scores
        sources += [str(run.root)] * len(scores)
        known.append(run_facts.of_run(run, name, scores[0]))
        scalings.append(_scaling(run, name))
        explained += measured.of_run(run)
        of_run = _deviations(run, name)
        if of_run is None or deviations is None:
            deviations = None
        else:
            deviations += [deviation for deviation in of_run if deviation not in deviations]
    deciding.check_distinct(evaluations, sources)
    return deciding.decide(
        published_row(name),
        evaluations,
        deviations,
        kind=kind,
        environment=_environment(runs[0]),
        val2017=val2017,
        facts=known,
        # A rule holds of the runs together where each follows the same.
        scaling=scalings[0] if all(scaling == scalings[0] for scaling in scalings) else None,
        explained=explained,
        cut=published_cut(name),
    )


def _tell_of_unread(run: RunDir) -> None:
    """Says on stderr what is wrong with files that a verdict may go without."""
    read_json_or_none(run.annotations, kind="annotations")
    if not run.deviations.is_file():
        return
    try:
        nothing = read_json(run.deviations) is None
    except UserError:
        read_json_or_none(run.deviations)  # tells it
        return
    request = (read_json_or_none(run.spec) or {}).get("request") or {}
    if nothing and (model := request.get("model")):
        print(
            f"{run.deviations}: null, though the run is of {model}; what differs from that is told "
            "from the config where it is needed",
            file=sys.stderr,
        )


def finetunes(run: RunDir) -> bool:
    """Whether a run was made for data of its own (--purpose=finetune)."""
    request = (read_json_or_none(run.spec) or {}).get("request") or {}
    preflight = read_json_or_none(run.preflight) or {}
    return "finetune" in (request.get("purpose"), preflight.get("purpose"))


def _remembered(runs: list[RunDir]) -> Asked | None:
    """The reference that the runs were made with, where it is one and the same."""
    asked = {Asked.remembered(read_json_or_none(run.spec) or {}) for run in runs}
    return asked.pop() if len(asked) == 1 else None


def _judging(runs: list[RunDir], kind: str) -> against.Judging:
    return against.Judging([score for run in runs for score in _scores(run)], runs, kind)


def _scores(run: RunDir) -> list[references.ScoreFiles]:
    """The evaluation of a run that is judged: the last complete one."""
    scores = references.scores_of(run)
    step = scores[0].metrics["step"]
    if any(unfinished > step for unfinished in run.unfinished_steps()):
        print(
            f"{run.evals}: a later evaluation is not complete; judged is that of step {step}",
            file=sys.stderr,
        )
    return scores


def of_metrics(
    metrics: Iterable[dict],
    model: str,
    message: Any = None,
    kind: str = "training",
    val2017: dict | None = None,
) -> deciding.Verdict:
    """The verdict of scores that no run directory holds.

    Args:
      metrics: list of metrics.json dicts; masks or keypoints that stand beside boxes ("others")
        are judged with them, as those of a run directory are.
      model: the zoo model, or TF-Vision's by the name of its row.
      message: the config they were made with (TrainEvalPipelineConfig or VisionConfig), None where
        it is not known.
      kind, val2017: as in `of_runs`.
    """
    metrics = [score for boxes in metrics for score in (boxes, *boxes.get("others", []))]
    model = _named(model)
    row, deviations, scaling = published_row(model) or zoo.find(model), None, None
    if message is not None:
        deviations = config.operations_to_json(engine.deviations(message, model))
        scaling = engine.scaling(engine.read(model), message)
    return deciding.decide(
        row,
        metrics,
        deviations,
        kind=kind,
        val2017=val2017,
        scaling=scaling,
        cut=published_cut(model),
    )


def of_metrics_files(
    paths: Iterable[str | os.PathLike[str]],
    reference: Asked,
    kind: str = "training",
    val2017: dict | None = None,
) -> deciding.Verdict:
    """The verdict of metrics.json files against a reference.

    Args:
      paths: of metrics.json; of the same kind of evaluation one a run.
      reference, kind, val2017: as in `of_runs`.
    """
    scores = [score for path in paths for score in references.scores_in(path)]
    held_against = references.read(reference)
    if held_against.kind == references.ZOO:
        evaluations = [score.metrics for score in scores]
        deciding.check_distinct(evaluations, [score.source for score in scores])
        return of_metrics(evaluations, held_against.name, None, kind, val2017)
    return against.decide(against.Judging(scores, [], kind), held_against, val2017)


def remember_official(path: str | os.PathLike[str]) -> dict:
    """Reads your official val2017 annotations and keeps their hashes in your cache folder.

    Args:
      path: instances_val2017.json or person_keypoints_val2017.json.

    Returns:
      their identity (`score.Groundtruth.identity`).

    Raises:
      UserError: the file is not what is publicly known of COCO's.
    """
    from replicate.score import Groundtruth

    read = Groundtruth.read(path)
    iou_type = "keypoints" if read.categories == {1: "person"} else "bbox"
    identity = read.identity()
    objects = collections.Counter(read.annotation_category_ids[~read.annotation_crowd].tolist())
    scored = {
        "iou_type": iou_type,
        "annotations": identity,
        "per_category": [
            {"id": id, "name": name, "groundtruth": objects[id]}
            for id, name in read.categories.items()
        ],
    }
    problems = [*comparable.of_categories(scored), *comparable.of_images(scored, identity)]
    if problems:
        raise UserError(
            f"{path} is not COCO's {official.file_of(iou_type)}: {problems[0]}. "
            "python tools/download.py coco fetches it"
        )
    official.remember(identity, iou_type)
    return identity


def _check_distinct(runs: list[RunDir]) -> None:
    named = {}
    for run in runs:
        place = run.root.resolve()
        if place in named:
            raise UserError(
                f"{run.root} is named {len(runs)} times: that is one run, not several seeds. Train "
                "another with --seed=1 and name both"
                if len(set(other.root.resolve() for other in runs)) == 1
                else f"{run.root} is named twice; name each run once"
            )
        named[place] = run


def published_row(model: str) -> zoo.Row | None:
    """The published row of a model, of either engine."""
    row = zoo.get(pathlib.Path(model).name)
    published = vision.get(model) if row is None else None
    return published.as_row() if published is not None else row


def published_cut(model: str) -> float:
    """The score that a TF-Vision figure's detections are cut at; 0 of another's."""
    return describe.score_cut(model) if vision.get(model) is not None else 0.0


def _named(model: str) -> str:
    """A zoo model by its name, or as the recipe of a config, an archive or a run."""
    if published_row(model) is None:
        if not pathlib.Path(model).exists():
            raise zoo.unknown(model)
        return engine.recipe_of(model).model or model
    return model


def _check_engine(run: RunDir, model: str) -> None:
    """Raises UserError where the model is of another engine than the run's config."""
    try:
        of_run = engine.of(engine.of_run(run.config))
    except UserError:
        return  # a config that is missing or damaged is told as such
    of_model = engine.of_source(model)
    if of_run != of_model:
        raise UserError(
            f"{run.root}: a run of {engine.NAMES[of_run]}; {model} is {engine.NAMES[of_model]}'s, "
            "another network whose figure this run does not try to reach. --reference=RUN compares "
            "runs of both on the same images"
        )


def _model(run: RunDir) -> str:
    spec = read_json(run.spec)
    name = (spec.get("request") or {}).get("model") or spec.get("model")
    if not name:
        raise UserError(f"{run.root}: its spec.json names no zoo model; give --model")
    return name


def _deviations(run: RunDir, model: str) -> list[dict] | None:
    """deviations.json, which is of the run's own model, or the same told anew; None where neither
    can be."""
    own = (read_json_or_none(run.spec) or {}).get("request", {}).get("model") in (None, "", model)
    held = read_json(run.deviations) if own and run.deviations.is_file() else None
    if held is not None:  # null: when it was launched, its recipe was not known
        return held
    try:
        message = engine.of_run(run.config)
        return config.operations_to_json(opening.deviations_of(run, message, model))
    except UserError:
        return None


def _scaling(run: RunDir, model: str) -> config.Scaling | None:
    try:
        return engine.scaling(engine.read(model), engine.of_run(run.config))
    except UserError:
        return None


def _environment(run: RunDir) -> dict | None:
    try:
        return environment.of_run(run)
    except UserError:
        return None
