"""Reason 15: the evaluators disagree, on made detections and on the trial's."""

from collections.abc import Iterator, Sequence

import numpy as np

from replicate import score
from replicate.errors import UserError
from replicate.evenly import evenly
from replicate.preflight.data_checks import GIVE
from replicate.preflight.forecast import Forecast
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.result import CheckFinding, Note, breaks, mind
from replicate.score.groundtruth import Groundtruth

_SCORED = 100  # images that detections are made for


def agreement(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """15: the evaluators disagree, on made detections and on the trial's."""
    path = facts.intent.val_annotations
    if not path:
        yield mind("not told: no annotation file was given", GIVE.format("val"))
        return
    try:
        truth = Groundtruth.read(path)
        ids = evenly(sorted(truth.image_hw), _SCORED)
        result = score.score(path, made_detections(truth, ids), image_ids=ids)
    except UserError as error:
        yield breaks(str(error).splitlines()[0], "mend the annotation file, or take COCO's own")
        return
    versions = " and ".join(
        f"{evaluation.name} {evaluation.version}" for evaluation in result.evaluations.values()
    )
    yield Note(f"{versions} agree on made detections of {len(ids)} images")


def of_trial(facts: LaunchFacts, trial: dict, forecast: Forecast) -> Iterator[CheckFinding]:
    """15, the other half: the detections of the trial's two images."""
    if "evaluation" in trial:
        if not trial["evaluation"]["detections"]:
            yield Note("the trial detected nothing")
        elif trial["evaluation"]["agree"]:
            yield Note(f"and on the {trial['evaluation']['detections']} of the trial")
        else:
            yield breaks("they disagree on the trial's detections", "keep them and report it")


def made_detections(truth: Groundtruth, image_ids: Sequence[int]) -> list[dict]:
    """Detections drawn from the groundtruth: shifted boxes, some of another category, some twice.

    Args:
      truth: Groundtruth.
      image_ids: ids of the images.

    Returns:
      list of COCO results; the same for the same groundtruth.
    """
    rng = np.random.default_rng(len(truth.annotation_image_ids))
    category_ids = list(truth.categories)
    detections = []
    for row in np.flatnonzero(np.isin(truth.annotation_image_ids, image_ids)):
        box = truth.annotation_boxes_xywh_px[row]
        if np.isnan(box).any():
            continue
        category = int(truth.annotation_category_ids[row])
        for twin in range(int(rng.integers(1, 3))):
            other = rng.random() < 0.1
            shifted = box + rng.normal(0, 0.05, 4) * np.tile(box[2:], 2)
            detections.append(
                {
                    "image_id": int(truth.annotation_image_ids[row]),
                    "category_id": int(rng.choice(category_ids)) if other else category,
                    "bbox": [float(value) for value in (*shifted[:2], *abs(shifted[2:]))],
                    # Steps of a twentieth: equal scores, which evaluators order each its own way.
                    "score": round(float(rng.random()) * 20) / 20 + 0.01 * twin,
                }
            )
    return detections
