"""How runs stand, from directories in every state; the table and the tool."""

import json
import os
import pathlib
import platform
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from rich.console import Console

from replicate.errors import UserError
from replicate.launch import board, slurm_queue, status
from replicate.launch.slurm_queue import Job
from replicate.run import RunDir, write_json, write_text
from tests.tools.running import started

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "status.py"
HERE = platform.node()
HOUR = 3600


def _dead_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def _make(root, training=None, launch=None, spec=None, verdict=None, ap=None, pace=(), age=0):
    """A run directory; `training` and `launch` are what its files hold beyond the usual."""
    run, then = RunDir.at(root), time.time() - age
    if spec is not False:
        write_json(run.spec, {"request": {}} | (spec or {}))
    if training is not None:
        usual = {"state": "running", "step": 40, "num_steps": 100, "pid": os.getpid()}
        write_json(run.training, usual | {"host": HERE, "updated": then} | training)
    if launch is not None:
        write_json(run.launch / "launch.json", {"launched": then} | launch)
    lines = [{"step": 10 * n, "steps_per_second": each} for n, each in enumerate(pace)]
    write_text(run.metrics, "".join(json.dumps(line) + "\n" for line in lines))
    os.utime(run.metrics, (then, then))
    if ap is not None:
        write_json(run.eval_at(30) / "metrics.json", {"metrics": {"AP": ap}})
        write_json(run.eval_at(30) / "detections.json.gz", [])
    if verdict:
        write_json(run.verdict, {"verdict": verdict})
    return root


_AWAY = {"host": "gpu7", "pid": 1}
_GONE = {"pid": _dead_pid()}
CASES = {
    # what: (run directory, state, reason)
    "trains": ({"training": {}}, "running", ""),
    "trains elsewhere": ({"training": _AWAY}, "running", ""),
    "silent elsewhere": ({"training": _AWAY, "age": HOUR}, "dead", "its process is gone"),
    "killed": ({"training": _GONE}, "dead", "its process is gone"),
    # The process id lives, but belongs to one that began after the run's last word.
    "killed, its id taken": ({"training": {"updated": 1}}, "dead", "its process is gone"),
    "stopped": (
        {"training": _GONE | {"state": "stopped", "reason": "SIGTERM: saved"}},
        "stopped",
        "SIGTERM: saved",
    ),
    "failed": (
        {"training": _GONE | {"state": "failed", "reason": "loss is nan"}},
        "failed",
        "loss is nan",
    ),
    "evaluates": ({"training": {"state": "done", "step": 100}}, "evaluating", ""),
    "done": ({"training": _GONE | {"state": "done"}, "verdict": "NEAR", "ap": 0.2}, "done", ""),
    "killed while it evaluated": (
        {"training": _GONE | {"state": "done"}, "ap": 0.2},
        "dead",
        "its process is gone",
    ),
    "evaluated to its end, not judged": (
        {"training": _GONE | {"state": "done", "step": 30}, "ap": 0.2},
        "trained",
        "evaluated to its end, not judged: no verdict.json",
    ),
    "tools/train.py, at its end": (
        {"training": _GONE | {"state": "done"}, "spec": False},
        "trained",
        "",
    ),
    "recognition, at its end": (
        {"training": _GONE | {"state": "done"}, "spec": {"kind": "recognition"}},
        "trained",
        "",
    ),
    "converts": (
        {"launch": {"target": "local", "pid": os.getpid(), "host": HERE}},
        "preparing",
        "",
    ),
    "waits its turn": (
        {"launch": {"target": "local", "pid": os.getpid(), "host": HERE, "waits": True}},
        "queued",
        "",
    ),
    "stopped, launched again": (
        {
            "training": _GONE | {"state": "stopped", "updated": 5.0, "reason": "SIGTERM"},
            "launch": {"target": "local", "pid": os.getpid(), "host": HERE},
        },
        "preparing",
        "",
    ),
    "done, launched again": (
        {
            "training": _GONE | {"state": "done", "updated": 5.0},
            "launch": {
                "target": "local", "pid": os.getpid(), "host": HERE,
                "launched": time.time() + 24 * HOUR,
            },
            "verdict": "NEAR",
        },
        "preparing",
        "",
    ),
    "launched, stopped, continued by hand": (
        {
            "training": {},
            "launch": {"target": "local", "pid": _GONE["pid"], "host": HERE, "exit": 143},
        },
        "running",
        "",
    ),
    "ended with a status that is no signal": (
        {"launch": {"target": "local", "pid": _GONE["pid"], "host": HERE, "exit": 255}},
        "failed",
        "exit status 255, see its log",
    ),
    "a report made of files from elsewhere": ({"verdict": "NEAR", "age": HOUR}, "done", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_states_without_slurm(what, tmp_path):
    made, state, reason = CASES[what]
    _make(tmp_path / "a", **made)
    (found,) = status.of_folder(tmp_path)
    assert (found.run, found.state, found.reason) == ("a", state, reason)


_NOW = time.time()
_JOBS = {
    # what: (Slurm's word, training.json, verdict, state, reason)
    "waits": (Job("PENDING", "Priority", None), None, None, "queued", "pending: Priority"),
    "prepares": (Job("RUNNING", "None", _NOW), None, None, "preparing", ""),
    "trains": (Job("RUNNING", "None", _NOW - 90), {}, None, "running", ""),
    "trains again, its last end told": (
        Job("RUNNING", "None", _NOW),
        {"state": "stopped", "updated": _NOW - 60},
        None,
        "preparing",
        "",
    ),
    "back in the queue": (
        Job("PENDING", "BeginTime", None),
        {"state": "stopped", "reason": "SIGUSR1: saved"},
        None,
        "queued",
        "SIGUSR1: saved",
    ),
    "evaluates": (Job("RUNNING", "None", _NOW - 90), {"state": "done"}, None, "evaluating", ""),
    "done": (Job("COMPLETED", "None", _NOW - 90), {"state": "done"}, "NEAR", "done", ""),
    # Exit status 1 is the answer "not replicated", which Slurm takes for a failure.
    "not replicated": (
        Job("FAILED", "NonZeroExitCode", _NOW - 90),
        {"state": "done"},
        "NOT REPLICATED",
        "done",
        "",
    ),
    "cancelled": (
        Job("CANCELLED", "None", _NOW - 90),
        {"state": "stopped", "reason": "SIGTERM: saved"},
        None,
        "cancelled",
        "SIGTERM: saved",
    ),
    "too slow": (
        Job("TIMEOUT", "TimeLimit", _NOW - 90), {}, None, "timed out", "timeout: TimeLimit",
    ),
    "out of memory": (
        Job("OUT_OF_MEMORY", "OutOfMemory", _NOW - 90), {}, None, "failed",
        "out_of_memory: OutOfMemory",
    ),
    "forgotten by Slurm, saved": (
        None, {"state": "stopped", "reason": "SIGTERM: saved"}, None, "stopped", "SIGTERM: saved",
    ),
    "forgotten by Slurm, without a word": (None, {}, None, "dead", "its process is gone"),
}  # fmt: skip


@pytest.mark.parametrize("what", _JOBS)
def test_states_under_slurm(what, tmp_path, monkeypatch):
    job, training, verdict, state, reason = _JOBS[what]
    monkeypatch.setattr(slurm_queue, "read", lambda jobs: {"12": job} if job else {})
    _make(
        tmp_path / "a",
        training=None if training is None else {"host": "node9", "pid": 77} | training,
        launch={"target": "slurm", "job": "12", "log": "l"},
        verdict=verdict,
        age=30,
    )
    (found,) = status.of_folder(tmp_path)
    assert (found.state, found.reason, found.where) == (state, reason, "Slurm job 12")


def test_without_slurm_here_a_silent_job_is_taken_for_dead(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_queue, "read", lambda jobs: None)
    launch = {"target": "slurm", "job": "12"}
    _make(tmp_path / "fresh", training={"host": "node9"}, launch=launch)
    _make(tmp_path / "silent", training={"host": "node9"}, launch=launch, age=HOUR)
    assert [each.state for each in status.of_folder(tmp_path)] == ["running", "dead"]


def test_figures(tmp_path):
    """60 of 100 steps to go at a median of 2 steps a second; AP of the last evaluation."""
    _make(tmp_path / "b", training={}, pace=[0.1, 2, 2, 2, 9], ap=0.2216)
    (found,) = status.of_folder(tmp_path)
    assert (found.step, found.num_steps, found.eta_s) == (40, 100, 30)
    assert (found.ap, found.ap_step) == (0.2216, 30)


def test_a_finished_run_has_no_process(tmp_path):
    _make(tmp_path / "done", training=_GONE | {"state": "done"}, spec={"kind": "recognition"})
    _make(tmp_path / "runs", training={})
    done, runs = status.of_folder(tmp_path)
    assert done.state == "trained" and done.where == ""
    assert runs.where == f"process {os.getpid()} on {HERE}"


def test_mean_ap_of_recognition(tmp_path):
    """That of the last step, of val before the training images."""
    run = RunDir.at(_make(tmp_path / "r", training={}, spec={"kind": "recognition"}))
    for step, split, ap in ((9, "val", 0.1), (20, "train", 0.9), (20, "val", 0.4)):
        write_json(run.eval_at(step) / f"{split}.json", {"metrics": {"mean_AP": ap}})
    (found,) = status.of_folder(tmp_path)
    assert (found.ap, found.ap_step) == (0.4, 20)


def test_all_runs_of_a_folder_are_found(tmp_path):
    for name in ("a", "seeds/seed0", "seeds/seed1", "deep/er/still"):
        _make(tmp_path / name, training={})
    (tmp_path / "not a run" / "data").mkdir(parents=True)
    (tmp_path / "_latest").symlink_to(tmp_path / "seeds")
    found = [each.run for each in status.of_folder(tmp_path)]
    assert found == ["a", "deep/er/still", "seeds/seed0", "seeds/seed1"]
    assert [each.run for each in status.of_folder(tmp_path / "a")] == ["."]


def test_the_launch_of_seeds_is_no_run_of_its_own(tmp_path):
    """seeds/launch holds the script and the log; the runs are below."""
    write_text(tmp_path / "seeds" / "launch" / "job.sbatch", "#!/bin/bash\n")
    _make(tmp_path / "seeds" / "seed0", training={})
    assert [each.run for each in status.of_folder(tmp_path)] == ["seeds/seed0"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        status.of_folder(tmp_path / "gone")


_HEADS = ("run", "state", "step", "time left", "last AP", "verdict")


def _shown(found, width):
    console = Console(width=width)
    with console.capture() as captured:
        console.print(board.table(found, width))
    return captured.get()


@pytest.mark.parametrize("width", [200, 100, 60])
def test_the_table_keeps_names_whole(width, tmp_path):
    """Names like markup stay as they are; a narrow terminal folds, it does not cut."""
    name = "fpn[bold]lite[/x] :smile: " + "x" * 40
    _make(tmp_path / name, training={"step": 1200, "num_steps": 50000}, ap=0.2216, pace=[1])
    (found,) = status.of_folder(tmp_path)
    text = _shown([found], width)
    rows = [line.strip("│").split("│") for line in text.splitlines() if "│" in line]
    columns = ["".join(cell.strip() + " " for cell in cells) for cells in zip(*rows, strict=True)]
    assert columns[0].replace(" ", "") == name.replace(" ", "")
    told = dict(zip(_HEADS, columns, strict=False))
    assert told["state"].split() == ["running"]
    assert told["step"].split() == ["1,200", "of", "50,000"]
    assert told["time left"].split() == ["13:33:20"]
    assert told["last AP"].split() == ["22.2", "at", "30"]


@pytest.mark.parametrize("width", [200, 119, 80, 60])
def test_columns_at_every_width(width, tmp_path):
    """A verdict is not cut; where and why is a column, or stands below where that is too narrow."""
    _make(tmp_path / "a", training=_GONE | {"state": "failed", "reason": "no room"})
    _make(tmp_path / "b", training={"step": 9, "num_steps": 9}, ap=0.5)
    write_json(tmp_path / "b" / "verdict.json", {"verdict": "NOT COMPARABLE"})
    text = _shown(status.of_folder(tmp_path), width)
    assert all(len(line) <= width for line in text.splitlines())
    head = next(line for line in text.splitlines() if "state" in line)
    # Nothing is left of either: a narrow table has no column for it.
    assert all(name.split()[0] in head for name in _HEADS if width >= 80 or name != "time left")
    for word in ("failed", "NOT", "COMPARABLE", "50.0", "no"):
        assert re.search(rf"[│ ]{word}[│ ,\n]", text)
    assert "room" in text
    assert ("where" in head) == (width >= 80)


@pytest.mark.parametrize("width", [20, 30, 42, 60])
def test_nothing_is_cut_however_narrow(width, tmp_path):
    """Columns, all of them or none: where they have no room, each run is a paragraph."""
    _make(tmp_path / "a_run", training={"step": 9, "num_steps": 9}, ap=0.5)
    write_json(tmp_path / "a_run" / "verdict.json", {"verdict": "NOT COMPARABLE"})
    text = _shown(status.of_folder(tmp_path), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    for word in ("a_run", "50.0", "NOT", "COMPARABLE"):
        assert word in text
    assert ("│" in text) == (width >= 42)


def test_a_long_reason_is_one_line_of_the_table(tmp_path):
    reason = 'in user code:\n\n    File "a.py", line 1\n\n    ValueError: ' + "no boxes " * 40
    _make(tmp_path / "a", training=_GONE | {"state": "failed", "reason": reason})
    (found,) = status.of_folder(tmp_path)
    assert found.reason == reason
    text = _shown([found], 200)
    assert "ValueError: no boxes no" in text and "…" in text and "a.py" not in text


def _status(*arguments):
    return subprocess.run(
        [sys.executable, TOOL, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "160"},
    )


def test_the_tool(tmp_path):
    _make(tmp_path / "a", training={"step": 1200, "num_steps": 50000}, ap=0.2216, pace=[1])
    shown = _status(tmp_path)
    assert shown.returncode == 0, shown.stderr
    for word in ("running", "1,200 of 50,000", "13:33:20", "22.2 at 30", HERE):
        assert word in shown.stdout
    (found,) = json.loads(_status(tmp_path, "--json").stdout)
    assert (found["run"], found["state"], found["eta_s"]) == ("a", "running", 48800)


def test_the_tool_on_an_empty_folder_and_on_none(tmp_path):
    empty = _status(tmp_path)
    assert empty.returncode == 0 and "no run in" in empty.stdout
    gone = _status(tmp_path / "gone")
    assert gone.returncode == 2 and "no such folder" in gone.stderr
    assert _status().returncode == 2


def test_watch_redraws_until_it_is_interrupted(tmp_path):
    _make(tmp_path / "a", training={"step": 41})
    terminal, its_end = pty.openpty()
    with started(
        [sys.executable, TOOL, tmp_path, "--watch", "--interval_s=0.2"],
        stdout=its_end,
        stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "20"},
    ) as process:
        os.close(its_end)
        seen = _read_until(terminal, rb"41 of 100")
        _make(tmp_path / "a", training={"step": 42})
        seen += _read_until(terminal, rb"42 of 100")
        process.send_signal(2)
        assert process.wait(30) == 130
        assert b"Traceback" not in process.stderr.read()
    os.close(terminal)


def _read_until(terminal, pattern):
    seen, deadline = b"", time.monotonic() + 60
    while not re.search(pattern, seen):
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096)
    return seen
