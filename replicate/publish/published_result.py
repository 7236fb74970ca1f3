"""What is published of a run directory or of a benchmark's record, whichever format asks."""

import dataclasses
import os
import pathlib
from typing import Any

from replicate import __version__, zoo
from replicate import score as scoring
from replicate.errors import UserError
from replicate.publish import places
from replicate.run import RunDir, read_json
from replicate.score.text import KINDS
from replicate.verdict import FIGURES, NO_REFERENCE, comparable, official
from replicate.verdict.deciding import NOT_COMPARABLE
from replicate.zoo import vision


@dataclasses.dataclass(frozen=True)
class PublisherTerms:
    """What the publisher says, which no file of the kit knows.

    Attributes:
      organization: who publishes.
      model_id: of the model, "owner/name"; "" makes one of the organization and the model's name.
      relationship: of who evaluated to who made the model: "first_party", "third_party",
        "collaborative" or "other"; "" is first_party of a trained run, third_party of a record.
      dataset_id, task_id: of the benchmark on the Hugging Face Hub.
      source_url: where the result can be looked at.
      license: of the model, or of the data set, as the user names it.
      samples: halves of the images for intervals, as tools/score.py's; 0 for none.
      leaderboard: whether the entry of a leaderboard is written although the result is none of
        COCO's (`PublishedResult.no_entry`): the benchmark is then of the images that were scored.
    """

    organization: str = ""
    model_id: str = ""
    relationship: str = ""
    dataset_id: str = ""
    task_id: str = "default"
    source_url: str = ""
    license: str = ""
    samples: int = 200
    leaderboard: bool = False


@dataclasses.dataclass(frozen=True)
class PublishedResult:
    """One result.

    Attributes:
      name: of the run or the model.
      model: what was evaluated: the zoo model's name, or the record's.
      scores: the scores by their kind, each with metrics, evaluators and protocol.
      images: how many were scored.
      annotations_file, annotations_sha256: the groundtruth, as it was named, and its hash.
      detections: path of the COCO results, or None where they are not at hand.
      verdict: dict of verdict.json, or None (a record); without absolute paths, as command and
        model are (`places`).
      command: that made it, or None.
      step: of the checkpoint, or None.
      checkpoint_sha256: of the weights, or None.
      environment: dict of environment.json, or None.
      trained: whether the run trained the model.
      run: the run directory, or None.
      compared: a record's published figures, each with its verdict; [] of a run.
      rehearsal: whether the run was launched as one.
    """

    name: str
    model: str
    scores: dict[str, dict]
    images: int
    annotations_file: str
    annotations_sha256: str
    detections: pathlib.Path | None
    verdict: dict | None
    command: str | None
    step: int | None
    checkpoint_sha256: str | None
    environment: dict | None
    trained: bool
    run: RunDir | None
    compared: list[dict] = dataclasses.field(default_factory=list)
    rehearsal: bool = False

    @property
    def is_of_coco(self) -> bool:
        """Whether the scored categories are known to be COCO's."""
        return all(
            "per_category" in score and not list(comparable.of_categories(score))
            for score in self.scores.values()
        )

    @property
    def no_entry(self) -> str | None:
        """Why this is no entry of COCO's leaderboards, in words; None where nothing speaks
        against it."""
        if self.rehearsal:
            return "the run was a rehearsal (--rehearsal)"
        decided = self.verdict["verdict"] if self.verdict else None
        if decided in (NOT_COMPARABLE, NO_REFERENCE):
            return f"the verdict is {decided}"
        if self.run is not None and not decided:
            return "the run has no verdict (tools/verdict.py gives one)"
        for row in self.compared:
            if row["verdict"] == NOT_COMPARABLE:
                return f"{NOT_COMPARABLE} to {row['model']}'s figure"
        if self.images != official.VAL2017.images:
            return f"{self.images:,} images were scored; val2017 has {official.VAL2017.images:,}"
        return None

    @property
    def collection(self) -> str | None:
        """Who published the model that the run trains; None where it is nobody's known here."""
        if vision.get(self.model) is not None:
            return "TF-Vision"
        return "the TensorFlow 2 Detection Model Zoo" if zoo.get(self.model) else None

    @property
    def data(self) -> str:
        """The images in words."""
        name = "COCO" if self.is_of_coco else pathlib.Path(self.annotations_file).name
        return f"{name}, {self.images:,} images"

    @property
    def headline(self) -> str:
        """The verdict in a sentence, or what a record says instead."""
        if self.verdict:
            return self.verdict["headline"]
        said = "a benchmark, no verdict on a run"
        if self.compared:
            row = self.compared[0]
            said += (
                f"; held against {row['model']}'s published {row['metric']} "
                f"{row['published']:.1f}: {row['verdict']}"
            )
        return said

    def points(self, iou_type: str) -> float | None:
        """AP of a kind in points, None where it is undefined."""
        ap = self.scores[iou_type]["metrics"]["AP"]
        return None if ap is None else 100 * ap

    def figure_text(self, iou_type: str) -> str:
        """ "box AP 22.20" """
        points = self.points(iou_type)
        return f"{figure(iou_type)} " + ("undefined" if points is None else f"{points:.2f}")

    def published(self) -> dict[str, float]:
        """Published figures of the zoo model by name, in points."""
        row = zoo.get(self.model)
        if row is None:
            return {}
        return {
            name: published_figure.points
            for name, attribute in FIGURES.values()
            if (published_figure := row.figure(attribute.removesuffix("_map"))) is not None
        }

    def interval(self, iou_type: str, samples: int) -> dict[str, dict]:
        """95 % intervals over images by metric (`score.intervals`); {} where none can be told.

        That needs the detections and the groundtruth that they were scored against, by its hash.
        """
        if not samples or self.detections is None:
            return {}
        if not pathlib.Path(self.annotations_file).is_file():
            return {}
        fix = [repair["problem"] for repair in self.scores[iou_type].get("repairs", [])]
        result = scoring.score(
            self.annotations_file, self.detections, iou_type=iou_type, evaluator="hotcoco", fix=fix
        )
        if result.groundtruth.sha256 != self.annotations_sha256:
            return {}
        return scoring.intervals(result, samples=samples)


def figure(iou_type: str) -> str:
    """ "box AP" """
    return FIGURES[iou_type][0]


def kind(iou_type: str) -> str:
    """ "boxes" """
    return KINDS[iou_type]


def of(source: str | os.PathLike[str]) -> PublishedResult:
    """The PublishedResult of a run directory or of the record of tools/benchmark.py.

    Raises:
      UserError: neither, without an evaluation, or scored before the kit wrote protocols.
    """
    path = pathlib.Path(source)
    if path.is_dir() or path.name == "pipeline.config":
        return _of_run(RunDir.existing(path))
    record = read_json(path)
    if not isinstance(record, dict) or not {"model", "dataset", "metrics"} <= set(record):
        raise UserError(
            f"{path}: neither a run directory nor a record of tools/benchmark.py --output"
        )
    _require_protocol(path, "protocol" in record)
    return _of_record(path, record)


def _of_run(run: RunDir) -> PublishedResult:
    steps = run.evaluated_steps()
    if not steps:
        raise UserError(
            f"{run.root}: nothing to publish, no complete evaluation in it; "
            f"python tools/evaluate.py --model_dir={run.root} makes one"
        )
    scores = run.scores_at(steps[-1])
    folder = run.eval_at(steps[-1])
    _require_protocol(folder / "metrics.json", all("protocol" in score for score in scores))
    verdict = read_json(run.verdict) if run.verdict.is_file() else None
    _require_one_figure(run, verdict, scores)
    spec = read_json(run.spec)
    request: dict[str, Any] = spec.get("request") or {}
    known = [run.root.resolve(), *(each for each in request.values() if isinstance(each, str))]
    known += [score["annotations"]["file"] for score in scores]
    model = request.get("model") or spec.get("model") or run.root.resolve().name
    preflight = read_json(run.preflight) if run.preflight.is_file() else {}
    return PublishedResult(
        name=run.root.resolve().name,
        model=places.everywhere(model, known),
        scores={score["iou_type"]: score for score in scores},
        images=scores[0]["annotations"]["images"],
        annotations_file=scores[0]["annotations"]["file"],
        annotations_sha256=scores[0]["annotations"]["sha256"],
        detections=folder / "detections.json.gz",
        verdict=places.everywhere(verdict, known),
        command=places.everywhere(spec.get("command"), known),
        step=steps[-1],
        checkpoint_sha256=(scores[0].get("checkpoint") or {}).get("sha256"),
        environment=read_json(run.environment) if run.environment.is_file() else None,
        trained=True,
        run=run,
        rehearsal=bool(preflight.get("rehearsal")),
    )


def _of_record(path: pathlib.Path, record: dict) -> PublishedResult:
    evaluators = record["evaluators"]["versions"]
    known = [record["dataset"]["annotations_file"]]
    return PublishedResult(
        name=path.stem,
        model=places.everywhere(record["model"]["name"], known),
        scores={
            iou_type: {
                "iou_type": iou_type,
                "metrics": metrics,
                "versions": evaluators,
                "protocol": record["protocol"][iou_type],
            }
            for iou_type, metrics in record["metrics"].items()
        },
        images=record["dataset"]["images"],
        annotations_file=record["dataset"]["annotations_file"],
        annotations_sha256=record["dataset"]["annotations_sha256"],
        detections=None,
        verdict=None,
        command=None,
        step=None,
        checkpoint_sha256=None,
        environment=None,
        trained=False,
        run=None,
        compared=places.everywhere(record.get("published") or [], known),
    )


def _require_one_figure(run: RunDir, verdict: dict | None, scores: list[dict]) -> None:
    """Raises UserError where the verdict was decided of other figures than metrics.json's."""
    achieved = (verdict or {}).get("achieved") or {}
    for score in scores:
        name, ap = figure(score["iou_type"]), score["metrics"]["AP"]
        decided = achieved.get(name)
        if ap is not None and decided is not None and abs(decided - 100 * ap) > 1e-6:
            raise UserError(
                f"{run.verdict}: decided of {name} {decided:.2f}, and metrics.json has "
                f"{100 * ap:.2f}; python tools/verdict.py {run.root} --output={run.verdict} "
                "decides anew"
            )


def _require_protocol(path: pathlib.Path, there: bool) -> None:
    if not there:
        raise UserError(
            f"{path}: from before scores named their protocol; remove it and make it again, a "
            "result is published with the protocol it was measured by"
        )


def kit() -> str:
    """The kit's name with its version."""
    return f"replicate-tf2-zoo {__version__}"
