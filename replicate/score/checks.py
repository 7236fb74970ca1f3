"""Detections that cannot be meant as they are: found, named, and mended on request."""

import dataclasses

import numpy as np

from replicate.errors import UserError


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem of the detections.

    Attributes:
      code: its name, as `--fix` takes it.
      message: what is wrong and where.
      remedy: what `--fix=CODE` does about it.
      mend: function Detections -> Detections that does it.
    """

    code: str
    message: str
    remedy: str
    mend: object


def checked(detections, groundtruth, fix=()):
    """The detections, mended where asked, with a note of each repair.

    Args:
      detections: Detections.
      groundtruth: Groundtruth.
      fix: codes of the problems to mend.

    Returns:
      (Detections, list of dicts "problem", "message", "remedy" that were mended).

    Raises:
      UserError: a problem that `fix` does not name; the message lists all with their remedies.
    """
    unknown = sorted(set(fix) - set(CHECKS))
    if unknown:
        raise UserError(f"unknown fix '{unknown[0]}'; there are: {', '.join(CHECKS)}")
    mended, open_problems = [], []
    for code, find in CHECKS.items():
        problem = find(detections, groundtruth)
        if problem is None:
            continue
        if code not in fix:
            open_problems.append(problem)
            continue
        detections = problem.mend(detections)
        mended.append({"problem": code, "message": problem.message, "remedy": problem.remedy})
    if open_problems:
        where = detections.file or "detections"
        raise UserError(
            "\n".join(
                f"{where}: {each.message}\n  --fix={each.code} {each.remedy}"
                for each in open_problems
            )
        )
    return detections, mended


def _not_finite(detections, _):
    bad = ~np.isfinite(detections.scores)
    if not bad.any():
        return None
    return Problem(
        code="not_finite",
        message=(
            f"{_number(bad)} have a score that is no finite number, {_first(bad, detections)}; "
            "they have no place in the ranking"
        ),
        remedy="leaves them out",
        mend=lambda detections: detections.select(~bad),
    )


def _unknown_images(detections, groundtruth):
    bad = ~np.isin(detections.image_ids, list(groundtruth.image_hw))
    if not bad.any():
        return None
    return Problem(
        code="unknown_images",
        message=(
            f"{_number(bad)} are of images that {groundtruth.path} does not have, "
            f"{_first(bad, detections)}; is it the annotation file of these images?"
        ),
        remedy="leaves them out",
        mend=lambda detections: detections.select(~bad),
    )


def _unknown_categories(detections, groundtruth):
    bad = ~np.isin(detections.category_ids, list(groundtruth.categories))
    if not bad.any():
        return None
    unknown = sorted(set(detections.category_ids[bad].tolist()))
    return Problem(
        code="unknown_categories",
        message=(
            f"{_number(bad)} have a category id that {groundtruth.path} does not have "
            f"({_some(unknown)}), {_first(bad, detections)}"
        ),
        remedy="leaves them out",
        mend=lambda detections: detections.select(~bad),
    )


CHECKS = {
    "not_finite": _not_finite,
    "unknown_images": _unknown_images,
    "unknown_categories": _unknown_categories,
}


def _number(bad):
    return f"{int(bad.sum()):,} of {len(bad):,} detections"


def _first(bad, detections):
    index = int(np.flatnonzero(bad)[0])
    return (
        f"the first at position {index} (image {detections.image_ids[index]}, "
        f"category {detections.category_ids[index]}, score {detections.scores[index]:.4g})"
    )


def _some(values, count=6):
    shown = ", ".join(str(each) for each in values[:count])
    return shown + (f", … {len(values)} in all" if len(values) > count else "")
