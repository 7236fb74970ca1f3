"""A process that waits to train: what it serves, and what its end is to who waits for it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from replicate.errors import Interrupted, Unavailable, UserError
from replicate.preflight.standby import Standby, outcome_of

SETTINGS = {
    "seed": 0,
    "precision": None,
    "jit_compile": False,
    "tf32": True,
    "gradient_accumulation_steps": 1,
    "input_service": "",
}

# As trial_process.py: waits for its order, writes its outcome.
_CHILD = """
import json, os, signal, sys, time
order = json.loads(sys.stdin.readline() or "null")
if order is None:
    sys.exit(3)
{does}
with open(order["outcome"], "w") as file:
    json.dump(outcome, file)
"""


@pytest.fixture
def waiting(intent):
    """A Standby that keeps a process, which does what it is told in Python."""
    with Standby() as standby:

        def keep(does):
            process = subprocess.Popen(
                [sys.executable, "-c", _CHILD.format(does=does)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            standby.keep(process, intent().message, SETTINGS)
            return standby, process

        yield keep


def result(value):
    return f"outcome = {{'kind': 'result', 'arguments': [{value}]}}"


def test_its_order_and_its_result(waiting, intent):
    standby, process = waiting(result('[order["run_dir"], order["settings"], os.getpid()]'))
    settings = SETTINGS | {"num_steps": 5}
    answer = standby.train(intent().message, "runs/a", **settings)
    assert answer == ["runs/a", settings, process.pid]
    assert process.returncode == 0


def _batch(message):
    message.train_config.batch_size += 1


def _rate(message):
    schedule = message.train_config.optimizer.momentum_optimizer.learning_rate
    schedule.cosine_decay_learning_rate.learning_rate_base += 0.001


def _records(message):
    message.train_input_reader.tf_record_input_reader.input_path[:] = ["elsewhere"]
    message.train_input_reader.label_map_path = "elsewhere"
    message.train_input_reader.shuffle_buffer_size = 7
    message.eval_config.batch_size = 2


@pytest.mark.parametrize(
    "edit, settings, serves",
    [
        (None, {}, True),
        (_records, {}, True),
        (None, {"checkpoint_every_n": 7}, True),
        (_batch, {}, False),
        (_rate, {}, False),
        *((None, {name: "other"}, False) for name in SETTINGS),
    ],
)
def test_what_it_serves(waiting, intent, edit, settings, serves):
    standby, _ = waiting(result(1))
    assert standby.serves(intent(edit).message, SETTINGS | settings) is serves


def test_one_that_has_ended_serves_nothing(waiting, intent):
    standby, process = waiting(result(1))
    process.kill()
    process.wait()
    assert not standby.serves(intent().message, SETTINGS)


def test_one_that_is_not_needed_ends(waiting):
    standby, process = waiting(result(1))
    with standby:
        pass
    assert process.returncode == 3


def raises(error):
    def call():
        raise error

    return call


@pytest.mark.parametrize(
    "error",
    [
        UserError("the loss is no number"),
        Interrupted(signal.SIGTERM, 17),
        Unavailable("worker 1 was lost"),
        KeyboardInterrupt(),
    ],
)
def test_an_error_arrives_as_it_was(waiting, intent, error):
    outcome = json.loads(json.dumps(outcome_of(raises(error))))
    standby, _ = waiting(f"outcome = {outcome!r}")
    with pytest.raises(type(error)) as caught:
        standby.train(intent().message, "runs/a", **SETTINGS)
    assert str(caught.value) == str(error)
    if isinstance(error, Interrupted):
        assert (caught.value.signal, caught.value.step) == (signal.SIGTERM, 17)
    assert outcome_of(lambda: "path") == {"kind": "result", "arguments": ["path"]}


@pytest.mark.parametrize(
    "does, error, message",
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            UserError,
            r"SIGKILL \(out of memory\?\); the",
        ),
        ("sys.exit(1)", RuntimeError, "ended with status 1"),
    ],
)
def test_an_end_without_a_word(waiting, intent, does, error, message):
    standby, _ = waiting(does)
    with pytest.raises(error, match=message):
        standby.train(intent().message, "runs/a", **SETTINGS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on(waiting, intent, number):
    """The waiting process stops in its own way; handlers are as before afterwards."""
    standby, process = waiting(
        "got = []\n"
        f"signal.signal({int(number)}, lambda n, _: got.append(n))\n"
        "print('ready', flush=True)\n"
        "while not got: time.sleep(0.01)\n"
        "outcome = {'kind': 'Interrupted', 'arguments': [got[0], 3]}"
    )
    before = signal.getsignal(number)

    def send():
        process.stdout.readline()
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    with pytest.raises(Interrupted) as caught:
        standby.train(intent().message, "runs/a", **SETTINGS)
    assert caught.value.signal == number and signal.getsignal(number) is before


def test_a_signal_before_there_is_anything_to_save(waiting, intent):
    standby, process = waiting("print('ready', flush=True); time.sleep(600)")

    def send():
        process.stdout.readline()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send).start()
    with pytest.raises(SystemExit) as caught:
        standby.train(intent().message, "runs/a", **SETTINGS)
    assert caught.value.code == 128 + signal.SIGTERM


def test_the_trials_process_ends_with_its_parent(tmp_path):
    """However that ends: its memory is a GPU's, too."""
    child = (
        "import sys, time; sys.path.insert(0, '.'); from replicate.preflight import trial_process; "
        "tried._end_with_the_parent(); print('ready', flush=True); time.sleep(600)"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"process = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "process.stdout.readline()\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        assert psutil.pid_exists(pid)
        process.kill()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
