"""Published results, and how an evaluation compares with them."""

import csv
import dataclasses
import difflib
import functools
import pathlib
from collections.abc import Iterable

from replicate import zoo
from replicate.errors import UserError
from replicate.verdict import comparable, tolerance

_TABLE = pathlib.Path(__file__).resolve().parent / "published_results.csv"
_COLUMNS = ("box AP", "AP50", "AP75", "APS", "APM", "APL", "mask AP", "keypoint AP")

#: Of figures that are given: they are of the images that are evaluated here.
THIS = "this"
_HERE = "the images evaluated here"

# A published metric's name -> (kind of score, the kit's name of it).
_OF_KIND = {"box": "bbox", "mask": "segm", "keypoint": "keypoints"}
_OF_METRIC = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APS": "APs", "APM": "APm", "APL": "APl"}
METRICS = {
    f"{kind} {name}": (iou_type, metric)
    for kind, iou_type in _OF_KIND.items()
    for name, metric in _OF_METRIC.items()
    if not (kind == "keypoint" and name == "APS")
} | {name: ("bbox", metric) for name, metric in _OF_METRIC.items() if name != "AP"}


@dataclasses.dataclass(frozen=True)
class Published:
    """Published figures of a model.

    Attributes:
      model: its name there.
      arxiv: the paper's id, or "".
      paper: its title, or where the figures were published.
      dataset: the images they are on: "val2017", "test-dev" …, or the words of `given` for those
        that are evaluated.
      figures: dict metric name (of METRICS) -> points.
      source: the table they stand in.
      score_threshold, max_detections: of the evaluation they come from; COCO's and the zoo's cut
        nothing and take 100 an image, torchvision's are its builders' defaults.
      categories: "person" where the figures are of persons alone; "" of COCO's 80.
      rounding: half of the last digit's step, points: a figure of 21 is 20.5 to 21.5 with 0.5.
      why_not: why no evaluation on val2017 can be held against them; "" where it can.
    """

    model: str
    arxiv: str
    paper: str
    dataset: str
    figures: dict[str, float]
    source: str
    score_threshold: float = 0.0
    max_detections: int = 100
    categories: str = ""
    rounding: float = 0.05
    why_not: str = ""


def find(model: str | None = None, arxiv: str | None = None) -> list[Published]:
    """The published results of a model's name, or of a paper.

    Args:
      model: a zoo model's or torchvision builder's name, or a name of a paper's table.
      arxiv: an arXiv id, with or without version: every row of that paper.

    Returns:
      list of Published.

    Raises:
      UserError: nothing of that name or id; the message lists what is near.
    """
    results = []
    if model:
        row = zoo.get(model)
        results += [_of_zoo(row)] if row else []
        results += [entry for entry in rows() if entry.model.lower() == model.strip().lower()]
        if not results:
            raise UserError(f"no published results of '{model}' in the kit's tables{_near(model)}")
    if arxiv:
        id = arxiv.strip().lower().removeprefix("arxiv:").split("v")[0]
        of_paper = [entry for entry in rows() if entry.arxiv == id]
        if not of_paper:
            known = sorted({f"{entry.arxiv} ({entry.paper})" for entry in rows() if entry.arxiv})
            raise UserError(
                f"no published results of arXiv {arxiv} in the kit's tables; there are:\n  "
                + "\n  ".join(known)
            )
        results = (
            [entry for entry in results if entry.arxiv == id] or of_paper if results else of_paper
        )
    return results


def given(results: dict[str, float], model: str, on: str = "val2017") -> Published:
    """The figures a user states: `{"box AP": 22.2, "AP50": 36.9}` in points.

    Args:
      results: dict metric name (of METRICS) -> points.
      model: whose they are.
      on: "val2017", or THIS: the images that are evaluated here.

    Raises:
      UserError: an unknown metric's name, or a value that is no figure in points.
    """
    for name, value in results.items():
        if name not in METRICS:
            near = difflib.get_close_matches(name.lower(), [m.lower() for m in METRICS], 1)
            hint = next((f"; did you mean '{m}'?" for m in METRICS if [m.lower()] == near), "")
            raise UserError(f"unknown metric '{name}'{hint} Known are: {', '.join(METRICS)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 < value <= 100:
            raise UserError(f"{name}: {value!r} is no figure in points (22.2, not 0.222)")
    if on not in ("val2017", THIS):
        raise UserError(f"paper_results_on '{on}'; there are: val2017, {THIS}")
    dataset = _HERE if on == THIS else on
    return Published(model, "", "paper_results", dataset, dict(results), "given by the caller")


def compare(published: Iterable[Published], scores: dict[str, dict]) -> list[dict]:
    """Each published figure beside the achieved one.

    Args:
      scores: dict kind of score -> metrics.json dict.

    Returns:
      list of dicts: model, paper, source; the published evaluation's dataset, categories,
      score_threshold, max_detections and rounding; metric, published and achieved in points,
      difference, verdict and reasons (why not comparable, or the distance).
    """
    rows = []
    for entry in published:
        for name, figure in entry.figures.items():
            iou_type, metric = METRICS[name]
            score = scores.get(iou_type)
            if score is None or score["metrics"].get(metric) is None:
                continue
            achieved = 100 * score["metrics"][metric]
            reasons = _reasons(entry, score)
            verdict = "NOT COMPARABLE"
            if not reasons:
                judged = tolerance.judge(
                    [achieved], tolerance.PublishedFigure(figure), "checkpoint"
                )
                verdict, reasons = judged.verdict, [judged.reason]
            rows.append(
                {
                    "model": entry.model,
                    "arxiv": entry.arxiv,
                    "paper": entry.paper,
                    "source": entry.source,
                    "dataset": entry.dataset,
                    "metric": name,
                    "categories": entry.categories,
                    "rounding": entry.rounding,
                    "score_threshold": entry.score_threshold,
                    "max_detections": entry.max_detections,
                    "published": figure,
                    "achieved": achieved,
                    "difference": achieved - figure,
                    "verdict": verdict,
                    "reasons": reasons,
                }
            )
    return rows


def _reasons(entry: Published, score: dict) -> list[str]:
    """Why a score cannot be held against published figures: sentences."""
    cut, cap = entry.score_threshold, entry.max_detections
    if entry.dataset == _HERE:  # with what cut or cap they were made only the caller knows
        return list(comparable.of_evaluators(score))
    reasons = comparable.obstacles(
        _of_persons(score) if entry.categories == "person" else score, cut=cut, cap=cap
    )
    reasons = [entry.why_not] * bool(entry.why_not) + reasons
    if entry.dataset != "val2017":
        reasons = [f"published on {entry.dataset}", *reasons]
    return reasons


def _of_persons(score: dict) -> dict:
    """A score as it is held against figures of persons alone.

    COCO's keypoint file is what such figures are of, boxes among them; of the boxes of 80
    categories it is said that they are something else.
    """
    return score | {"iou_type": "keypoints"}


@functools.cache
def rows() -> tuple[Published, ...]:
    """The kit's table of papers and torchvision."""
    with open(_TABLE, encoding="utf-8", newline="") as table:
        return tuple(
            Published(
                model=row["model"],
                arxiv=row["arxiv"],
                paper=row["paper"],
                dataset=row["dataset"],
                figures={name: float(row[name]) for name in _COLUMNS if row[name]},
                source=row["source"],
                score_threshold=float(row["score_threshold"] or 0),
                max_detections=int(row["max_detections"] or 100),
                categories=row["categories"],
                rounding=float(row["rounding"] or 0.05),
                why_not=row["why_not"],
            )
            for row in csv.DictReader(table)
        )


def _of_zoo(row: zoo.Row) -> Published:
    figures = [row.figure(kind) for kind in zoo.KINDS]
    published = [figure for figure in figures if figure is not None]
    return Published(
        model=row.archive,
        arxiv="",
        paper="TensorFlow 2 Detection Model Zoo",
        dataset="val2017",
        figures={f"{figure.kind} AP": figure.points for figure in published},
        source=f"{published[0].document}@{published[0].commit}" if published else "",
    )


def _near(model: str) -> str:
    names = {entry.model.lower(): entry.model for entry in rows()}
    names |= {name.lower(): name for row in zoo.rows() for name in row.names}
    close = difflib.get_close_matches(model.lower(), names, n=3, cutoff=0.5)
    return "".join(f"\n  did you mean {names[name]}?" for name in close)
