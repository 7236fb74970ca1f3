"""The same images under each run of a comparison."""

import numpy as np

from replicate import score
from replicate.evenly import evenly
from replicate.report import gallery
from replicate.report.findings import Scored
from replicate.report.participants import Participant
from replicate.score.groundtruth import Groundtruth

# With more runs than this, the gallery has each one's last checkpoint alone.
RUNS_WITH_STEPS = 8
STEPS = 4
# From which detections are drawn at first where the one with the best F1 is not known.
START_SCORE = 0.3

#: Participants whose detections were scored, by their keys.
ByKey = dict[str, tuple[Participant, score.Result]]


def gallery_of(together: ByKey, base: Participant, count: int) -> dict:
    """The same images under each run: those on which the runs differ most.

    Returns:
      like gallery.gallery's, with detections by run and step: {run: {step: [...]}}; a benchmark's
      step is "".
    """

    def diagnosed(participant: Participant, index: int = -1) -> Scored:
        result = participant.scored(index)
        diagnostics = result.evaluations["hotcoco"].handle.image_diagnostics()
        return Scored(participant.evaluations[index].step, {}, result, diagnostics)

    last = {key: diagnosed(participant) for key, (participant, _) in together.items()}
    of_base = last[base.key]
    truth = of_base.result.groundtruth
    chosen = _most_different(last, truth, count)
    annotations = gallery.annotations_of(of_base, chosen)
    best = {key: _best_threshold(participant) for key, (participant, _) in together.items()}
    min_score, start = gallery.lowest_score(best.values()), best[base.key]
    detections = {}
    for key, (participant, _) in together.items():
        indices = (
            _steps(participant)
            if len(together) <= RUNS_WITH_STEPS
            else [len(participant.evaluations) - 1]
        )
        detections[key] = {
            str(participant.evaluations[index].step or ""): gallery.detections_of(
                last[key]
                if index == len(participant.evaluations) - 1
                else diagnosed(participant, index),
                annotations,
                min_score,
            )
            for index in indices
        }
    return {
        "runs": list(together),
        "categories": {str(key): name for key, name in truth.categories.items()},
        "iou_threshold": of_base.diagnostics["iou_thr"],
        "detection_fields": gallery.DETECTION_FIELDS,
        "min_score": min_score,
        # The best F1's of the baseline, where it is known.
        "start_score": START_SCORE if start is None else max(start, min_score),
        "images": [
            {
                "id": image_id,
                "file_name": truth.file_names[image_id],
                "image_hw": list(truth.image_hw[image_id]),
                "ap50": {
                    key: (evaluation.diagnostics["img_summary"].get(image_id) or {}).get("ap")
                    for key, evaluation in last.items()
                },
                "groundtruth": gallery.groundtruth_of(annotations[image_id]),
                "detections": {
                    key: {step: of_images[image_id] for step, of_images in steps.items()}
                    for key, steps in detections.items()
                },
            }
            for image_id in chosen
        ],
    }


def _best_threshold(participant: Participant) -> float | None:
    """The score with the best F1 of a run; of a benchmark its record does not say it."""
    analysis = participant.report.get("analysis") or {}
    return (analysis.get("f1") or {}).get("best_threshold")


def _steps(participant: Participant) -> list[int]:
    """Indices of at most STEPS of a run's evaluations, the last one among them."""
    return evenly(range(len(participant.evaluations)), STEPS)


def _most_different(last: dict[str, Scored], truth: Groundtruth, count: int) -> list[int]:
    """Ids of the images whose AP50 differs most between the runs."""
    annotated = np.unique(truth.annotation_image_ids[~truth.annotation_crowd]).tolist()

    def spread(image_id: int) -> float:
        values = [
            (evaluation.diagnostics["img_summary"].get(image_id) or {}).get("ap") or 0.0
            for evaluation in last.values()
        ]
        return max(values) - min(values)

    return sorted(annotated, key=lambda image_id: (-spread(image_id), image_id))[:count]
