"""What a run is held against: the zoo's figure, or what the user says.

A reference is a zoo model's name; a run directory or several (seeds of one run); a metrics.json of
tools/score.py or of a run; or figures, AP=0.412,AP50=0.655, of the images that are named.
"""

import dataclasses
import hashlib
import math
import os
import pathlib
import re
from collections.abc import Iterable

from replicate import contracts, engine, zoo
from replicate.errors import UserError
from replicate.run import RunDir, read_json
from replicate.score import METRICS
from replicate.verdict.tolerance import PublishedFigure
from replicate.zoo import vision

ZOO, RUNS, METRICS_FILES, FIGURES = "zoo", "runs", "metrics", "figures"
#: On which images given figures are: those of the evaluation that is judged, or COCO's val2017.
ON = ("this", "val2017")
HOW = (
    "--reference takes a zoo model's name, a run directory or several (seeds of one run), a "
    "metrics.json, or figures (AP=0.412,AP50=0.655) with --reference_on=this or val2017"
)
#: A figure's word before the metric's name -> (kind of evaluation, how the verdict names it).
_OF_KIND = {"": "bbox", "box": "bbox", "mask": "segm", "keypoint": "keypoints"}
_SAID = {"bbox": "box", "segm": "mask", "keypoints": "keypoint"}


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the user said: as spec.json keeps it.

    Attributes:
      given: the words of --reference, one a name, path or figure.
      on: of figures, one of ON; "" where nothing was said.
      margin: points, None where none was given.
    """

    given: tuple[str, ...]
    on: str = ""
    margin: float | None = None

    @classmethod
    def of(
        cls, texts: Iterable[str], on: str | None = None, margin: float | None = None
    ) -> "Asked | None":
        """What flags say: texts that may hold several, comma separated; None of none.

        Raises:
          UserError: a margin that is none, or one without a reference; an empty reference.
        """
        texts = list(texts)
        given = [part.strip() for text in texts for part in text.split(",") if part.strip()]
        if margin is not None and not 0 < margin <= 100:
            raise UserError(f"--margin={margin:g}: a margin in points of AP, above 0, up to 100")
        if texts and not given:
            raise UserError(f"--reference is empty: nothing to hold the figure against. {HOW}")
        if not given:
            if on or margin is not None:
                raise UserError(f"--margin and --reference_on go with --reference. {HOW}")
            return None
        whole = tuple(os.path.abspath(text) if os.path.exists(text) else text for text in given)
        return cls(whole, on or "", margin)

    @classmethod
    def remembered(cls, held_in: dict) -> "Asked | None":
        """What a spec.json or verdict.json keeps, or None."""
        held = held_in.get("reference")
        if held and "given" not in held:  # the zoo's, which nobody named
            return None
        return cls(tuple(held["given"]), held["on"], held["margin"]) if held else None

    def to_json(self) -> dict:
        """As spec.json keeps it."""
        return {"given": list(self.given), "on": self.on, "margin": self.margin}


@dataclasses.dataclass(frozen=True)
class ScoreFiles:
    """One evaluation of a reference or of what is judged.

    Attributes:
      metrics: dict of a metrics.json, of one kind of evaluation.
      detections: path of what was scored, "" where it is not known.
      annotations: path of what it was scored against.
      cut: the score that its run's config cuts at, None where no config says it.
      source: the run directory or the metrics.json that it is of, as it was named.
      log_sha256: of its run's log of the training, "" without one: a copied run has its original's.
    """

    metrics: dict
    detections: str = ""
    annotations: str = ""
    cut: float | None = None
    source: str = ""
    log_sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Reference:
    """A reference, read.

    Attributes:
      kind: ZOO, RUNS, METRICS_FILES or FIGURES.
      name: in words: a model, "runs/a", "3 runs (…)", "the figures given".
      asked: Asked.
      runs: of RUNS, list of RunDir.
      scores: of RUNS and METRICS_FILES, list of ScoreFiles.
      figures: of FIGURES, dict (kind of evaluation, metric) -> PublishedFigure.
    """

    kind: str
    name: str
    asked: Asked
    runs: tuple[RunDir, ...] = ()
    scores: tuple[ScoreFiles, ...] = ()
    figures: dict[tuple[str, str], PublishedFigure] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict:
        """As verdict.json has it."""
        return {"kind": self.kind, "name": self.name} | self.asked.to_json()


def read(asked: Asked) -> Reference:
    """The Reference that was asked for.

    Raises:
      UserError: it is none of the kinds, several of them together, or cannot be read.
    """
    kinds = {text: _kind(text) for text in asked.given}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{path} ({kind})" for path, kind in kinds.items())
        raise UserError(f"--reference: of different kinds: {said}; give those of one kind")
    (kind,) = set(kinds.values())
    if asked.on and kind != FIGURES:
        raise UserError(
            f"--reference_on={asked.on} is of figures; of {asked.given[0]} the images are known"
        )
    return {ZOO: _of_zoo, RUNS: _of_runs, METRICS_FILES: _of_metrics, FIGURES: _of_figures}[kind](
        asked
    )


def scores_of(run: RunDir) -> list[ScoreFiles]:
    """The last complete evaluation of a run, a ScoreFiles a kind of evaluation.

    Raises:
      UserError: there is none.
    """
    steps = run.evaluated_steps()
    if not steps:
        raise UserError(f"{run.root}: no complete evaluation in it; continue the run")
    detections = str(run.eval_at(steps[-1]) / "detections.json.gz")
    scores = run.scores_at(steps[-1])
    if not all({"iou_type", "annotations"} <= metrics.keys() for metrics in scores):
        raise UserError(
            f"{run.eval_at(steps[-1]) / 'metrics.json'}: not the score of an evaluation; remove "
            f"its folder and evaluate again: python tools/evaluate.py --model_dir={run.root}"
        )
    cut, log = _cut_of(run), ""
    if run.metrics.is_file():
        log = hashlib.sha256(run.metrics.read_bytes()).hexdigest()
    return [
        ScoreFiles(
            {"step": steps[-1]} | metrics,
            detections,
            metrics["annotations"]["file"],
            cut,
            str(run.root),
            log,
        )
        for metrics in scores
    ]


def _cut_of(run: RunDir) -> float | None:
    try:
        return engine.describe(engine.of_run(run.config)).score_cut
    except UserError:  # what else needs the config says so
        return None


def scores_in(path: str | os.PathLike[str]) -> list[ScoreFiles]:
    """Those of a metrics.json, one a kind of evaluation.

    Raises:
      UserError: it is no metrics.json of the kit.
    """
    held = read_json(path)
    if not isinstance(held, dict) or not {"iou_type", "metrics", "annotations"} <= held.keys():
        raise UserError(f"{path}: not a metrics.json of tools/score.py or of a run's evaluation")
    hold(path, held)
    beside = pathlib.Path(path).parent / "detections.json.gz"
    return [
        ScoreFiles(
            metrics,
            str(beside) if beside.is_file() else metrics["detections"].get("file") or "",
            metrics["annotations"]["file"],
            source=str(path),
        )
        for metrics in (held, *held.get("others", []))
    ]


def hold(path: str | os.PathLike[str], metrics: dict) -> None:
    """Refuses a metrics.json under another name, which the reader of files does not know for one.

    Raises:
      UserError: a figure is out of its range, or what is needed is not there.
    """
    if wrong := contracts.fault("metrics", metrics):
        raise UserError(f"{path}: no metrics.json as the kit writes it ({wrong}); score again")


def _kind(text: str) -> str:
    path = pathlib.Path(text)
    if path.is_dir() or path.name == "pipeline.config":
        return RUNS
    if path.is_file():
        if zoo.get(path.name.removesuffix(".tar.gz")):
            return ZOO
        return METRICS_FILES
    if "=" in text:
        return FIGURES
    if zoo.get(text) or vision.get(text):
        return ZOO
    if os.sep in text or path.suffix:
        raise UserError(f"--reference={text}: no such file or folder. {HOW}")
    if re.fullmatch(r"[\d.]+%?", text):
        raise UserError(
            f"--reference: {text} alone is no figure; name it, with a point for the decimals "
            "(AP=0.4); a comma stands between figures"
        )
    raise UserError(f"--reference={text}: no file or folder here; as a model: {zoo.unknown(text)}")


def _of_zoo(asked: Asked) -> Reference:
    if len(asked.given) > 1:
        raise UserError(f"--reference: one zoo model, not {len(asked.given)}")
    if asked.margin is not None:
        raise UserError(
            "--margin goes with a reference of your own; the margins of a zoo model's figure "
            "follow from the spread that was published (docs/scoring.md)"
        )
    return Reference(ZOO, asked.given[0], asked)


def _of_runs(asked: Asked) -> Reference:
    runs = tuple(RunDir.existing(path) for path in asked.given)
    places = [run.root.resolve() for run in runs]
    if len(set(places)) < len(places):
        raise UserError("--reference names a run twice; name each of its seeds once")
    scores = tuple(score for run in runs for score in scores_of(run))
    name = _shown(runs[0].root)
    if len(runs) > 1:
        name = f"{len(runs)} runs ({', '.join(_shown(run.root) for run in runs)})"
    return Reference(RUNS, name, asked, runs, scores)


def _shown(path: pathlib.Path) -> str:
    """A path as one would type it: below the working directory, from there."""
    return os.path.relpath(path) if path.is_relative_to(pathlib.Path.cwd()) else str(path)


def _of_metrics(asked: Asked) -> Reference:
    scores = tuple(score for path in asked.given for score in scores_in(path))
    name = ", ".join(_shown(pathlib.Path(path)) for path in asked.given)
    return Reference(METRICS_FILES, name, asked, (), scores)


def _of_figures(asked: Asked) -> Reference:
    if not asked.on:
        raise UserError(
            f"--reference={','.join(asked.given)}: on which images? --reference_on=this, those "
            "that are evaluated here, or --reference_on=val2017"
        )
    figures: dict[tuple[str, str], PublishedFigure] = {}
    for text in asked.given:
        name, _, value = text.partition("=")
        key = _metric(name.strip())
        if key in figures:
            raise UserError(f"--reference: two figures of {name}")
        figures[key] = _figure(text, value.strip())
    said = ", ".join(f"{figure_name(*key)} {figure.points:.6g}" for key, figure in figures.items())
    return Reference(FIGURES, f"the figures given ({said})", asked, figures=figures)


def _metric(name: str) -> tuple[str, str]:
    """(kind of evaluation, the kit's name of the metric) of "AP", "mask AP50", "APS"."""
    first, _, rest = name.rpartition(" ")
    kind, metrics = _OF_KIND.get(first.strip().lower()), {}
    if kind is not None:
        metrics = {metric.lower(): metric for metric in METRICS[kind]}
    metric = metrics.get(rest.lower())
    if metric is None:
        raise UserError(
            f"--reference: unknown metric '{name}'; there are "
            f"{', '.join(METRICS['bbox'])}, of boxes, and the same with 'mask ' or 'keypoint ' "
            f"before it. {HOW}"
        )
    assert kind is not None
    return kind, metric


def figure_name(iou_type: str, metric: str) -> str:
    """How a verdict names a figure: "box AP", "mask AP50"."""
    return f"{_SAID[iou_type]} {metric}"


def _figure(text: str, value: str) -> PublishedFigure:
    """A figure in points with the rounding of its last digit; 0.412 is 41.2 points, as 41.2 is."""
    number = float(value) if re.fullmatch(r"\d*\.?\d+|\d+\.", value) else math.nan
    if not 0 <= number <= 100:
        raise UserError(
            f"--reference: '{text}': a figure is NAME=VALUE, a number from 0 to 100, like AP=0.412"
        )
    if number == 1 and "." not in value:
        raise UserError(f"--reference: {text}: 1 point, or all of them? Write 0.01 or 1.0")
    points = number if number > 1 else 100 * number
    digits = len(value.partition(".")[2]) - (0 if number > 1 else 2)
    return PublishedFigure(points, rounding=0.5 * 10.0**-digits)
