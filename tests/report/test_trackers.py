"""Each tracker is written to and read back with its own means, and holds what the run holds."""

import importlib.util
import json
import socket
import subprocess
import sys
import zipfile

import pytest

from replicate.errors import UserError
from replicate.report import trackers
from replicate.run import read_json, read_metrics
from tests.conftest import PROJECT
from tests.report import making

RATE = f"{making.COSINE}.learning_rate_base"
LOSS = "train/total_loss"


@pytest.fixture(scope="module")
def record(finished_run):
    return trackers.of_run(finished_run)


def _needs(package):
    # Found, not imported: Comet reads its settings, which the adapter makes, at its import.
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is optional: pip install -r requirements-trackers.txt")


@pytest.fixture(autouse=True)
def nothing_leaves(monkeypatch):
    """No tracker looks up an address."""
    asked = []
    look_up = socket.getaddrinfo

    def noted(host, *arguments, **options):
        asked.append(host)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    yield
    assert [host for host in asked if host not in (None, "localhost", "127.0.0.1")] == []


def _losses(run):
    return [(each["step"], each["losses"]["Loss/total_loss"]) for each in read_metrics(run.metrics)]


def test_record_is_the_run(record, finished_run):
    assert record.parameters[RATE] == 0.08 and record.parameters["request.seed"] == 0
    assert record.series[LOSS] == _losses(finished_run)
    metrics = {step: read_json(finished_run.eval_at(step) / "metrics.json") for step in (100, 300)}
    assert dict(record.series["eval/AP"])[300] == metrics[300]["metrics"]["AP"]
    assert dict(record.series["eval/AR_at_100"])[100] == metrics[100]["metrics"]["AR@100"]
    # 16 images in the set, 16 a step.
    assert record.epoch(100) == 100
    assert {image.step for image in record.images} == {100, 200, 300}
    boxes = [box for image in record.images for box in image.boxes]
    assert {box.kind for box in boxes} == {"found", "missed", "right", "wrong"}


def test_every_config_field_is_a_parameter(record, finished_run):
    """Set back into an empty config, the parameters give the run's config."""
    from replicate import config

    message = config.load(finished_run.pipeline_config)
    fields = dict(trackers.record.fields(message))
    assert fields == {
        path: value for path, value in record.parameters.items() if not path.startswith("request.")
    }
    assert fields["train_config.batch_size"] == 16
    assert fields["eval_config.metrics_set[0]"] == "coco_detection_metrics"


def test_boxes_are_drawn_where_they_are(tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    box = trackers.record.Box([10, 5, 20, 15], "disc", None, "found")
    pixels = trackers.record.ShownImage("a", tmp_path / "a.png", 0, [box]).pixels()
    lit = {tuple(point[::-1]) for point in zip(*pixels.any(-1).nonzero(), strict=True)}
    edge = {(x, y) for x in range(10, 31) for y in (5, 20)}
    edge |= {(x, y) for y in range(5, 21) for x in (10, 30)}
    assert lit == edge


def test_tensorboard(record, finished_run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # a second export takes the first one's place
        trackers.write(finished_run, ["tensorboard"], tmp_path)
    events = EventAccumulator(
        str(tmp_path / "tensorboard" / "finished"), {"tensors": 0, "images": 0}
    ).Reload()
    from tensorboard.util import tensor_util

    def scalars(name):
        return [
            (each.step, float(tensor_util.make_ndarray(each.tensor_proto)))
            for each in events.Tensors(name)
        ]

    for name in (LOSS, "eval/AP", "system/images_per_second"):
        steps, values = zip(*record.series[name], strict=True)
        assert [step for step, _ in scalars(name)] == list(steps)
        assert [value for _, value in scalars(name)] == pytest.approx(values, rel=1e-6)
    assert dict(scalars("epoch"))[300] == 300
    tags = events.Tags()["tensors"]
    images = {image.name for image in record.images}
    assert images <= set(tags) and len(events.Tensors(next(iter(images)))) == 3
    assert {"command/text_summary", "pipeline.config/text_summary"} <= {
        tag if tag.endswith("text_summary") else f"{tag}/text_summary" for tag in tags
    }
    assert (
        "_hparams_/session_start_info"
        in events.SummaryMetadata("_hparams_/session_start_info")
        .SerializeToString()
        .decode("latin1")
        or "_hparams_/session_start_info" in tags
    )


def test_mlflow(record, finished_run, tmp_path):
    _needs("mlflow")
    from mlflow.tracking import MlflowClient

    for _ in range(2):  # a second export takes the first one's place
        trackers.write(finished_run, ["mlflow"], tmp_path)
    client = MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("replications")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params[RATE] == "0.08"
    assert run.data.params["eval_config.metrics_set.0"] == "coco_detection_metrics"
    assert run.data.tags["mlflow.source.git.commit"] == "0" * 40
    for name, pairs in record.series.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [(each.step, each.value) for each in history] == pairs
    assert client.get_metric_history(run.info.run_id, "epoch")[-1].value == 300
    names = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert {"pipeline.config", "command.txt", "verdict.txt", "code", "images"} <= names
    code = {each.path for each in client.list_artifacts(run.info.run_id, "code/replicate/report")}
    assert "code/replicate/report/content.py" in code
    assert len(client.list_artifacts(run.info.run_id, "images")) >= len(record.images)


def test_comet(record, finished_run, tmp_path):
    _needs("comet_ml")
    for _ in range(2):  # a second export takes the first one's place
        trackers.write(finished_run, ["comet"], tmp_path)
    (path,) = (tmp_path / "comet").glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        messages = [json.loads(line) for line in archive.read("messages.json").splitlines()]
        stored = set(archive.namelist())
    by_type = {}
    for each in messages:
        by_type.setdefault(each["type"], []).append(each["payload"])
    parameters = {}
    for each in by_type["parameter_msg"]:
        parameters[each["param"]["paramName"]] = each["param"]["paramValue"]
    (rate,) = [value for name, value in parameters.items() if name.endswith(RATE[-60:])]
    assert rate == 0.08
    metrics = {}
    for each in (payload["metric"] for payload in by_type["metric_msg"]):
        metrics.setdefault(each["metricName"], []).append(each)
    for name, pairs in record.series.items():
        assert [(each["step"], each["metricValue"]) for each in metrics[name]] == pairs
        assert [each["epoch"] for each in metrics[name]] == [
            record.epoch(step) for step, _ in pairs
        ]
    uploads = by_type["file_upload"]
    kinds = [each["upload_type"] for each in uploads]
    assert kinds.count("visualization") == len(record.images)
    sources = {
        each["additional_params"]["fileName"]
        for each in uploads
        if each["upload_type"] == "source_code"
    }
    assert {path.as_posix() for path, file in record.code.items() if file.stat().st_size} <= sources
    assert all(each["file_path"] in stored for each in uploads)
    images = [each for each in uploads if each["upload_type"] == "visualization"]
    layers = images[0]["metadata"]["annotations"]
    boxes = {layer["name"]: layer["data"] for layer in layers}
    expected = [box.box_xywh_px for box in record.images[0].boxes if box.score is None]
    assert [each["boxes"][0] for each in boxes["groundtruth"]] == expected


@pytest.mark.parametrize(
    "names, said",
    [(["neptune"], "--tracker=neptune; there are: tensorboard, mlflow, comet, wandb")],
)
def test_unknown_tracker(finished_run, names, said):
    with pytest.raises(UserError, match=said):
        trackers.write(finished_run, names)


def test_missing_package_is_named(finished_run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "comet_ml", None)
    monkeypatch.delitem(sys.modules, "replicate.report.trackers.to_comet", raising=False)
    with pytest.raises(UserError, match="requirements-trackers.txt"):
        trackers.write(finished_run, ["comet"], tmp_path)


def test_tool(run, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "tools/report.py",
            f"--run_dir={run.root}",
            "--tracker=tensorboard",
            f"--tracker_dir={tmp_path / 'board'}",
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"tensorboard --logdir={tmp_path / 'board' / 'tensorboard'}" in done.stdout
    assert list((tmp_path / "board" / "tensorboard" / "run").glob("events.*"))
