"""The same weights evaluated with one change of the pipeline at a time: what each costs."""

import dataclasses
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from replicate import reasons, score
from replicate.errors import UserError
from replicate.explain import controls
from replicate.explain.asked_model import AskedModel
from replicate.explain.pixels import KERNELS
from replicate.explain.rigs import Running

#: Points of AP within which a published checkpoint, evaluated again, counts as replicated.
TOLERANCE = 0.1
_SHOWN = ("AP", "AP50", "AR@100")


@dataclasses.dataclass(frozen=True)
class PipelineChange:
    """One change of the pipeline.

    Attributes:
      step: the step of the pipeline that is done otherwise.
      value: how.
      steps, running: fields of pixels.Steps and of rigs.Running that it changes.
      reason: the documented reason whose size it measures, None where it measures no one's.
      paths: regular expression of the config paths whose difference it sizes; "" for any evidence
        of the reason.
      control: a change of which the outcome is known: "none", or "large" for a model that looks at
        what it changes.
    """

    step: str
    value: str
    steps: dict[str, Any] = dataclasses.field(default_factory=dict)
    running: dict[str, Any] = dataclasses.field(default_factory=dict)
    reason: reasons.Reason | None = None
    paths: str = ""
    control: str | None = None

    @property
    def name(self) -> str:
        """The title of the reason, or the step."""
        return self.reason.title if self.reason else self.step


def _changes() -> Iterator[PipelineChange]:
    decoded, averages, cut = reasons.DECODER, reasons.AVERAGES, reasons.CUT
    yield PipelineChange("nothing", "the same once more", control="none")
    for decoder in ("tensorflow, accurate DCT", "pillow", "opencv"):
        yield PipelineChange("decoder", decoder, {"decoder": decoder}, reason=decoded)
    # What a run shows of that reason is its decoder, so these size no reason's evidence.
    yield PipelineChange("EXIF orientation", "applied", {"exif": True})
    for kernel in KERNELS:
        yield PipelineChange("resize", kernel, {"resize": kernel})
    yield PipelineChange("aspect", "kept, padded", {"aspect": "padded"})
    yield PipelineChange("aspect", "stretched", {"aspect": "stretched"})
    yield PipelineChange("channel order", "BGR", {"channels": "BGR"}, control="large")
    yield PipelineChange("normalisation", "0..1", {"normalisation": "0..1"}, control="large")
    yield PipelineChange("boxes", "clipped to the image", running={"clip": True})
    yield PipelineChange("suppression", "the API's", running={"suppression": "api"})
    for threshold in (0.45, 0.7):
        yield PipelineChange(
            "suppression",
            f"IoU {threshold}",
            running={"suppression": threshold},
            reason=cut,
            paths="iou_threshold",
        )
    yield PipelineChange(
        "suppression",
        "class-agnostic",
        running={"class_agnostic": True},
        reason=cut,
        paths="class_agnostic",
    )
    for threshold in (0.05, 0.3):
        yield PipelineChange(
            "score threshold",
            f"below {threshold} gone",
            running={"score_cut": threshold},
            reason=cut,
            paths="score_threshold",
        )
    yield PipelineChange("moving averages", "off", running={"averages": False}, reason=averages)
    for dtype in ("float16", "bfloat16"):
        yield PipelineChange("weights", dtype, running={"weights": dtype})
    yield PipelineChange("batch size", "1", running={"batch_size": 1})
    yield PipelineChange("acceleration", "oneDNN or XNNPACK off", running={"accelerated": False})


def from_model(
    model: str | os.PathLike[str],
    annotations_file: str | os.PathLike[str],
    image_dir: str | os.PathLike[str],
    *,
    num_images: int | None = 200,
    labels: str | os.PathLike[str] | None = None,
    pipeline_config: str | os.PathLike[str] | None = None,
    label_map: str | os.PathLike[str] | None = None,
    samples: int = 200,
    only: Collection[str] = (),
) -> dict:
    """Evaluates one model with one change of its pipeline at a time.

    Args:
      model: path of a .tflite file, a run directory or a checkpoint.
      annotations_file, image_dir: COCO annotations and the folder of their images.
      num_images: the first so many by id; None for all.
      labels, pipeline_config, label_map: of the model, see tools/benchmark.py.
      samples: of the images, for the paired intervals; 0 leaves them out.
      only: steps to change; default all.

    Returns:
      `explain/model.json`; docs/explain.md describes it. Differences are in points of AP.

    Raises:
      UserError: an input that is not what it should be.
    """
    asked = AskedModel(
        model, annotations_file, image_dir, num_images, labels, pipeline_config, label_map
    )
    dataset = asked.dataset()
    groundtruth, images = dataset.groundtruth, dataset.images
    unknown = set(only) - {change.step for change in _changes()}
    if unknown:
        raise UserError(
            f"no step '{sorted(unknown)[0]}'; there are: "
            + ", ".join(dict.fromkeys(change.step for change in _changes()))
        )
    rig = asked.rig(dataset)
    wanted = [
        change
        for change in _changes()
        if (not only or change.step in only or change.control)
        and not (change.steps and dataclasses.replace(rig.steps, **change.steps) == rig.steps)
    ]
    image_ids = [image_id for image_id, _ in images]

    baseline_pixels: dict[int, np.ndarray] = {}
    baseline = rig.detect(images, rig.steps, Running(), baseline_pixels.__setitem__)
    first = score.score(annotations_file, baseline, image_ids=image_ids, evaluator="hotcoco")
    rows, left_out = [], []
    for change in tqdm(wanted, desc=rig.name, unit="change"):
        settings = (*change.running, *change.steps.items())
        reason = next(
            (rig.without[setting] for setting in settings if setting in rig.without), None
        )
        if reason:
            left_out.append({"step": change.step, "value": change.value, "reason": reason})
            continue
        steps = dataclasses.replace(rig.steps, **change.steps)
        running = dataclasses.replace(Running(), **change.running)
        distances: list[float] = []
        on_input = _distance(baseline_pixels, distances) if change.steps else None
        if not running.accelerated and not rig.accelerated_by_call:
            from replicate.explain import apart  # here, because it is run as a script too

            detections = apart.detections(asked)
        else:
            detections = rig.detect(images, steps, running, on_input)
        second = score.score(annotations_file, detections, image_ids=image_ids, evaluator="hotcoco")
        rows.append(_row(change, first, second, baseline == detections, distances, samples))
    for row in rows:
        row["held"] = controls.held(row, len(images))
    rows.sort(key=lambda row: -abs(row["delta_ap"] or 0))
    return {
        "format": 1,
        "form": "model",
        "model": {"name": rig.name, "path": str(model), "input_hw": list(rig.input_hw)},
        "annotations": groundtruth.identity(image_ids),
        "baseline": {
            "figures": {name: first.metrics[name] for name in _SHOWN},
            **dataclasses.asdict(rig.steps),
            "suppression": "kit",
        },
        "tolerance_points": TOLERANCE,
        "remarks": controls.remarks(rows, len(images)),
        "changes": rows,
        "left_out": left_out,
    }


def _distance(
    baseline: dict[int, np.ndarray], distances: list[float]
) -> Callable[[int, np.ndarray], None]:
    """A callback that notes the mean absolute difference of an image's input from the baseline.

    Of an input of another size there is none.
    """

    def on_input(image_id: int, small: np.ndarray) -> None:
        if small.shape == baseline[image_id].shape:
            distances.append(float(np.abs(small - baseline[image_id]).mean()))

    return on_input


def _row(
    change: PipelineChange,
    first: score.Result,
    second: score.Result,
    identical: bool,
    distances: list[float],
    samples: int,
) -> dict:
    figures = {name: second.metrics[name] for name in _SHOWN}
    here, there = figures["AP"], first.metrics["AP"]
    delta = None if here is None or there is None else 100 * (here - there)
    interval = [0.0, 0.0] if identical else _interval(first, second, samples)
    return {
        "name": change.name,
        "reason": change.reason and change.reason.number,
        "paths": change.paths,
        "step": change.step,
        "value": change.value,
        "control": change.control,
        "delta_ap": delta,
        "interval": interval,
        "pixel_difference": float(np.mean(distances)) if distances else None,
        "identical": identical,
        "matters": None if delta is None else abs(delta) > TOLERANCE,
        "elsewhere": _elsewhere(interval),
        "figures": figures,
    }


def _interval(first: score.Result, second: score.Result, samples: int) -> list[float] | None:
    """[low, high] of the difference of AP in points on other images, or None."""
    if not samples:
        return None
    comparison = score.compare(second, first, samples=samples)
    interval = comparison["intervals"].get("AP")
    return interval and [100 * interval["low"], 100 * interval["high"]]


def _elsewhere(interval: list[float] | None) -> str:
    """Whether other images would show more than the tolerance: yes, no, or it cannot be told."""
    if interval is None:
        return "not known"
    low, high = interval
    if low > TOLERANCE or high < -TOLERANCE:
        return "yes"
    return "no" if low >= -TOLERANCE and high <= TOLERANCE else "not known"
