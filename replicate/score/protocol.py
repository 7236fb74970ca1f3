"""The protocol a score was measured by, as a block of its own whose hash tells two apart.

A score without its protocol cannot be compared: the evaluator and its version, the thresholds and
limits it took from its own parameters, how crowds count, which images with which annotations, what
was done to the detections, and how they were made where that is known. `of` reads the parameters
off the evaluators' own objects, so that the block says what ran and not what was meant.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.score.detections import Detections
    from replicate.score.evaluators import EvaluatorFigures
    from replicate.score.groundtruth import Groundtruth

HASH = "sha256"
_COLUMNS = ("boxes", "areas", "crowds", "categories")
#: What of an "inference" (metrics.json) decides the detections; the rest is about speed.
_MAKING = ("decoder", "decoder_version", "suppression")
# pycocotools' computeIoU and evaluateImg: iscrowd makes the union the detection's own area, and
# gtIgnore takes matched detections out of the count; hotcoco does the same.
_CROWDS = (
    "ignore regions: a detection matched to one, by intersection over the detection's own area, "
    "counts neither as right nor as wrong"
)


class ResultLike(Protocol):
    """What of a `Result` its protocol is read off."""

    @property
    def iou_type(self) -> str: ...
    @property
    def evaluations(self) -> "dict[str, EvaluatorFigures]": ...
    @property
    def groundtruth(self) -> "Groundtruth": ...
    @property
    def detections(self) -> "Detections": ...
    @property
    def image_ids(self) -> list[int]: ...
    @property
    def repairs(self) -> list[dict]: ...


def of(result: ResultLike, inference: dict | None = None) -> dict[str, Any]:
    """The protocol block of a Result.

    Args:
      inference: the "inference" of metrics.json; None where it is not known how the detections
        were made.

    Returns:
      dict: iou_type, evaluators (name -> version), provenance (hotcoco's own word on its
      parameters, None where it was not asked), iou_thresholds, recall_thresholds (their number),
      max_detections, area_ranges_px2 (name -> [low, high]), oks_sigmas (keypoints), by_category,
      crowds, areas_of, images {count, image_ids_sha256, annotations {column: SHA-256}},
      detections {score_threshold, cap_per_image, repairs}, inference {decoder, decoder_version,
      suppression, jit_compile where XLA compiled} or None, and sha256 over all of it.

    Raises:
      UserError: the evaluators did not take the same parameters.
    """
    evaluations = list(result.evaluations.values())
    parameters = [_parameters(evaluation, result.iou_type) for evaluation in evaluations]
    for other, evaluation in zip(parameters[1:], evaluations[1:], strict=True):
        if other != parameters[0]:
            raise UserError(
                f"{evaluations[0].name} and {evaluation.name} were run with different parameters: "
                f"{parameters[0]} and {other}"
            )
    truth = result.groundtruth.identity(result.image_ids)
    facts = result.detections.facts(result.image_ids)
    return sealed(
        {
            "iou_type": result.iou_type,
            "evaluators": {evaluation.name: evaluation.version for evaluation in evaluations},
            "provenance": _provenance(evaluations),
            **parameters[0],
            "crowds": _CROWDS,
            "areas_of": "the annotations' own area field",
            "images": {
                "count": truth["images"],
                "image_ids_sha256": truth["image_ids_sha256"],
                "annotations": {name: truth["content"][name] for name in _COLUMNS},
            },
            "detections": {
                "score_threshold": facts["score_threshold"],
                "cap_per_image": facts["cap_per_image"],
                "repairs": [repair["problem"] for repair in result.repairs],
            },
            "inference": inference and _making(inference),
        }
    )


def _making(inference: dict) -> dict:
    making = {name: inference.get(name) for name in _MAKING}
    return making | {name: True for name in ("jit_compile", "tf32") if inference.get(name)}


def sealed(block: dict) -> dict:
    """`block` with the hash of what else is in it; a change of anything changes it."""
    content = {name: value for name, value in block.items() if name != HASH}
    return content | {HASH: digest(content)}


def digest(content: dict) -> str:
    """SHA-256 of a block as JSON with sorted keys and no spaces, in UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(a: dict, b: dict, prefix: str = "") -> list[str]:
    """Paths of the fields in which two blocks differ, the hashes left out."""
    paths = []
    for name in dict.fromkeys([*a, *b]):
        path = f"{prefix}{name}"
        if path == HASH:
            continue
        mine, theirs = a.get(name), b.get(name)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            paths += differences(mine, theirs, f"{path}.")
        elif mine != theirs:
            paths.append(path)
    return paths


def _parameters(evaluation: "EvaluatorFigures", iou_type: str) -> dict[str, Any]:
    parameters = evaluation.handle.params
    ranges = zip(parameters.areaRngLbl, parameters.areaRng, strict=True)
    read: dict[str, Any] = {
        # 0.8999999999999999 of one and 0.9 of the other are the same threshold.
        "iou_thresholds": np.round(parameters.iouThrs, 6).tolist(),
        "recall_thresholds": len(parameters.recThrs),
        "max_detections": [int(count) for count in parameters.maxDets],
        "area_ranges_px2": {name: [float(low), float(high)] for name, (low, high) in ranges},
        "by_category": bool(parameters.useCats),
    }
    if iou_type == "keypoints":
        read["oks_sigmas"] = np.round(parameters.kpt_oks_sigmas, 6).tolist()
    return read


def _provenance(evaluations: "list[EvaluatorFigures]") -> str | None:
    """ "parity_verified" or "extension", as hotcoco says of the parameters it ran with."""
    handles = [evaluation.handle for evaluation in evaluations if evaluation.name == "hotcoco"]
    return str(handles[0].provenance()) if handles else None
