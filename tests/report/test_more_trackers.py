"""Weights & Biases and Trackio, written and read back by their own code, in its own environment.

The environment is that of requirements-publish.txt; the kit's own packages stand behind its.
"""

import json
import sysconfig

import pytest

from replicate.report import trackers
from replicate.run import read_metrics
from tests.conftest import PROJECT
from tests.publish import others
from tests.report import making

RATE = f"{making.COSINE}.learning_rate_base"

_BESIDE = f"""
import site, socket, sys
site.addsitedir({sysconfig.get_paths()["purelib"]!r})
sys.path.insert(0, {str(PROJECT)!r})
look_up, asked = socket.getaddrinfo, []
def noted(host, *arguments, **options):
    asked.append(host)
    return look_up(host, *arguments, **options)
socket.getaddrinfo = noted
"""
_WRITE = (
    _BESIDE
    + """
from replicate.report import trackers
from replicate.run import RunDir
name, run, folder = sys.argv[1:4]
for _ in range(2):  # a second export takes the first one's place
    print(trackers.write(RunDir.existing(run), [name], folder)[name])
assert [h for h in asked if h not in (None, "localhost", "127.0.0.1", "::1")] == [], asked
"""
)
# The file of an offline run is LevelDB's log of records in blocks of 32 KiB.
_READ_WANDB = """
import sys, json, glob, struct
from wandb.proto import wandb_internal_pb2
(path,) = glob.glob(sys.argv[1] + "/wandb/offline-run-*/*.wandb")
data, at, record, found = open(path, "rb").read(), 7, b"", []
while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
        at += 32768 - at % 32768
        continue
    _, size, kind = struct.unpack("<IHB", data[at:at + 7])
    part = data[at + 7:at + 7 + size]
    at += 7 + size
    record = part if kind in (1, 2) else record + part
    if kind in (1, 4):
        found.append(wandb_internal_pb2.Record.FromString(record))
def put(row, item):
    *parents, last = [item.key] if item.key else list(item.nested_key)
    for name in parents:
        row = row.setdefault(name, {})
    row[last] = json.loads(item.value_json)
config, history = {}, []
for each in found:
    for item in list(each.run.config.update) + list(each.config.update):
        config[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    if each.WhichOneof("record_type") == "history":
        history.append({})
        for item in each.history.item:
            put(history[-1], item)
print("READ" + json.dumps({"config": config, "history": history}))
"""
_READ_TRACKIO = """
import sys, json, os
os.environ["TRACKIO_DIR"] = sys.argv[1]
from trackio.sqlite_storage import SQLiteStorage
runs = SQLiteStorage.get_runs("replications")
print("READ" + json.dumps({"runs": [str(r) for r in runs],
    "logs": SQLiteStorage.get_logs("replications", "finished"),
    "config": SQLiteStorage.get_run_config("replications", "finished")}, default=str))
"""


@pytest.fixture(scope="module")
def record(finished_run):
    return trackers.of_run(finished_run)


def _written(name, run, folder):
    status, output = others.run(_WRITE, name, run.root, folder)
    assert status == 0, output
    return output


def _read(code, folder):
    status, output = others.run(code, folder)
    assert status == 0, output
    (line,) = (each for each in output.splitlines() if each.startswith("READ"))
    return json.loads(line.removeprefix("READ"))


def _series(rows, name):
    return [(row["step"], row[name]) for row in rows if name in row]


def test_wandb(record, finished_run, tmp_path):
    output = _written("wandb", finished_run, tmp_path)
    assert f"wandb sync {tmp_path / 'wandb'}" in output
    read = _read(_READ_WANDB, tmp_path / "wandb")
    assert read["config"][RATE] == 0.08 and read["config"]["request.seed"] == 0
    assert read["config"]["git_revision"] == "0" * 40
    for name, pairs in record.series.items():
        assert _series(read["history"], name) == pairs, name
    losses = [
        (e["step"], e["losses"]["Loss/total_loss"]) for e in read_metrics(finished_run.metrics)
    ]
    assert _series(read["history"], "train/total_loss") == losses
    image = record.images[0]
    (shown,) = (
        row[f"images/{image.name}"]
        for row in read["history"]
        if row["step"] == image.step and f"images/{image.name}" in row
    )
    (folder,) = (tmp_path / "wandb" / "wandb").glob("offline-run-*")
    path = shown["boxes"]["groundtruth"]["path"]
    data = json.loads((folder / "files" / path).read_text())["box_data"]
    corners = [[each["position"][k] for k in ("minX", "minY", "maxX", "maxY")] for each in data]
    expected = [
        [x, y, x + width, y + height]
        for x, y, width, height in (b.box_xywh_px for b in image.boxes if b.score is None)
    ]
    assert corners == [pytest.approx(each) for each in expected] and expected
    assert set(shown["boxes"]) == {"groundtruth", "detections"}
    names = {each.name for each in (folder / "files").iterdir()}
    assert {"pipeline.config", "verdict.json", "command.txt", "code"} <= names


def test_trackio(record, finished_run, tmp_path):
    output = _written("trackio", finished_run, tmp_path)
    assert "trackio show --project replications" in output
    read = _read(_READ_TRACKIO, tmp_path / "trackio")
    assert len(read["runs"]) == 1
    assert read["config"][RATE] == 0.08 and read["config"]["git_revision"] == "0" * 40
    assert read["config"]["file.pipeline.config"] == finished_run.pipeline_config.read_text()
    for name, pairs in record.series.items():
        assert _series(read["logs"], name) == pairs, name
    pictures = [
        value for row in read["logs"] for name, value in row.items() if name.startswith("images/")
    ]
    assert len(pictures) == len(record.images)
    for each in pictures:
        assert (tmp_path / "trackio" / "media" / each["file_path"]).is_file()
