"""`score`: a groundtruth file and detections in, the metrics out."""

import dataclasses
import os
from collections.abc import Collection, Iterable

import numpy as np

from replicate import python_api
from replicate.errors import UserError
from replicate.score import protocol, segmentations, text
from replicate.score.checks import checked
from replicate.score.detections import Detections
from replicate.score.evaluators import EVALUATORS, EvaluatorFigures, evaluate, per_category
from replicate.score.groundtruth import FIELDS, Groundtruth

# Both evaluators take the same means in another order: the last bit may differ, no more.
AGREEMENT = 1e-12


class EvaluatorsDisagree(UserError):
    """The evaluators give different figures for the same detections.

    Attributes:
      result: the Result, with `agree` False.
    """

    def __init__(self, message: str, result: "Result") -> None:
        super().__init__(message)
        self.result = result


@dataclasses.dataclass(frozen=True)
class Result:
    """The metrics of detections against a groundtruth.

    Attributes:
      iou_type: "bbox", "segm" or "keypoints".
      metrics: dict name -> value in 0..1, None where undefined: METRICS[iou_type]. They are
        pycocotools' where it was asked, otherwise hotcoco's.
      evaluations: dict evaluator's name -> EvaluatorFigures, of those that were asked.
      agree: whether the evaluators give the same figures; None where only one was asked.
      per_category: see `evaluators.per_category`.
      groundtruth, detections: what was scored, after repairs.
      image_ids: ids of the scored images, ascending.
      repairs: what was mended in the detections, by request: see `checks.checked`.
      notes: what else is to be known of the detections: sentences.
    """

    iou_type: str
    metrics: dict[str, float | None]
    evaluations: dict[str, EvaluatorFigures] = dataclasses.field(repr=False)
    agree: bool | None
    per_category: list[dict] = dataclasses.field(repr=False)
    groundtruth: Groundtruth = dataclasses.field(repr=False)
    detections: Detections = dataclasses.field(repr=False)
    image_ids: list[int] = dataclasses.field(repr=False)
    repairs: list[dict]
    notes: list[str]

    def __repr__(self) -> str:
        figures = [name for name in ("AP", "AP50", "AR@100") if name in self.metrics]
        shown = ", ".join(f"{name} {text.shown(self.metrics[name])}" for name in figures)
        return f"<score of {self.iou_type} on {len(self.image_ids):,} images: {shown}>"

    def _repr_html_(self) -> str:
        return python_api.table(
            f"{self.iou_type} on {len(self.image_ids):,} images",
            ["metric", *self.evaluations],
            [
                (name, *(text.shown(by.metrics[name]) for by in self.evaluations.values()))
                for name in self.metrics
            ],
            self.notes,
        )

    def to_json(self, inference: dict | None = None) -> dict:
        """What `metrics.json` holds; docs/scoring.md describes it.

        Args:
          inference: how the detections were made; None where it is not known.
        """
        return ({"inference": inference} if inference else {}) | {
            "protocol": protocol.of(self, inference),
            "iou_type": self.iou_type,
            "metrics": self.metrics,
            "evaluators": {
                name: evaluation.metrics for name, evaluation in self.evaluations.items()
            },
            "versions": {name: evaluation.version for name, evaluation in self.evaluations.items()},
            "agree": self.agree,
            "annotations": self.groundtruth.identity(self.image_ids),
            "detections": self.detections.facts(self.image_ids) | self._missed(),
            "repairs": self.repairs,
            "notes": self.notes,
            "per_category": self.per_category,
        }

    def _missed(self) -> dict[str, int]:
        """How many scored images have no detections, and how many objects (no crowds) they hold."""
        without = np.setdiff1d(self.image_ids, self.detections.image_ids)
        truth = self.groundtruth
        missed = np.isin(truth.annotation_image_ids, without) & ~truth.annotation_crowd
        return {"images_without": len(without), "objects_in_images_without": int(missed.sum())}

    def table(self) -> str:
        """The metrics as text, one a line; beside each other where two evaluators were asked."""
        return text.of_metrics(
            {name: evaluation.metrics for name, evaluation in self.evaluations.items()}
        )


def score(
    annotations_file: str | os.PathLike,
    detections: Detections | str | os.PathLike | Iterable[dict],
    *,
    iou_type: str = "bbox",
    evaluator: str = "both",
    image_ids: Iterable[int] | None = None,
    num_images: int | None = None,
    fix: str | Collection[str] = (),
) -> Result:
    """Scores detections as COCO does.

    Args:
      annotations_file: path of COCO instance annotations, `.json` or `.json.gz`.
      detections: path of COCO results JSON (`.json`, `.json.gz`), or a list of such dicts:
        image_id, category_id, score and bbox [x, y, width, height] in px (or segmentation, a
        compressed RLE; or keypoints, x, y, v flat).
      iou_type: "bbox", "segm" or "keypoints".
      evaluator: "hotcoco", "pycocotools" or "both".
      image_ids: score these images alone (detections on others are left out); default all.
      num_images: score only the first `num_images` of them, in ascending order of id.
      fix: one or more codes of problems of the detections to mend, see `checks.CHECKS`.

    Raises:
      UserError: an input that is not what it should be; every problem of the detections is named
        with the fix that mends it.
      EvaluatorsDisagree: the evaluators' figures differ by more than 1e-12.
    """
    if iou_type not in FIELDS:
        raise UserError(f"iou_type '{iou_type}'; there are: {', '.join(FIELDS)}")
    if evaluator not in (*EVALUATORS, "both"):
        raise UserError(f"evaluator '{evaluator}'; there are: {', '.join(EVALUATORS)}, both")
    python_api.whole("num_images", num_images)
    fix = (fix,) if isinstance(fix, str) else fix
    if detections is None:
        raise UserError("no detections: give a path of COCO results JSON, or a list of its dicts")
    groundtruth = Groundtruth.read(annotations_file)
    detections = Detections.of(detections, iou_type)
    detections, repairs, notes = checked(detections, groundtruth, fix)
    if iou_type == "segm":
        segmentations.check_groundtruth(groundtruth)

    scored_ids = sorted(groundtruth.image_hw)
    if image_ids is not None:
        absent = sorted(set(image_ids) - set(scored_ids))
        if absent:
            raise UserError(f"{annotations_file}: no image {absent[0]} to score in it")
        if not set(image_ids):
            raise UserError("image_ids names no image to score")
        scored_ids = sorted(set(image_ids))
    scored_ids = scored_ids[:num_images]
    if len(scored_ids) < len(groundtruth.image_hw):
        detections = detections.select(np.isin(detections.image_ids, scored_ids))

    names = EVALUATORS if evaluator == "both" else (evaluator,)
    evaluations = {name: evaluate(name, groundtruth, detections, scored_ids) for name in names}
    return judged(groundtruth, detections, scored_ids, evaluations, repairs, notes)


def judged(
    groundtruth: Groundtruth,
    detections: Detections,
    scored_ids: list[int],
    evaluations: dict[str, EvaluatorFigures],
    repairs: Iterable[dict] = (),
    notes: Iterable[str] = (),
) -> Result:
    """The Result of what the evaluators say, if they say the same.

    Args:
      groundtruth, detections, repairs, notes: as in Result.
      scored_ids: ids of the scored images, ascending.
      evaluations: dict evaluator's name -> EvaluatorFigures, the official one last.

    Raises:
      EvaluatorsDisagree: the evaluators' figures differ by more than 1e-12.
    """
    # The official word where it was asked for.
    headline = list(evaluations.values())[-1]
    differing = _differing(evaluations)
    result = Result(
        iou_type=detections.iou_type,
        metrics=headline.metrics,
        evaluations=evaluations,
        agree=None if len(evaluations) == 1 else not differing,
        per_category=per_category(headline, groundtruth, detections, scored_ids),
        groundtruth=groundtruth,
        detections=detections,
        image_ids=scored_ids,
        repairs=list(repairs),
        notes=list(notes),
    )
    if differing:
        raise EvaluatorsDisagree(
            f"the evaluators disagree on {', '.join(differing)}: no figure can be trusted. Keep "
            f"the two files and report it to the kit\n{result.table()}",
            result,
        )
    return result


def _differing(evaluations: dict[str, EvaluatorFigures]) -> list[str]:
    """Names of the metrics on which evaluators differ."""
    first, *others = [evaluation.metrics for evaluation in evaluations.values()]
    return [
        name
        for name, value in first.items()
        if any(not _same(value, other[name]) for other in others)
    ]


def _same(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else abs(a - b) <= AGREEMENT
