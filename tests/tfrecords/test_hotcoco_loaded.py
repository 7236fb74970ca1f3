"""A signal while hotcoco meets its first array is the tool's message, not hotcoco's backtrace."""

import pathlib
import re
import signal
import subprocess
import sys

import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[2]
# A program that is sent a signal at the N-th Python function called in hotcoco's first use.
FIRST_USE = """
import signal, sys
sys.path.insert(0, {project!r})
import numpy as np
{load}
calls = 0
def profile(frame, event, _):
    global calls
    calls += event == "call"
    if event == "call" and calls == {at}:
        signal.raise_signal(signal.SIGTERM)
def stop(number, frame):
    raise SystemExit(128 + number)
signal.signal(signal.SIGTERM, stop)
mask = np.ones((2, 2), np.uint8, order="F")
truth = hotcoco.COCO({{"images": [{{"id": 1, "width": 9, "height": 9}}], "annotations": [],
    "categories": [{{"id": 1, "name": "a"}}]}})
sys.setprofile(profile)
found = truth.load_res(np.array([[1, 2, 2, 3, 3, 0.5, 1]]))
decoded = hotcoco.mask.decode(hotcoco.mask.encode(mask))
sys.setprofile(None)
print(calls, len(found.dataset["annotations"]), int(decoded.sum()))
"""
# A tool that is sent one while the module loads hotcoco in its thread.
TOOL = """
\"\"\"Scores.\"\"\"
import signal, sys, threading
sys.path.insert(0, {project!r})
__import__("replicate.stopping")
import numpy as np
from tools import cli
def main(_):
    calls = 0
    def profile(frame, event, _):
        nonlocal calls
        calls += event == "call"
        if event == "call" and calls == {at}:
            sys.setprofile(None)
            signal.raise_signal({number})
    threading.setprofile(profile)
    import tfrecords.hotcoco_loaded
    print("went on after", calls)
if __name__ == "__main__":
    cli.run(main)
"""


def _run(text, path):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("at", [1, 100])
def test_hotcoco_alone_panics(tmp_path, at):
    """What the module is for; once this fails, hotcoco can be imported as any library."""
    text = FIRST_USE.format(project=str(PROJECT), load="import hotcoco, hotcoco.mask", at=at)
    done = _run(text, tmp_path / "alone.py")
    assert "panicked" in done.stderr and done.returncode == 1


def test_no_python_runs_in_it_once_it_is_loaded(tmp_path):
    load = "from tfrecords.hotcoco_loaded import hotcoco"
    done = _run(FIRST_USE.format(project=str(PROJECT), load=load, at=1), tmp_path / "loaded.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 1 4\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
@pytest.mark.parametrize("at", [1, 400, 1000])
def test_a_stop_in_the_first_use_is_one_message(tmp_path, number, at):
    text = TOOL.format(project=str(PROJECT), number=int(number), at=at)
    done = _run(text, tmp_path / "tools" / "scores.py")
    assert (done.returncode, done.stdout) == (128 + number, ""), done.stderr
    assert re.fullmatch(r"\nscores\.py: (interrupted|stopped by SIGTERM); .*\n", done.stderr)


def test_nothing_else_loads_hotcoco():
    """hotcoco.plot alone, which draws with Python code from an evaluation that is loaded."""
    found = {
        (str(path.relative_to(PROJECT)), line.strip())
        for room in ("replicate", "tfrecords", "tools")
        for path in (PROJECT / room).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(import|from) hotcoco\b", line) and path.name != "hotcoco_loaded.py"
    }
    assert found == {("replicate/score/analysis.py", "from hotcoco import plot")}
