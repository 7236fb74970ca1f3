"""The tool: its forms, its exit status, its files, its page."""

import json
import subprocess
import sys

import pytest

from tests.conftest import PROJECT


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "tools/explain.py", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def detections(real, tmp_path_factory):
    path = tmp_path_factory.mktemp("detections") / "found.json"
    path.write_text(json.dumps(real["ssd_mobilenet_v2_fpnlite_640x640"]))
    return path


def test_the_reason_in_one_command(val128, detections, tmp_path):
    done = _run(
        f"--annotations_file={val128}",
        f"--detections={detections}",
        "--told=AP=18.79",
        f"--output={tmp_path / 'explain.json'}",
        f"--html={tmp_path / 'explain.html'}",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("COCO's own protocol: AP 0.1254  AP50 0.1695  AR@100 0.1261")
    assert "one protocol: images_with_detections   AP 0.1879" in done.stdout
    content = json.loads((tmp_path / "explain.json").read_text())
    assert content["form"] == "detections" and content["told"][0]["written"] == "18.79"
    page = (tmp_path / "explain.html").read_text().replace("<wbr>", "")
    assert "AP 18.79 is given by one protocol: images_with_detections." in page
    assert "145 detections on 128 images." in page
    assert "44 of 128 images have no detections; their 234 objects count as missed" in page
    # The told figure is a line on every track, once.
    assert page.count('class="told" x1=') == page.count('<td class="track">') > 20


def test_nothing_gives_it(val128, detections):
    done = _run(f"--annotations_file={val128}", f"--detections={detections}", "--told=AP=0.3333")
    assert done.returncode == 1
    assert "Nothing that was tried gives it" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to explain was given; give one of"),
        (["runs/a"], "one run directory was given (runs/a)"),
        (["a", "b", "c"], "3 run directories were given, of which two can be compared"),
        (["--detections=a.json", "extra"], "unexpected: extra"),
        (["--detections=a.json", "--model=a"], "--detections and --model were both given"),
        (["--model=v3.json"], "detections (COCO results) are given by --detections=v3.json"),
        (["a", "b", "--html=tests"], "--html: tests: it is a folder; a file is wanted"),
        (["a", "b", "--output=tests"], "--output: tests: it is a folder; a file is wanted"),
        (["--pairs=maybe"], "explain.py: --pairs=maybe: true or false is wanted"),
        (["--samples=maybe"], "explain.py: --samples=maybe: a whole number is wanted"),
        (["--detections=a.json"], "missing --annotations_file"),
        (["--model=a.tflite", "--annotations_file=a.json"], "missing --image_dir"),
        (["--detections=a.json", "--annotations_file=none.json"], "none.json: no such"),
        (["none/a", "none/b"], "none/a: not a run directory (no such folder)"),
    ],
)
def test_a_users_mistake(arguments, message):
    done = _run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
