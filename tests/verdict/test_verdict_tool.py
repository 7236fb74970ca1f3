"""tools/verdict.py as a user calls it."""

import json
import pathlib
import subprocess
import sys

import pytest

from replicate import replication, verdict
from replicate.run import read_json, write_json
from tests.verdict.made import metrics, run_directory

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/verdict.py"
MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


def run(*arguments):
    return subprocess.run(
        [sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "points, status, first_line",
    [
        ([22.1], 0, "REPLICATED (one run)"),
        ([21.7], 0, "NEAR (one run)"),
        ([21.5], 1, "INCONCLUSIVE (one run)"),
        ([19.0], 1, "NOT REPLICATED (one run)"),
        ([22.1, 22.2, 22.3], 0, "REPLICATED (3 runs)"),
        ([21.6, 22.2, 22.8], 1, "INCONCLUSIVE (3 runs)"),
    ],
)
def test_runs_are_seeds(tmp_path, points, status, first_line):
    runs = [
        run_directory(tmp_path / f"seed{i}", MODEL, each, seed=i).root
        for i, each in enumerate(points)
    ]
    done = run(*runs, f"--output={tmp_path / 'verdict.json'}")
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.splitlines()[0] == first_line
    written = json.loads((tmp_path / "verdict.json").read_text())
    assert first_line.startswith(written["verdict"])
    assert written["seeds"]["box AP"] == pytest.approx(points)
    assert [each["seed"] for each in written["facts"]] == list(range(len(points)))


def test_the_end_of_a_replication_says_the_same(tmp_path):
    """One function judges a run; both tools print what it says."""
    made = run_directory(tmp_path / "run", MODEL, 19.0, train=(11_829, 86_000, 1_005))
    decided = replication._judge(made)
    done = run(made.root)
    assert done.stdout.strip() == verdict.text(decided)
    assert read_json(made.verdict) == json.loads(json.dumps(decided))


def test_deviations_of_any_run_count(tmp_path):
    short = [("train_config.num_steps", "5000")]
    runs = [
        run_directory(tmp_path / "a", MODEL, 22.2).root,
        run_directory(tmp_path / "b", MODEL, 22.2, overrides=short, seed=1).root,
    ]
    done = run(*runs)
    assert done.returncode == 0 and done.stdout.startswith("REPLICATED (2 runs)")
    assert "conditions: changed in 1 setting (1 of training)" in done.stdout
    assert "train_config.num_steps is 5000, published with 50000" in done.stdout


def test_the_same_run_three_times(tmp_path):
    made = run_directory(tmp_path / "a", MODEL, 22.2).root
    done = run(made, made, made)
    assert done.returncode == 2 and "that is one run, not several seeds" in done.stderr


def test_a_file_of_scores_is_given_by_its_flag(tmp_path):
    write_json(tmp_path / "metrics.json", metrics(22.2))
    done = run(tmp_path / "metrics.json")
    assert done.returncode == 2
    assert f"given by --metrics={tmp_path / 'metrics.json'}" in done.stderr


def test_not_comparable_ends_with_3(tmp_path):
    made = run_directory(
        tmp_path / "a", MODEL, 22.2, scores=[metrics(22.2, annotations__images=128)]
    )
    done = run(made.root)
    assert done.returncode == 3 and done.stdout.startswith("NOT COMPARABLE\n")
    assert "evaluated on 128 images" in done.stdout


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
    assert done.returncode == 2 and "official.json is not COCO's" in done.stderr


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


def test_a_damaged_spec_either_ends_it_or_is_done_without(tmp_path):
    made = run_directory(tmp_path / "a", MODEL, 22.2)
    made.spec.write_text("[1, 2]")
    done = run(made.root)
    assert done.returncode == 2 and "not what the kit writes there" in done.stderr
    assert "goes on without it" not in done.stderr
    done = run(made.root, f"--model={MODEL}")
    assert done.returncode == 0 and "goes on without it" in done.stderr


def test_runs_of_different_models(tmp_path):
    other = run_directory(tmp_path / "b", "ssd_mobilenet_v2_320x320_coco17_tpu-8", 20.2).root
    done = run(run_directory(tmp_path / "a", MODEL, 22.2).root, other)
    assert done.returncode == 2 and "the runs are of different models" in done.stderr
