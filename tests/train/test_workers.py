"""Two workers over loopback: one is killed, the other says so; together they continue.

What they lose on their way is what one process loses that is never stopped, with the whole batch.
"""

import contextlib
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
from tests.tools.running import started

PROJECT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 12
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def config_path(even_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("workers") / "pipeline.config"
    path.write_text(configs.to_text(even_config))
    return path


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextlib.contextmanager
def _training(config_path, model_dir, count=2):
    """tools/train.py as each of `count` workers, in one run directory: list of processes."""
    workers = [f"127.0.0.1:{_free_port()}" for _ in range(count)]
    command = [
        *(sys.executable, PROJECT / "tools" / "train.py"),
        *(f"--pipeline_config_path={config_path}", f"--model_dir={model_dir}"),
        *(f"--num_train_steps={STEPS}", "--checkpoint_every_n=2", "--log_every_n=1"),
        *("--notrial", "--force"),  # this config is nobody's recipe
    ]
    with contextlib.ExitStack() as running:
        yield [
            running.enter_context(
                started(
                    command,
                    env=os.environ | _of_cluster(workers, index),
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for index in range(count)
        ]


def _of_cluster(workers, index):
    task = {"type": "worker", "index": index}
    return {
        "TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task}),
        "REPLICATE_RENDEZVOUS_TIMEOUT_S": "120",
    }


def _finish(processes):
    """(exit statuses, what each said)."""
    told = [process.communicate(timeout=600)[1] for process in processes]
    return [process.returncode for process in processes], told


def _losses(model_dir):
    return {line["step"]: line["losses"] for line in read_metrics(RunDir.at(model_dir).metrics)}


@pytest.fixture(scope="module")
def alone(config_path, tmp_path_factory):
    """{step: losses} of one process with the whole batch, never stopped."""
    model_dir = tmp_path_factory.mktemp("alone")
    with _training(config_path, model_dir, count=1) as processes:
        statuses, told = _finish(processes)
    assert statuses == [0], told
    losses = _losses(model_dir)
    assert sorted(losses) == list(range(1, STEPS + 1))
    return losses


def _interrupted(config_path, model_dir, index, number):
    """Sends a signal to one of two workers once there is a checkpoint; as `_finish`."""
    deadline = time.monotonic() + 600
    with _training(config_path, model_dir) as processes:
        while not (RunDir.at(model_dir).checkpoints / "ckpt-2.index").exists():
            assert all(process.poll() is None for process in processes), _finish(processes)
            assert time.monotonic() < deadline
            time.sleep(0.01)
        processes[index].send_signal(number)
        return _finish(processes)


def _assert_continued(config_path, model_dir, alone):
    """Started again, both train to the end, with the losses of one that was never stopped."""
    with _training(config_path, model_dir) as processes:
        statuses, told = _finish(processes)
    assert statuses == [0, 0], told
    assert "resuming after step" in told[0]
    state = read_json(RunDir.at(model_dir).training)
    assert state["state"] == "done" and state["execution"]["replicas"] == 2
    losses = _losses(model_dir)
    assert losses.keys() == alone.keys()
    for step in alone:  # up to rounding
        assert losses[step] == pytest.approx(alone[step], rel=1e-3), step


@pytest.mark.parametrize(
    "killed", [pytest.param(0, id="chief", marks=pytest.mark.slow), pytest.param(1, id="worker")]
)
def test_one_killed_ends_the_other_and_both_continue(config_path, alone, tmp_path, killed):
    statuses, told = _interrupted(config_path, tmp_path, killed, signal.SIGKILL)
    assert statuses[killed] == -signal.SIGKILL
    assert statuses[1 - killed] == Unavailable.TRY_AGAIN, told[1 - killed]
    assert "lost another worker" in told[1 - killed] and "same command" in told[1 - killed]
    _assert_continued(config_path, tmp_path, alone)


@pytest.mark.slow
def test_a_signal_to_one_stops_both_after_the_same_step(config_path, alone, tmp_path):
    statuses, told = _interrupted(config_path, tmp_path, 1, signal.SIGUSR1)
    assert statuses == [128 + signal.SIGUSR1] * 2, told
    assert read_json(RunDir.at(tmp_path).training)["state"] == "stopped"
    _assert_continued(config_path, tmp_path, alone)


@pytest.mark.parametrize(
    "message",
    [
        "Collective ops is aborted by: heartbeat timeout\nRPC: /x",
        'in user code:\n\n    File "a.py", line 3, in b  *\n        c()\n\n'
        "    AbortedError: {{function_node __wrapped__X_device_/job:worker}} Collective ops is "
        "aborted by: heartbeat timeout\n    \n    RPC: /x\n",
    ],
    ids=["while it runs", "while it is traced"],
)
def test_the_cause_is_told(message):
    from replicate.cluster import Cluster
    from replicate.train.distribution import lost_peer_named, tf

    said = r"worker 1 \(b:2\) lost .*: Collective ops is aborted by: heartbeat timeout\. Start all"
    with pytest.raises(Unavailable, match=said), lost_peer_named(Cluster(("a:1", "b:2"), 1)):
        raise tf.errors.AbortedError(None, None, message)
