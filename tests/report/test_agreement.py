"""One file of detections, one groundtruth: every tool has the same figures, to the last digit."""

import shutil
import subprocess
import sys

import pytest

from replicate import report
from replicate.run import read_json, write_json
from tests.conftest import PROJECT
from tests.report import making


def tool(name, *arguments):
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / name, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 2 and "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory, finished_run, drawn):
    """A run whose detections were cut at a score and have none of some images."""
    root = tmp_path_factory.mktemp("agreement") / "run"
    shutil.copytree(finished_run.root, root, ignore=shutil.ignore_patterns("report"))
    run = type(finished_run)(root)
    found = [each for each in making.detections(drawn[0], skill=0.9) if each["score"] > 0.5]
    some = sorted({each["image_id"] for each in found})[3:]
    found = [each for each in found if each["image_id"] in some]
    making.write_evaluation(run, 300, drawn[0], found)
    report.write(run)
    return run


@pytest.fixture(scope="module")
def evaluated(run):
    return read_json(run.eval_at(300) / "metrics.json")


CUT = "cut at a score of about 0.5"
WITHOUT = "3 of 16 images have no detections"


def test_score(run, evaluated, drawn, tmp_path):
    said = tool(
        "score.py",
        f"--annotations_file={drawn[0]}",
        f"--detections={run.eval_at(300) / 'detections.json.gz'}",
        f"--output={tmp_path / 'metrics.json'}",
    )
    scored = read_json(tmp_path / "metrics.json")
    for name in ("metrics", "evaluators", "per_category", "detections", "annotations"):
        assert scored[name] == evaluated[name], name
    assert CUT in said and WITHOUT in said


def test_benchmark(run, evaluated, drawn, tmp_path):
    said = tool(
        "benchmark.py",
        f"--model={run.eval_at(300) / 'detections.json.gz'}",
        f"--annotations_file={drawn[0]}",
        f"--output={tmp_path / 'record.json'}",
        "--nocache",
    )
    record = read_json(tmp_path / "record.json")
    assert record["metrics"]["bbox"] == evaluated["metrics"]
    assert CUT in said and WITHOUT in said


@pytest.mark.parametrize("by", ["run directory", "metrics"])
def test_verdict(by, run, evaluated, tmp_path):
    given = [run.root]
    if by == "metrics":
        write_json(tmp_path / "metrics.json", evaluated)
        given = [f"--metrics={tmp_path / 'metrics.json'}", f"--model={making.MODEL}"]
    said = tool("verdict.py", *given, f"--output={tmp_path / 'verdict.json'}")
    assert read_json(tmp_path / "verdict.json")["achieved"] == {
        "box AP": 100 * evaluated["metrics"]["AP"]
    }
    assert CUT in said and WITHOUT in said


def test_report(run, evaluated):
    told = read_json(run.report / "report.json")
    assert {each["name"]: each["value"] for each in told["metrics"]["rows"]} == evaluated["metrics"]
    for each in told["metrics"]["rows"]:
        for name, figures in evaluated["evaluators"].items():
            assert each["evaluators"][name] == figures[each["name"]]
    assert told["per_category"] == evaluated["per_category"]
    for page in ("index.html", "report.md"):
        said = (run.report / page).read_text()
        assert CUT in said and WITHOUT in said


def test_comparison(run, evaluated, tmp_path):
    tool("compare_runs.py", run.root, f"--output={tmp_path}", "--bootstrap=0")
    (told,) = read_json(tmp_path / "comparison.json")["runs"]
    assert told["metrics"] == evaluated["metrics"]
    assert CUT in told["remarks"][0] and WITHOUT in told["remarks"][1]
    assert WITHOUT in (tmp_path / "index.html").read_text()
