"""A run as Comet's offline experiment: an archive that `comet upload` takes, if one wants."""

import contextlib
import hashlib
import io
import os
import pathlib

from replicate.report.trackers.record import Box, TrackedRun

os.environ.setdefault("COMET_LOGGING_CONSOLE", "ERROR")
# Otherwise its own errors are sent to its makers: nothing leaves this machine.
os.environ.setdefault("COMET_ERROR_TRACKING_ENABLE", "false")

import comet_ml

PROJECT = "replications"
_LONGEST_NAME = 90


def write(record: TrackedRun, folder: pathlib.Path) -> str:
    """Writes the archive `folder`/<key>.zip, in the place of an earlier export of the run.

    Returns:
      how to use it, one line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The same run has the same key, so that a second upload continues the first.
    key = hashlib.sha256(str(record.root).encode()).hexdigest()[:32]
    archive = folder / f"{key}.zip"
    archive.unlink(missing_ok=True)
    with contextlib.redirect_stderr(io.StringIO()):
        experiment = comet_ml.OfflineExperiment(
            project_name=PROJECT,
            offline_directory=str(folder),
            experiment_key=key,
            log_code=False,
            log_graph=False,
            log_env_details=False,
            log_git_metadata=False,
            log_git_patch=False,
            auto_param_logging=False,
            auto_metric_logging=False,
            auto_output_logging=False,
            auto_histogram_weight_logging=False,
            parse_args=False,
            display_summary_level=0,
        )
        try:
            _log(experiment, record)
        finally:
            experiment.end()
    return f"comet upload {archive}"


def _log(experiment: comet_ml.OfflineExperiment, record: TrackedRun) -> None:
    experiment.set_name(record.name)
    experiment.log_parameters({_short(name): value for name, value in record.parameters.items()})
    for name, pairs in record.series.items():
        for step, value in pairs:
            experiment.log_metric(name, value, step=step, epoch=record.epoch(step))
    experiment.log_other("command", record.texts["command"])
    if "model" in record.texts:
        experiment.set_model_graph(record.texts["model"])
    for name, text in record.texts.items():
        experiment.log_asset_data(text, name=f"{name}.txt")
    if record.git:
        experiment.log_other("git revision", record.git["revision"])
        experiment.log_asset_data(record.git["diff"], name="uncommitted.diff")
    for path in record.files:
        experiment.log_asset(str(path), file_name=path.name)
    for relative, path in record.code.items():
        experiment.log_code(str(path), code_name=relative.as_posix())
    for image in record.images:
        layers = {
            "groundtruth": [_annotation(box) for box in image.boxes if box.score is None],
            "detections": [_annotation(box) for box in image.boxes if box.score is not None],
        }
        experiment.log_image(
            str(image.path),
            name=image.name,
            step=image.step,
            annotations=[{"name": name, "data": boxes} for name, boxes in layers.items() if boxes],
        )


def _short(name: str) -> str:
    """Comet cuts off a longer name at its end, where config paths differ."""
    return name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :]


def _annotation(box: Box) -> dict:
    score = 1.0 if box.score is None else box.score
    return {"label": box.label, "boxes": [box.box_xywh_px], "score": 100 * score}
