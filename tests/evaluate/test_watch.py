"""Checkpoints evaluated as they come, until training has ended."""

import dataclasses
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from replicate import odapi
from replicate.errors import UserError

odapi.load()

from tensorboard.backend.event_processing import event_accumulator

from replicate.evaluate import events, watch
from replicate.evaluate.checkpoint_evaluator import Checkpoint, CheckpointEvaluator
from replicate.run import RunDir, read_json, write_json
from tests.tools.running import started

PROJECT = pathlib.Path(__file__).resolve().parents[2]


class Checkpoints:
    """A `CheckpointEvaluator`'s stand-in: checkpoints that come, a list of steps a look."""

    def __init__(self, *looks):
        self.looks, self.evaluated = list(looks), []

    def checkpoints(self):
        steps = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return [Checkpoint(step, step, f"ckpt-{step}") for step in steps]

    def evaluate(self, checkpoint):
        self.evaluated.append(checkpoint.step)
        return {"metrics": {"AP": 0.5}}


def _training(tmp_path, state="running", **more):
    told = {
        "state": state,
        "step": 20,
        "num_steps": 40,
        "pid": os.getpid(),
        "host": platform.node(),
        "updated": time.time(),
    }
    write_json(tmp_path / "training.json", told | more)


def _gone_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# name: what training.json says (None: no file), looks at the folder, steps evaluated, complete,
# in the reason
ENDS = {
    "the last step": ({}, [[10], [10, 20], [20, 40]], [10, 20, 40], True, "last step, 40"),
    "all were there": ({"state": "done"}, [[20, 40]], [20, 40], True, "last step, 40"),
    "stopped": (
        {"state": "stopped", "reason": "SIGTERM: stopped\nmore"},
        [[10, 20]],
        [10, 20],
        False,
        r"stopped \(SIGTERM: stopped\); last step evaluated: 20 of 40",
    ),
    "failed": ({"state": "failed"}, [[]], [], False, "failed; no checkpoint was there of 40"),
    "killed": ({"pid": "gone"}, [[10]], [10], False, "is gone"),
    "another process has its number": ({"updated": 1000.0}, [[10]], [10], False, "is gone"),
    "elsewhere and silent": ({"host": "elsewhere", "pid": "gone"}, [[10]], [10], False, "1 s"),
    "running and silent": ({}, [[10]], [10], False, "no new checkpoint in 1 s"),
    "nothing told": (None, [[10], [10, 20]], [10, 20], False, "no new checkpoint in 1 s"),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.timeout(60)
def test_how_it_ends(name, tmp_path, monkeypatch):
    told, looks, evaluated, complete, reason = ENDS[name]
    monkeypatch.setattr(watch, "_POLL_SECONDS", 0.05)
    if told is not None:
        _training(tmp_path, **(told | ({"pid": _gone_pid()} if told.get("pid") else {})))
    checkpoints = Checkpoints(*looks)
    end = watch.watch(checkpoints, tmp_path / "training.json", 0, eval_timeout=1, grace=0.2)
    assert checkpoints.evaluated == evaluated
    assert end.complete is complete
    assert re.search(reason, end.reason)


def test_the_given_last_step_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "_POLL_SECONDS", 0.05)
    _training(tmp_path, num_steps=40)
    end = watch.watch(Checkpoints([10, 20]), tmp_path / "training.json", 20, 1, grace=0.2)
    assert end == watch.End(True, "the checkpoint of the last step, 20, is evaluated")


def test_training_that_goes_on_within_the_grace(tmp_path, monkeypatch):
    """What a process that was stopped left behind does not end the watch of the next one."""
    monkeypatch.setattr(watch, "_POLL_SECONDS", 0.05)
    _training(tmp_path, state="stopped")
    timer = threading.Timer(0.5, _training, [tmp_path])
    timer.start()
    checkpoints = Checkpoints(*[[20]] * 30, [20, 40])
    end = watch.watch(checkpoints, tmp_path / "training.json", 0, eval_timeout=30, grace=1.5)
    timer.join()
    assert end.complete and checkpoints.evaluated == [20, 40]


@dataclasses.dataclass
class _Unreadable(Checkpoints):
    """The first checkpoint cannot be read."""

    def __init__(self, folder):
        super().__init__([10, 40])
        self._folder = folder

    def checkpoints(self):
        return [
            dataclasses.replace(each, path=str(self._folder / each.path))
            for each in super().checkpoints()
        ]

    def evaluate(self, checkpoint):
        if checkpoint.step == 10:
            raise UserError("cannot be read")
        return super().evaluate(checkpoint)


@pytest.mark.parametrize(("damaged", "said"), [(False, "was deleted"), (True, "is damaged")])
def test_a_checkpoint_that_cannot_be_read_is_passed_over(damaged, said, tmp_path, capsys):
    if damaged:
        (tmp_path / "ckpt-10.index").write_bytes(b"no index")
    checkpoints = _Unreadable(tmp_path)
    end = watch.watch(checkpoints, tmp_path / "training.json", 40, eval_timeout=1)
    assert end.complete and checkpoints.evaluated == [40]
    assert said in capsys.readouterr().err


def _scalars(folder):
    """{tag: {step: value}} of the events in `folder`."""
    accumulator = event_accumulator.EventAccumulator(
        str(folder), size_guidance={event_accumulator.TENSORS: 0}
    )
    accumulator.Reload()
    import tensorflow as tf

    return {
        tag: {
            event.step: float(tf.make_ndarray(event.tensor_proto))
            for event in accumulator.Tensors(tag)
        }
        for tag in accumulator.Tags()["tensors"]
    }


def _command(case, *more):
    return [
        sys.executable,
        str(PROJECT / "tools" / "evaluate.py"),
        f"--pipeline_config_path={case.config_path}",
        f"--annotations_file={case.annotations_file}",
        f"--image_dir={case.image_dir}",
        *more,
    ]


def test_kept_checkpoints_of_a_run(ssd, tmp_path):
    run = RunDir.at(tmp_path)
    ssd.save(7, run.checkpoints)
    ssd.save(9, run.checkpoints)
    checkpoints = CheckpointEvaluator(run, ssd.config, ssd.annotations_file, ssd.image_dir)
    metrics = checkpoints.evaluate_all()
    assert run.evaluated_steps() == [7, 9]
    assert metrics == json.loads(json.dumps(read_json(run.eval_at(9) / "metrics.json")))
    assert metrics["step"] == 9 and metrics["checkpoint"]["path"] == "checkpoints/ckpt-9"
    scalars = _scalars(run.eval_events)
    assert set(events.TAGS["bbox"].values()) <= scalars.keys()
    for step in (7, 9):
        values = read_json(run.eval_at(step) / "metrics.json")["metrics"]
        for name, tag in events.TAGS["bbox"].items():
            expected = -1 if values[name] is None else values[name]
            assert scalars[tag][step] == pytest.approx(expected, rel=1e-6)

    # What is evaluated is passed over, unless another checkpoint has come in its place.
    before = (run.eval_at(7) / "metrics.json").stat().st_mtime_ns
    CheckpointEvaluator(run, ssd.config, ssd.annotations_file, "nowhere").evaluate_all()
    assert (run.eval_at(7) / "metrics.json").stat().st_mtime_ns == before
    ssd.save(9, run.checkpoints)
    for part in run.checkpoints.glob("ckpt-7.*"):
        part.unlink()
    with pytest.raises(UserError, match="nowhere"):
        (run.eval_at(9) / "metrics.json").unlink()
        CheckpointEvaluator(run, ssd.config, ssd.annotations_file, "nowhere").evaluate_all()


@pytest.mark.timeout(900)
def test_the_tool_watches_a_folder_as_model_main_tf2_does(ssd, tmp_path):
    """Checkpoints counted from 1, as the API's loop names them; their steps are inside."""
    folder, model_dir = tmp_path / "theirs", tmp_path / "out"
    ssd.save(7, tmp_path / "seven")
    ssd.save(9, tmp_path / "nine")
    folder.mkdir()

    def comes(source, step, number):
        for part in sorted((tmp_path / source).glob(f"ckpt-{step}.*"), reverse=True):
            name = part.name.replace(f"ckpt-{step}", f"ckpt-{number}")
            (folder / name).write_bytes(part.read_bytes())

    comes("seven", 7, 1)
    run = RunDir.at(model_dir)
    with started(
        _command(
            ssd,
            f"--checkpoint_dir={folder}",
            f"--model_dir={model_dir}",
            "--num_train_steps=9",
            "--eval_timeout=600",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while run.evaluated_steps() != [7]:
            assert process.poll() is None, process.communicate()[1][-3000:]
            time.sleep(0.2)
        comes("nine", 9, 2)
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    assert "the checkpoint of the last step, 9, is evaluated" in out
    assert run.evaluated_steps() == [7, 9]
    assert read_json(run.eval_at(9) / "metrics.json")["checkpoint"]["path"] == str(
        folder / "ckpt-2"
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_usable_state(number, status, ssd, tmp_path):
    run = RunDir.at(tmp_path)
    with started(
        _command(ssd, f"--checkpoint_dir={ssd.checkpoint_dir}", f"--model_dir={tmp_path}"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while run.evaluated_steps() != [7]:
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
    assert process.returncode == status
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*.partial")]


# name: flags, in the message
MISTAKES = {
    "neither": ([], "either --checkpoint with --output, or --model_dir"),
    "no images": (["--model_dir=."], "missing --annotations_file, --image_dir"),
    "no folder": (["--model_dir=a", "--keep_best=AP"], "a: no such folder"),
    "no output": (["--checkpoint=a"], "missing --annotations_file, --image_dir, --output"),
    "timeout": (["--model_dir=a", "--eval_timeout=-1"], "eval_timeout"),
}


@pytest.mark.parametrize(
    ("lacking", "flag"), [("val_annotations", "annotations_file"), ("val_images", "image_dir")]
)
def test_what_has_moved_since_is_asked_for_by_its_flag(lacking, flag, tmp_path):
    there = {"val_annotations": str(tmp_path / "run/spec.json"), "val_images": str(tmp_path)}
    write_json(RunDir.at(tmp_path / "run").spec, {"request": there | {lacking: "/was/here"}})
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tools" / "evaluate.py"), f"--model_dir={tmp_path}/run"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "evaluate.py: /was/here: not there" in done.stderr and f"--{flag}=" in done.stderr


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    given, message = MISTAKES[name]
    done = subprocess.run(
        [sys.executable, str(PROJECT / "tools" / "evaluate.py"), *given],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
