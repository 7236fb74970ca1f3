"""A run in MLflow's local file store."""

import os
import pathlib
import time

from replicate.report.trackers.record import TrackedRun

# A store of plain files: new MLflow versions want to be told that it is meant.
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

EXPERIMENT = "replications"
_RUN_TAG = "replicate.run_dir"
_BATCH = 900  # of at most 1,000 entries a call, 100 of them parameters
_PARAMETERS = 90


def write(record: TrackedRun, folder: pathlib.Path) -> str:
    """Logs the run into the store `folder`; an earlier export of the same run is deleted.

    Returns:
      how to open it, one line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=folder.resolve().as_uri())
    experiment = client.get_experiment_by_name(EXPERIMENT)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
    before = client.search_runs([experiment_id], f"tags.`{_RUN_TAG}` = '{record.root}'")
    now = int(time.time() * 1000)
    tags = {_RUN_TAG: str(record.root)}
    if record.git:
        tags["mlflow.source.git.commit"] = record.git["revision"]
    run_id = client.create_run(experiment_id, run_name=record.name, tags=tags).info.run_id

    parameters = [Param(_name(key), str(value)) for key, value in record.parameters.items()]
    for part in _parts(parameters, _PARAMETERS):
        client.log_batch(run_id, params=part)
    metrics = [
        Metric(_name(name), value, now, step)
        for name, pairs in record.series.items()
        for step, value in pairs
    ]
    steps = sorted({metric.step for metric in metrics})
    metrics += [
        Metric("epoch", epoch, now, step)
        for step in steps
        if (epoch := record.epoch(step)) is not None
    ]
    for part in _parts(metrics, _BATCH):
        client.log_batch(run_id, metrics=part)
    for name, text in record.texts.items():
        client.log_text(run_id, text, f"{name}.txt")
    if record.git:
        client.log_text(run_id, record.git["diff"], "code/uncommitted.diff")
    for path in record.files:
        client.log_artifact(run_id, str(path))
    for relative, path in record.code.items():
        client.log_artifact(run_id, str(path), f"code/{relative.parent.as_posix()}")
    for image in record.images:
        client.log_image(run_id, image.pixels(), key=_name(image.name), step=image.step)
    client.log_batch(run_id, tags=[RunTag("mlflow.note.content", record.texts["command"])])
    client.set_terminated(run_id)
    for run in before:
        client.delete_run(run.info.run_id)
    uri = folder.resolve().as_uri()
    return f"MLFLOW_ALLOW_FILE_STORE=true mlflow server --backend-store-uri {uri}"


def _name(text: str) -> str:
    """MLflow's names have letters, digits, and the marks _ - . / : and spaces."""
    text = text.replace("[", ".").replace("]", "")
    return "".join(
        character if character.isalnum() or character in "_-./: " else "_" for character in text
    )


def _parts(entries: list, size: int) -> list[list]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]
