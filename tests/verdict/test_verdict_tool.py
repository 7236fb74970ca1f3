"""tools/verdict.py as a user calls it."""

import json
import pathlib
import subprocess
import sys

import pytest

from replicate.run import RunDir, write_json
from tests.verdict.facts import deviation, metrics

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/verdict.py"
MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


def run(*arguments):
    return subprocess.run(
        [sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def make_run(folder, points, model=MODEL, deviations=()):
    """A finished run whose last evaluation, of step 50, has a box AP of `points`."""
    run_dir = RunDir.at(folder)
    write_json(run_dir.spec, {"format": 1, "request": {"model": model}})
    write_json(run_dir.deviations, list(deviations))
    write_json(run_dir.environment, {"precision": "float32"})
    for step, ap in ((25, points - 9), (50, points)):
        write_json(run_dir.eval_at(step) / "metrics.json", metrics(ap))
        write_json(run_dir.eval_at(step) / "detections.json.gz", [])
    return folder


@pytest.mark.parametrize(
    "points, status, first_line",
    [
        ([22.1], 0, "REPLICATED"),
        ([21.4], 0, "NEAR"),
        ([19.0], 1, "NOT REPLICATED"),
        ([22.1, 22.2, 22.3], 0, "REPLICATED"),
        ([21.5, 22.2, 22.9], 1, "NOT REPLICATED"),
    ],
)
def test_runs_are_seeds(tmp_path, points, status, first_line):
    runs = [make_run(tmp_path / f"seed{i}", each) for i, each in enumerate(points)]
    done = run(*runs, f"--output={tmp_path / 'verdict.json'}")
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.splitlines()[0] == first_line
    written = json.loads((tmp_path / "verdict.json").read_text())
    assert written["verdict"] == first_line
    assert written["seeds"]["box AP"] == pytest.approx(points)
    assert ("TOST" in done.stdout) == (len(points) >= 3)


def test_deviations_of_any_run_count(tmp_path):
    changed = [deviation("train_config.num_steps", "training", 50000, 5000)]
    runs = [make_run(tmp_path / "a", 22.2), make_run(tmp_path / "b", 22.2, deviations=changed)]
    done = run(*runs)
    assert done.returncode == 0 and done.stdout.startswith("NOT COMPARABLE")
    assert "train_config.num_steps is 5000, published with 50000" in done.stdout


def test_metrics_of_a_checkpoint_with_the_official_images(tmp_path):
    write_json(tmp_path / "metrics.json", metrics(22.2))
    arguments = (f"--model={MODEL}", f"--metrics={tmp_path / 'metrics.json'}", "--kind=checkpoint")
    assert run(*arguments).stdout.startswith("REPLICATED")
    other = {
        "images": [{"id": 1, "height": 9, "width": 9, "file_name": "1.jpg"}],
        "annotations": [],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "official.json").write_text(json.dumps(other))
    done = run(*arguments, f"--val2017_annotations={tmp_path / 'official.json'}")
    assert done.stdout.startswith("NOT COMPARABLE") and "their ids differ" in done.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give run directories, or --metrics"),
        (["--metrics=m.json"], "--metrics needs --model"),
        (["no/run"], "no/run: not a run directory"),
        ([f"--model={MODEL}", "--metrics=no.json"], "no.json: no such file"),
    ],
)
def test_usage_errors(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_runs_of_different_models(tmp_path):
    other = make_run(tmp_path / "b", 22.2, model="ssd_mobilenet_v2_320x320_coco17_tpu-8")
    done = run(make_run(tmp_path / "a", 22.2), other)
    assert done.returncode == 2 and "the runs are of different models" in done.stderr
