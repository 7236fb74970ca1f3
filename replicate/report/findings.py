"""What the detections of a run say when they are scored again: curves, errors, single images."""

import dataclasses
import hashlib
import pathlib

import numpy as np
from tqdm import tqdm

from replicate import score
from replicate.errors import UserError
from replicate.evenly import evenly
from replicate.report.run_files import RunFiles
from replicate.score import over_images
from replicate.score.groundtruth import read_bytes

# More checkpoints than this are thinned out for the gallery's step slider; the last one stays.
MAX_STEPS = 8
# Intervals of the metrics are computed for at most so many images without being asked for: 120
# images with 12,000 detections take 2 s, and the time grows with the detections.
FEW_IMAGES = 500
SAMPLES = 100
_PR_POINTS = slice(None, None, 4)  # of COCO's 101 recall thresholds, for the small multiples


@dataclasses.dataclass(frozen=True)
class Scored:
    """An evaluation scored again for the report.

    Attributes:
      step: of the checkpoint; None of a benchmark.
      metrics: the dict of its metrics.json.
      result: score.Result of its detections, by hotcoco.
      diagnostics: hotcoco's image_diagnostics at IoU 0.5.
    """

    step: int | None
    metrics: dict
    result: score.Result
    diagnostics: dict

    def statuses(self) -> np.ndarray:
        """(N,) array of "tp", "fp" or "ignored", in the order of `result.detections`."""
        status = self.diagnostics["dt_status"]
        # hotcoco numbers detections from 1 in the order they were given.
        return np.array(
            [status.get(number, "ignored") for number in range(1, len(self.result.detections) + 1)],
            dtype=object,
        )


def scored(files: RunFiles) -> list[Scored]:
    """The run's evaluations scored again, ascending by step, the last one always among them.

    An evaluation whose detections are not those that its metrics were computed from, or whose AP
    comes out differently, is left out and noted in `files.not_checked`.

    Returns:
      list of Scored; empty where the groundtruth is not at hand.
    """
    rescored = []
    evaluations = evenly(files.evaluations, MAX_STEPS)
    for metrics in tqdm(
        evaluations, desc="report", unit="checkpoint", disable=len(evaluations) < 2
    ):
        step = metrics["step"]
        try:
            rescored.append(_scored(files, metrics))
        except UserError as error:
            files.cannot_say(of_step(step), str(error))
    if rescored and rescored[-1].step != files.evaluations[-1]["step"]:
        return []  # nothing may be shown in the place of the checkpoint that the page names
    return rescored


def of_step(step: int) -> str:
    """What a report cannot say where a step's detections cannot be scored again."""
    return f"curves, errors and images of step {step}"


def _scored(files: RunFiles, metrics: dict) -> Scored:
    annotations, step = metrics["annotations"], metrics["step"]
    path = files.run.eval_at(step) / "detections.json.gz"
    why = _wrong(path, metrics["detections"]["sha256"])
    if why:
        file = path.relative_to(files.run.root).as_posix()
        why += (
            f"; python tools/evaluate.py --model_dir={files.run.root} evaluates the checkpoint "
            "again"
        )
        files.damaged.append({"file": file, "why": why})
        raise UserError(f"{path} is {why}")
    # The evaluation may have been of some images alone; their ids are told by a hash only.
    if annotations["images"] != annotations["images_in_file"]:
        raise UserError(
            f"only {annotations['images']:,} of {annotations['images_in_file']:,} images were "
            "scored and their ids are not recorded"
        )
    result = score.score(
        annotations["file"], str(path), iou_type=metrics["iou_type"], evaluator="hotcoco"
    )
    if result.groundtruth.sha256 != annotations["sha256"]:
        raise UserError(f"{annotations['file']} has changed since the evaluation (its SHA-256)")
    if not same(result.metrics["AP"], metrics["metrics"]["AP"]):
        raise UserError(
            f"scored again, AP is {result.metrics['AP']}, metrics.json says "
            f"{metrics['metrics']['AP']}"
        )
    handle = result.evaluations["hotcoco"].handle
    return Scored(step, metrics, result, handle.image_diagnostics())


def _wrong(path: pathlib.Path, sha256: str) -> str | None:
    """What is wrong with detections whose content (unpacked) had this hash, or None."""
    try:
        content = read_bytes(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")
    if hashlib.sha256(content).hexdigest() == sha256:
        return None
    return "not the file that metrics.json was computed from (its SHA-256 differs)"


def analysis(last: Scored) -> dict:
    """The curves, errors and calibration of the last evaluation: `score.analyse`'s dict."""
    return last.metrics.get("analysis") or score.analyse(last.result)


def with_intervals(last: Scored) -> dict:
    """`analysis`, with intervals of the metrics where they take but seconds and are not there."""
    content = analysis(last)
    images = len(last.result.image_ids)
    if "intervals" in content or not over_images.FEWEST_IMAGES <= images <= FEW_IMAGES:
        return content
    intervals = over_images.intervals(last.result, samples=SAMPLES)
    return content | {"intervals": intervals, "intervals_method": over_images.METHOD}


def category_curves(last: Scored) -> dict:
    """Precision over recall of each category with groundtruth, for small multiples.

    Returns:
      dict: recall (list), categories: list of {"id", "name", "AP", "0.50", "0.75"} where the
      last two are lists of precision at that IoU.
    """
    evaluation = last.result.evaluations["hotcoco"]
    iou_thresholds = np.asarray(evaluation.handle.params.iouThrs)
    at = {f"{iou:.2f}": int(np.argmin(abs(iou_thresholds - iou))) for iou in (0.5, 0.75)}
    recall = np.asarray(evaluation.handle.params.recThrs)[_PR_POINTS]
    categories = []
    for k, row in enumerate(last.result.per_category):
        if row["AP"] is None:
            continue
        curves = {
            iou: np.round(evaluation.precision[t, _PR_POINTS, k, 0, -1], 4).tolist()
            for iou, t in at.items()
        }
        categories.append({"id": row["id"], "name": row["name"], "AP": row["AP"]} | curves)
    return {"recall": np.round(recall, 2).tolist(), "categories": categories}


def same(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else abs(a - b) <= 1e-9
