"""tools/score.py as a user calls it: exit status, what goes to stdout, the file it leaves."""

import json
import pathlib
import subprocess
import sys

import pytest

from replicate.score import METRICS

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/score.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def detections_file(detections, tmp_path):
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(detections))
    return path


def test_twelve_metrics_and_the_file(annotations_file, detections_file, tmp_path):
    output = tmp_path / "out" / "metrics.json"
    done = run(
        f"--annotations_file={annotations_file}",
        f"--detections={detections_file}",
        f"--output={output}",
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines()[1:] if not line.startswith("! ")]
    shown = {line.split()[0]: line.split()[1:] for line in lines}
    metrics = json.loads(output.read_text())["metrics"]
    assert list(shown) == list(metrics) == list(METRICS["bbox"])
    for name, values in shown.items():
        assert values == [f"{metrics[name]:.4f}" if metrics[name] is not None else "undefined"] * 2
    assert [each.name for each in output.parent.iterdir()] == ["metrics.json"]


def test_wrong_detections_are_offered_a_fix(annotations_file, detections_file, tmp_path):
    detections = json.loads(detections_file.read_text())
    detections_file.write_text(json.dumps([*detections, dict(detections[0], image_id=1)]))
    arguments = (
        f"--annotations_file={annotations_file}",
        f"--detections={detections_file}",
        f"--output={tmp_path / 'metrics.json'}",
    )
    refused = run(*arguments)
    assert refused.returncode == 2 and refused.stdout == ""
    assert "--fix=unknown_images leaves them out" in refused.stderr
    assert not (tmp_path / "metrics.json").exists()
    mended = run(*arguments, "--fix=unknown_images")
    assert mended.returncode == 0 and (
        "! --fix=unknown_images leaves them out (1 of 161 detections): 1 of 161" in mended.stdout
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "missing --annotations_file, --detections"),
        (
            ["--annotations_file=none.json", "--detections=d.json"],
            "none.json: no such annotation file",
        ),
        (["--annotations_file=a", "--detections=d", "--evaluator=coco"], "--evaluator"),
    ],
)
def test_usage_errors(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr
