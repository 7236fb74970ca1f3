"""The interval of the difference between two evaluations of the same images."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from replicate.errors import UserError
from replicate.score import over_images

if TYPE_CHECKING:
    from replicate.score import Result
    from replicate.verdict.references import ScoreFiles

#: Halves of the images that are scored.
_SAMPLES = 200
_SAME = 1e-9  # an AP that is scored again


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """The difference of two evaluations in one metric.

    Attributes:
      interval90: points; standard_error: points; freedom: degrees of freedom.
      images: number of images.
    """

    interval90: tuple[float, float]
    standard_error: float
    freedom: int
    images: int


def difference(
    ours: "ScoreFiles", theirs: "ScoreFiles", metric: str = "AP"
) -> PairedDifference | str:
    """The PairedDifference of two evaluations, or in words why it cannot be told.

    Args:
      ours, theirs: references.ScoreFiles of one kind of evaluation and the same images.
      metric: which figure.
    """
    images = ours.metrics["annotations"]["images"]
    if images < over_images.FEWEST_IMAGES:
        return (
            f"{images} images are too few for an interval over them, which takes "
            f"{over_images.FEWEST_IMAGES}"
        )
    try:
        results = [_scored_again(score, metric, [ours, theirs]) for score in (ours, theirs)]
    except UserError as error:
        return f"no interval over the images: {error}"
    compared = over_images.compare(*results, samples=_SAMPLES, confidence=0.9)
    interval = compared["intervals"].get(metric)
    if interval is None:
        return "no interval over the images: many halves of them leave the figure undefined"
    return PairedDifference(
        (100 * interval["low"], 100 * interval["high"]),
        100 * interval["standard_error"],
        over_images.DEGREES_OF_FREEDOM,
        images,
    )


def _scored_again(score: "ScoreFiles", metric: str, both: list["ScoreFiles"]) -> "Result":
    """The detections of an evaluation, scored as they were.

    Raises:
      UserError: files that are gone, or that give another figure.
    """
    from replicate import score as scoring

    known = score.metrics
    truth = _annotations(known["annotations"]["sha256"], both)
    if not score.detections or not pathlib.Path(score.detections).is_file():
        raise UserError(f"the detections are not there ({score.detections or 'no file is named'})")
    whole = known["annotations"]["images"] == known["annotations"]["images_in_file"]
    result = scoring.score(
        truth,
        score.detections,
        iou_type=known["iou_type"],
        evaluator="hotcoco",
        num_images=None if whole else known["annotations"]["images"],
        fix=[repair["problem"] for repair in known.get("repairs", [])],
    )
    before, again = known["metrics"][metric], result.metrics[metric]
    if before is None or again is None or abs(before - again) > _SAME:
        raise UserError(
            f"{score.detections} gives another {metric} than its metrics.json has "
            f"({again} for {before})"
        )
    return result


def _annotations(sha256: str, scores: list["ScoreFiles"]) -> str:
    """A path with the annotations of that hash, as either evaluation names it."""
    from replicate.score import Groundtruth

    for score in scores:
        path = score.annotations
        if path and pathlib.Path(path).is_file() and Groundtruth.read(path).sha256 == sha256:
            return path
    names = " and ".join(dict.fromkeys(score.annotations for score in scores))
    raise UserError(f"the annotations that were scored are not there any more ({names})")
