"""A run as trackers see it: parameters, series by step and epoch, texts, files, images."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from replicate import checkpoint_files, engine
from replicate.config import operations
from replicate.report import content
from replicate.run import RunDir

IMAGES = 12
MIN_SCORE = 0.3
_PACKAGE = pathlib.Path(__file__).resolve().parents[2]
_COLOURS = {"found": "#3ddc84", "missed": "#ff4fd8", "right": "#4db8ff", "wrong": "#ff7a33"}


@dataclasses.dataclass(frozen=True)
class Box:
    """A box of an image: box_xywh_px in pixels of the file; score is None of groundtruth."""

    box_xywh_px: list[float]
    label: str
    score: float | None
    kind: str


@dataclasses.dataclass(frozen=True)
class ShownImage:
    """An image with the boxes of one checkpoint: path of its file, boxes, step."""

    name: str
    path: pathlib.Path
    step: int
    boxes: list[Box]

    def pixels(self) -> np.ndarray:
        """uint8 [height, width, 3] with the boxes drawn."""
        with Image.open(self.path) as opened:
            picture = opened.convert("RGB")
        drawing = ImageDraw.Draw(picture)
        for box in self.boxes:
            x, y, width, height = box.box_xywh_px
            colour = _COLOURS[box.kind]
            corners = [x, y, x + max(width, 0), y + max(height, 0)]
            drawing.rectangle(corners, outline=colour, width=1 if box.score is None else 2)
            if box.score is not None:
                text = f"{box.label} {box.score:.2f}"
                at = (max(x, 0), max(y - 12, 0))
                drawing.text(at, text, fill=colour, font=ImageFont.load_default(11))
        return np.asarray(picture)


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """What a tracker is given.

    Attributes:
      name: of the run.
      root: absolute path of the run directory.
      parameters: dict name -> str, int, float or bool: what was asked, and every config field.
      series: dict name -> list of (step, value): losses/…, learning_rate, eval/AP …, system/….
      images_per_epoch: of the training set, or None where no manifest tells.
      batch_size: images a step.
      texts: dict name -> text: command, model (its variables), environment, verdict.
      files: list of paths in the run directory: its config, deviations, verdict, environment.
      code: dict path below the project -> path: the kit's own code.
      git: dict revision and diff, or None.
      images: list of ShownImage.
    """

    name: str
    root: pathlib.Path
    parameters: dict[str, Any]
    series: dict[str, list[tuple[int, float]]]
    images_per_epoch: int | None
    batch_size: int | None
    texts: dict[str, str]
    files: list[pathlib.Path]
    code: dict[pathlib.Path, pathlib.Path]
    git: dict | None
    images: list[ShownImage]

    def epoch(self, step: int) -> int | None:
        """The epoch a step lies in, from 0; None where the training set's size is unknown."""
        if not self.images_per_epoch or not self.batch_size:
            return None
        return step * self.batch_size // self.images_per_epoch


def of_run(run: RunDir) -> TrackedRun:
    """The TrackedRun of a run directory."""
    report = content.of_run(run)
    message = engine.of_run(run.config) if run.config.is_file() else None
    train = next((split for split in report["data"]["records"] if split["split"] == "train"), None)
    environment = report["environment"] or {}
    return TrackedRun(
        name=report["run"],
        root=run.root.resolve(),
        parameters=_parameters(report, message),
        series=_series(report),
        images_per_epoch=train["images"] if train else None,
        batch_size=report["schedule"]["batch_size"] if report["schedule"] else None,
        texts=_texts(run, report),
        files=[
            path
            for path in (run.config, run.deviations, run.verdict, run.environment)
            if path.is_file()
        ],
        code={path.relative_to(_PACKAGE.parent): path for path in sorted(_PACKAGE.rglob("*.py"))},
        git=environment.get("git"),
        images=_images(report),
    )


def fields(message: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a config that is set, with its path: (path, value) pairs."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        values = list(value) if field.is_repeated else [value]
        for index, item in enumerate(values):
            here = f"{path}[{index}]" if field.is_repeated else path
            if field.type == field.TYPE_MESSAGE:
                yield from fields(item, f"{here}.")
            else:
                yield here, operations.value_of(field, item)


def _parameters(report: dict, message: Any) -> dict[str, Any]:
    asked = {
        f"request.{name}": value
        for name, value in report["request"].items()
        if isinstance(value, (str, int, float, bool))
    }
    return asked | (dict(fields(message)) if message is not None else {})


def _series(report: dict) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    training, plan = report["training"], report["schedule"]
    if training:
        steps = training["step"]
        series |= {
            f"train/{name.removeprefix('Loss/')}": _pairs(steps, values)
            for name, values in training["losses"].items()
        }
        for name in ("images_per_second", "input_wait"):
            series[f"system/{name}"] = _pairs(steps, training[name])
        for name, values in training["system"].items():
            series[f"system/{name}"] = _pairs(steps, values)
    if plan and plan["actual"]["step"]:
        rates = plan["actual"]
        series["train/learning_rate"] = _pairs(rates["step"], rates["learning_rate"])
    for checkpoint in report["checkpoints"]:
        for name, value in checkpoint["metrics"].items():
            if value is not None:
                # The trackers' names have no "@".
                series.setdefault(f"eval/{name.replace('@', '_at_')}", []).append(
                    (checkpoint["step"], value)
                )
    return {name: pairs for name, pairs in series.items() if pairs}


def _pairs(steps: Iterable[int], values: Iterable[float | None]) -> list[tuple[int, float]]:
    return [
        (step, float(value)) for step, value in zip(steps, values, strict=True) if value is not None
    ]


def _texts(run: RunDir, report: dict) -> dict[str, str]:
    texts = {"command": report["command"] or "not recorded"}
    if report["verdict"]:
        verdict = report["verdict"]
        reasons = "\n".join(f"- {reason}" for reason in verdict["reasons"])
        texts["verdict"] = f"{verdict['verdict']}\n\n{verdict['sentence']}\n\n{reasons}"
    summary = _model_summary(_checkpoint(run, report))
    if summary:
        texts["model"] = summary
    return texts


def _checkpoint(run: RunDir, report: dict) -> pathlib.Path:
    """The prefix of the evaluated checkpoint; without an evaluation that of the last one."""
    evaluated = (report["metrics"] or {}).get("checkpoint")
    if evaluated:
        return run.root / evaluated["path"]
    steps = checkpoint_files.steps_of(run.checkpoints)
    return (
        pathlib.Path(checkpoint_files.path_of(run.checkpoints, steps[-1]))
        if steps
        else run.checkpoints
    )


def _model_summary(checkpoint: pathlib.Path) -> str | None:
    """The model's variables in a checkpoint with their shapes, or None where it is not there."""
    if not pathlib.Path(f"{checkpoint}.index").is_file():
        return None
    import tensorflow as tf

    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    variables = [
        (name.removesuffix(suffix), shape)
        for name, shape in tf.train.list_variables(str(checkpoint))
        if name.startswith("model/") and name.endswith(suffix) and ".OPTIMIZER_SLOT" not in name
    ]
    total = sum(int(np.prod(shape)) for _, shape in variables)
    lines = [f"{'x'.join(map(str, shape)) or 'scalar':>18}  {name}" for name, shape in variables]
    return f"{len(variables)} variables, {total:,} values\n" + "\n".join(lines)


def _images(report: dict) -> list[ShownImage]:
    gallery, folder = report["gallery"], report["request"].get("val_images")
    if not gallery or not folder:
        return []
    names = gallery["categories"]
    shown = []
    for image in gallery["images"][:IMAGES]:
        path = pathlib.Path(folder) / image["file_name"]
        if not path.is_file():
            continue
        for entry in gallery["steps"]:
            detections = [
                detection
                for detection in image["detections"][str(entry["step"])]
                if detection[1] >= MIN_SCORE and detection[6] is not None
            ]
            hit = {detection[6] for detection in detections}
            truth = [
                Box(
                    annotation["box_xywh_px"],
                    names[str(annotation["category_id"])],
                    None,
                    "found" if index in hit else "missed",
                )
                for index, annotation in enumerate(image["groundtruth"])
                if not annotation["crowd"]
            ]
            boxes = [
                Box(
                    detection[2:6],
                    names[str(detection[0])],
                    detection[1],
                    "right" if detection[6] >= 0 else "wrong",
                )
                for detection in detections
            ]
            shown.append(ShownImage(image["file_name"], path, entry["step"], truth + boxes))
    return shown
