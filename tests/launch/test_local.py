"""Runs on this machine: in turn, in the background, stopped, timed out, refused."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from absl import flags

from replicate import devices, processes
from replicate.devices import Gpu
from replicate.errors import UserError
from replicate.launch import local, status
from replicate.launch.plan import Plan, launched
from replicate.run import RunDir, read_json, write_json
from tests.launch.one_node_slurm import wait_for
from tools import replicate as tool_of_runs

# Writes what it was given beside its run; waits while it is told to; answers signals as the
# training does; gives a verdict where it comes to its end.
_TOOL = """\
import json, os, pathlib, signal, sys, time
arguments = dict(a.removeprefix("--").partition("=")[::2] for a in sys.argv[1:])
run_dir = pathlib.Path(arguments["run_dir"])
run_dir.mkdir(parents=True, exist_ok=True)
def stop(number, frame):
    (run_dir / "saved").write_text(str(number))
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, stop)
(run_dir / "spec.json").write_text(json.dumps({"request": {}}))
(run_dir / "given.json").write_text(json.dumps({
    "arguments": sys.argv[1:], "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "cwd": os.getcwd(),
    "begun": time.time(),
}))
while pathlib.Path(arguments.get("wait", "/nowhere")).exists():
    time.sleep(0.05)
code = int(arguments.get("code", 0))
if code in (0, 1):
    (run_dir / "verdict.json").write_text(json.dumps({"verdict": ["NEAR", "NOT REPLICATED"][code]}))
print("the tool's last words")
sys.exit(code)
"""


@pytest.fixture
def tool(tmp_path):
    path = tmp_path / "tool.py"
    path.write_text(_TOOL)
    return str(path)


def _given(run):
    return read_json(run.directory / "given.json")


def test_seeds_run_in_turn(tool, tmp_path):
    plan = Plan.of(tmp_path / "a b", ["--set=$(x)"], seeds=(2, 1), tool=tool)
    assert local.run(plan) == 0
    for run in plan.runs:
        assert _given(run)["arguments"] == [
            "--set=$(x)",
            f"--seed={run.seed}",
            f"--run_dir={run.directory}",
        ]
        assert _given(run)["cwd"] == os.getcwd()
    begun = [_given(run)["begun"] for run in plan.runs]
    assert begun == sorted(begun)
    assert [each.state for each in status.of_folder(tmp_path)] == ["done", "done"]


@pytest.mark.parametrize(
    ("code", "ran", "answer"),
    [(0, 2, 0), (1, 2, 1), (2, 1, 2), (139, 1, 139)],
)
def test_a_verdict_is_an_answer_and_an_error_an_end(code, ran, answer, tool, tmp_path):
    plan = Plan.of(tmp_path / "r", [f"--code={code}"], seeds=(0, 1), tool=tool)
    assert local.run(plan) == answer
    assert sum((run.directory / "given.json").exists() for run in plan.runs) == ran
    first, second = status.of_folder(tmp_path)
    assert (first.state, first.reason) == {
        0: ("done", ""),
        1: ("done", ""),
        2: ("failed", "exit status 2, see its log"),
        139: ("failed", "SIGSEGV"),
    }[code]
    if ran == 1:
        assert second.state == "skipped"
        assert second.reason == f"seed0 before it ended with status {code}"


def test_a_traceback_is_no_verdict(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise RuntimeError")
    plan = Plan.of(tmp_path / "r", [], seeds=(0, 1), tool=str(broken))
    assert local.run(plan) == 1
    assert "skipped" in launched(plan.runs[1].directory)


def test_after_its_time_limit_it_is_stopped(tool, tmp_path, capfd):
    (tmp_path / "gate").touch()
    plan = Plan.of(tmp_path / "r", [f"--wait={tmp_path}/gate"], tool=tool, time_limit_s=2)
    assert local.run(plan) == 143
    assert (plan.directory / "saved").read_text() == str(int(signal.SIGTERM))
    assert "the time limit is reached" in capfd.readouterr().err


_LAUNCHER = """\
import sys
from replicate.launch import Plan, local
directory, tool, gate = sys.argv[1:]
sys.exit(local.run(Plan.of(directory, [f"--wait={gate}"], seeds=(0, 1), tool=tool)))
"""


@pytest.fixture
def waiting(tool, tmp_path):
    """A plan of two seeds in the background, its first run waiting at a gate."""
    gate = tmp_path / "gate"
    gate.touch()
    plan = Plan.of(tmp_path / "r", [f"--wait={gate}"], seeds=(0, 1), tool=tool)
    command = [sys.executable, "-c", _LAUNCHER, str(plan.directory), tool, str(gate)]
    pid, log = local.start_background(plan, command)
    wait_for((plan.runs[0].directory / "given.json").exists, 60, "start", log.read_text)
    yield plan, pid, log, gate
    gate.unlink(missing_ok=True)
    wait_for(lambda: not _lives(pid), 60, "end")


def _lives(pid):
    return processes.lives(pid, time.time())


def test_in_the_background_it_goes_on_with_a_log(waiting):
    plan, pid, log, gate = waiting
    assert os.getsid(pid) == pid != os.getsid(0)  # a hangup of this terminal does not reach it
    record = launched(plan.runs[0].directory)
    assert (record["pid"], record["log"]) == (pid, str(log))
    first, second = status.of_folder(plan.directory)
    assert (first.state, second.state) == ("preparing", "queued")
    assert first.where == f"process {pid} on {record['host']}" and first.log == str(log)
    gate.unlink()
    wait_for(lambda: not _lives(pid), 60, "end", log.read_text)
    assert log.read_text().count("the tool's last words") == 2
    assert [each.state for each in status.of_folder(plan.directory)] == ["done", "done"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_reaches_the_run_and_ends_the_rest(number, waiting):
    plan, pid, log, _ = waiting
    os.kill(pid, number)
    wait_for(lambda: not _lives(pid), 60, "end", log.read_text)
    assert (plan.runs[0].directory / "saved").read_text() == str(int(number))
    assert not (plan.runs[1].directory / "given.json").exists()
    first = status.of_folder(plan.directory)[0]
    assert (first.state, first.reason) == ("stopped", signal.Signals(number).name)


def test_killed_it_is_dead(waiting):
    plan, pid, _, _ = waiting
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not _lives(pid), 60, "end")
    first = status.of_folder(plan.directory)[0]
    assert (first.state, first.reason) == ("dead", "its process is gone")


def test_a_second_launch_is_refused(waiting, tool):
    plan, pid, _, _ = waiting
    with pytest.raises(UserError, match=rf"preparing already .*stop it first: kill {pid}"):
        local.run(plan)
    with pytest.raises(UserError, match="stop it first"):
        local.start_background(plan, ["true"])


_GPUS = [Gpu(i, f"GPU-{i}{i}{i}", "H200", 140.0, (9, 0)) for i in range(4)]


@pytest.mark.parametrize(
    ("visible", "gpus", "seen"),
    [
        (None, 2, "GPU-000,GPU-111"),
        ("3,1", 1, "GPU-333"),
        (None, 0, "-1"),
        ("1,2", None, "1,2"),
    ],
)
def test_gpus_of_this_machine(visible, gpus, seen, tool, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: _GPUS)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    plan = Plan.of(tmp_path / "r", [], tool=tool)
    assert local.run(plan, gpus) == 0
    assert _given(plan.runs[0])["gpus"] == seen


def test_more_gpus_than_there_are(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: _GPUS[:1])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UserError, match=r"--gpus=2, and this process may use 1 .*\(H200\)"):
        local.run(Plan.of(tmp_path / "r", [], tool=tool), 2)
    assert not RunDir.at(tmp_path / "r").launch.exists()


# ── the tool

PROJECT = pathlib.Path(__file__).resolve().parents[2]
_MODEL = "--model=ssd_mobilenet_v2_320x320_coco17_tpu-8"


def _launch(tmp_path, *arguments):
    for name in ("t.json", "v.json"):
        (tmp_path / name).write_text("{}")
    data = [
        *(f"--train_annotations={tmp_path}/t.json", f"--train_images={tmp_path}"),
        *(f"--val_annotations={tmp_path}/v.json", f"--val_images={tmp_path}"),
    ]
    return subprocess.run(
        [sys.executable, PROJECT / "tools" / "launch.py", *data, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )


def _another_value(flag):
    """An argument that gives a flag of tools/replicate.py a value which is not its default."""
    if isinstance(flag, flags.BooleanFlag):
        return f"--{flag.name}={str(not flag.default).lower()}"
    if isinstance(flag, flags.EnumFlag):
        return f"--{flag.name}={flag.parser.enum_values[-1]}"
    return f"--{flag.name}={_TEXTS.get(flag.name, '7')}"


_GIVEN = ("model", "run_dir", "seed", "train_annotations", "train_images")
_GIVEN += ("val_annotations", "val_images")
_TEXTS = {"set": "a.b=$(c) d", "fine_tune_checkpoint": "/a b", "margin": "7.5", "accept": "seed"}


def test_it_passes_on_whatever_replicate_takes(tmp_path):
    given = [
        _another_value(flag)
        for flag in flags.FLAGS.get_key_flags_for_module(tool_of_runs)
        if flag.name not in _GIVEN
    ]
    assert "--rehearsal=true" in given and "--num_steps=7" in given and len(given) > 8
    given.append("--set=e.f=1")
    done = _launch(
        tmp_path, "--target=local", "--dry_run", _MODEL, "--run_dir=r", *given, "--seeds=1,2"
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "r").exists()
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(lines) == 2
    for line, seed in zip(lines, (1, 2), strict=True):
        words = _shell_words(line)
        assert words[1] == str(PROJECT / "tools" / "replicate.py")
        assert set(given) <= set(words)
        assert words[-2:] == [f"--seed={seed}", f"--run_dir={tmp_path}/r/seed{seed}"]


def _shell_words(line):
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target=local", "--nodes=2", _MODEL], "this machine alone"),
        (["--target=local", "--model=no_such"], "no_such"),
        (["--target=local", _MODEL, "--val_images=/gone"], "no such image folder: /gone"),
        (["--target=local", _MODEL, "--set=x"], "x"),
        (["--target=local", _MODEL, "--seeds=1,x"], "'x' is no whole number"),
        (["--target=local", _MODEL, "--seeds=1,-2"], "-2: a seed is 0 to 4294967295"),
        (["--target=local", _MODEL, "--seeds=1,1"], "stands there twice"),
        (["--target=local", _MODEL, "--seeds=1", "--seed=2"], "--seed or --seeds"),
        (["--target=local", _MODEL, "--time_limit=tomorrow"], "is no time"),
        (["--target=slurm", _MODEL, "--time_limit=5m"], "leaves no time to train"),
        (["--target=skypilot", _MODEL], "start it with /"),
        (["--target=moon", _MODEL], "local"),
        (["--target=local", _MODEL, "--partition=gpu"], "--partition is for --target=slurm alone"),
        (["--target=skypilot", _MODEL, "--gpus=8"], "--gpus is for --target=local and slurm"),
        (["--target=slurm", _MODEL, "--background"], "--background is for --target=local"),
        ([_MODEL], "missing --target"),
    ],
)
def test_a_users_mistake_is_told(arguments, said, tmp_path):
    done = _launch(tmp_path, "--run_dir=r", "--dry_run", *arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr and "Traceback" not in done.stderr


def test_slurm_is_not_needed_to_show_its_script(tmp_path):
    done = _launch(tmp_path, "--target=slurm", _MODEL, "--run_dir=r", "--dry_run", "--gpus=8")
    assert done.returncode == 0, done.stderr
    assert f"not written, not submitted. It would be {tmp_path}/r/launch/job.sbatch" in done.stderr
    assert not (tmp_path / "r").exists()
    assert "#SBATCH --gpus-per-node=8" in done.stdout
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)


def test_a_dry_run_shows_devices_limit_and_log_and_writes_nothing(tmp_path):
    done = _launch(
        *(tmp_path, "--target=local", _MODEL, "--run_dir=r", "--dry_run", "--gpus=0"),
        *("--time_limit=36h", "--background"),
    )
    assert done.returncode == 0, done.stderr
    *said, command = done.stdout.splitlines()
    assert command.startswith("CUDA_VISIBLE_DEVICES=-1 timeout --signal=TERM 129600 ")
    assert f"# in the background, in a session of its own; log: {tmp_path}/r/launch/log.txt" in said
    assert "# time limit of each start: 1-12:00:00, then SIGTERM" in said
    assert not (tmp_path / "r").exists()
    without = _launch(tmp_path, "--target=local", _MODEL, "--run_dir=r", "--dry_run")
    assert "# in this terminal" in without.stdout and "CUDA_VISIBLE_DEVICES=" not in without.stdout


@pytest.mark.skipif(bool(devices.gpus()), reason="it is about machines without GPUs")
def test_a_dry_run_refuses_gpus_that_are_not_there(tmp_path):
    done = _launch(tmp_path, "--target=local", _MODEL, "--run_dir=r", "--dry_run", "--gpus=2")
    assert done.returncode == 2 and "may use 0 of this machine's GPUs" in done.stderr


@pytest.mark.parametrize("target", ["local", "slurm"])
def test_the_folder_of_another_run_is_refused_before_a_queue(tmp_path, target):
    write_json(RunDir.at(tmp_path / "r").spec, {"request": {"seed": 7}}, kind="spec")
    done = _launch(tmp_path, f"--target={target}", _MODEL, "--run_dir=r", "--dry_run")
    assert done.returncode == 2 and "holds a run that was asked for differently" in done.stderr
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["spec.json"]
