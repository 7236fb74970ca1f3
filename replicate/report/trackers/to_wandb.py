"""A run as an offline run of Weights & Biases, which `wandb sync` takes, if one wants."""

import hashlib
import os
import pathlib
import shutil

from replicate.report.trackers.record import Box, TrackedRun

# Nothing leaves this machine: not its errors either.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

PROJECT = "replications"


def write(record: TrackedRun, folder: pathlib.Path) -> str:
    """Writes `folder`/wandb/offline-run-…-<key>, in the place of an earlier export of the run.

    Returns:
      how to use it, one line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The same run has the same key, so that a second upload continues the first.
    key = hashlib.sha256(str(record.root).encode()).hexdigest()[:16]
    for before in (folder / "wandb").glob(f"offline-run-*-{key}"):
        shutil.rmtree(before)
    settings = wandb.Settings(
        mode="offline",
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    run = wandb.init(
        project=PROJECT,
        id=key,
        name=record.name,
        dir=str(folder),
        config=record.parameters,
        notes=record.texts["command"],
        settings=settings,
    )
    try:
        _log(run, record)
    finally:
        run.finish()
    (written,) = (folder / "wandb").glob(f"offline-run-*-{key}")
    return f"wandb sync {written}"


def _log(run: "wandb.Run", record: TrackedRun) -> None:
    run.define_metric("step")
    run.define_metric("*", step_metric="step")
    at_step: dict[int, dict] = {}
    for name, pairs in record.series.items():
        for step, value in pairs:
            at_step.setdefault(step, {})[name] = value
    for image in record.images:
        at_step.setdefault(image.step, {})[f"images/{image.name}"] = wandb.Image(
            str(image.path), boxes=_layers(image.boxes)
        )
    for step in sorted(at_step):
        epoch = record.epoch(step)
        run.log({"step": step, **({"epoch": epoch} if epoch is not None else {}), **at_step[step]})
    texts = dict(record.texts)
    if record.git:
        run.config.update({"git_revision": record.git["revision"]})
        texts["uncommitted"] = record.git["diff"]
    place = pathlib.Path(run.dir)
    for name, text in texts.items():
        (place / f"{name}.txt").write_text(text, encoding="utf-8")
    for path in record.files:
        shutil.copyfile(path, place / path.name)
    for relative, path in record.code.items():
        (place / "code" / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / "code" / relative)


def _layers(boxes: list[Box]) -> dict:
    """Groundtruth and detections as W&B's box layers, in pixels."""
    labels = {label: number for number, label in enumerate(sorted({b.label for b in boxes}), 1)}
    layers = {
        "groundtruth": [box for box in boxes if box.score is None],
        "detections": [box for box in boxes if box.score is not None],
    }
    return {
        name: {
            "box_data": [_data(box, labels) for box in layer],
            "class_labels": {number: label for label, number in labels.items()},
        }
        for name, layer in layers.items()
        if layer
    }


def _data(box: Box, labels: dict[str, int]) -> dict:
    x, y, width, height = box.box_xywh_px
    scored = {} if box.score is None else {"scores": {"score": box.score}}
    return {
        "position": {"minX": x, "maxX": x + width, "minY": y, "maxY": y + height},
        "domain": "pixel",
        "class_id": labels[box.label],
        "box_caption": f"{box.label}, {box.kind}",
        **scored,
    }
