"""Two workers over loopback: one is killed, the other says so; together they continue."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from replicate import config as configs
from replicate.errors import Unavailable
from replicate.run import RunDir, read_json, read_metrics

PROJECT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 6
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def config_path(even_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("workers") / "pipeline.config"
    path.write_text(configs.to_text(even_config))
    return path


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _start(config_path, model_dir, count=2):
    """tools/train.py as each of `count` workers, in one run directory."""
    workers = [f"127.0.0.1:{_free_port()}" for _ in range(count)]
    return [
        subprocess.Popen(
            [
                sys.executable,
                PROJECT / "tools" / "train.py",
                f"--pipeline_config_path={config_path}",
                f"--model_dir={model_dir}",
                f"--num_train_steps={STEPS}",
                "--checkpoint_every_n=2",
                "--log_every_n=1",
                "--notrial",
                "--force",  # this config is nobody's recipe
            ],
            env=os.environ
            | {
                "TF_CONFIG": json.dumps(
                    {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
                ),
                "REPLICATE_RENDEZVOUS_TIMEOUT_S": "120",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]


def _finish(processes):
    told = [process.communicate(timeout=400)[1] for process in processes]
    return [process.returncode for process in processes], told


def _losses(model_dir):
    return {line["step"]: line["losses"] for line in read_metrics(RunDir.at(model_dir).metrics)}


def _assert_same_losses(run_dir, other):
    """Step by step, up to rounding."""
    ours, theirs = _losses(run_dir), _losses(other)
    assert ours.keys() == theirs.keys()
    for step in theirs:
        assert ours[step] == pytest.approx(theirs[step], rel=1e-4), step


def _wait_until(condition, processes):
    deadline = time.monotonic() + 400
    while not condition():
        assert all(process.poll() is None for process in processes), _finish(processes)
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(config_path, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("whole")
    statuses, told = _finish(_start(config_path, model_dir))
    assert statuses == [0, 0], told
    return model_dir


def test_they_train_to_the_end_and_one_of_them_writes(uninterrupted):
    assert sorted(_losses(uninterrupted)) == list(range(1, STEPS + 1))
    state = read_json(RunDir.at(uninterrupted).training)
    assert state["state"] == "done" and state["execution"]["replicas"] == 2


@pytest.mark.parametrize("killed", [0, 1], ids=["chief", "worker"])
def test_one_killed_ends_the_other_and_both_continue(config_path, uninterrupted, tmp_path, killed):
    processes = _start(config_path, tmp_path)
    run = RunDir.at(tmp_path)
    _wait_until(lambda: (run.checkpoints / "ckpt-2.index").exists(), processes)
    processes[killed].send_signal(signal.SIGKILL)
    statuses, told = _finish(processes)
    assert statuses[killed] == -signal.SIGKILL
    assert statuses[1 - killed] == Unavailable.TRY_AGAIN, told[1 - killed]
    assert "lost another worker" in told[1 - killed] and "same command" in told[1 - killed]
    statuses, told = _finish(_start(config_path, tmp_path))
    assert statuses == [0, 0], told
    assert "resuming after step" in told[0]
    _assert_same_losses(tmp_path, uninterrupted)


def test_a_signal_to_one_stops_both_after_the_same_step(config_path, uninterrupted, tmp_path):
    processes = _start(config_path, tmp_path)
    run = RunDir.at(tmp_path)
    _wait_until(lambda: (run.checkpoints / "ckpt-2.index").exists(), processes)
    processes[1].send_signal(signal.SIGUSR1)
    statuses, told = _finish(processes)
    assert statuses == [128 + signal.SIGUSR1] * 2, told
    assert read_json(run.training)["state"] == "stopped"
    statuses, told = _finish(_start(config_path, tmp_path))
    assert statuses == [0, 0], told
    _assert_same_losses(tmp_path, uninterrupted)
