"""Runs tools as a user does, stops and kills them, and reads what a replication ends with."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

from replicate.run import RunDir, read_json, read_metrics

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def replicate_command(data, run_dir, overrides, **more):
    """The command of a replication of the small SSD.

    Args:
      data: {"train": (annotation file, image folder), "val": ...}.
      run_dir: the run directory.
      overrides: {field path: value} over the recipe.
      more: other flags of the tool.
    """
    flags = {
        "model": "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
        "train_annotations": data["train"][0],
        "train_images": data["train"][1],
        "val_annotations": data["val"][0],
        "val_images": data["val"][1],
        "run_dir": run_dir,
    } | more
    return [
        sys.executable,
        str(PROJECT / "tools" / "replicate.py"),
        *(f"--{name}={value}" for name, value in flags.items()),
        *(f"--set={path}={value}" for path, value in overrides.items()),
        *("--rehearsal", "--notrial"),
    ]


def noting_opens(command, log):
    """The command of a tool, run so that the files which its process opens are written to `log`."""
    return [command[0], str(PROJECT / "tests" / "tools" / "opens.py"), str(log), *command[1:]]


def run_tool(command, timeout=600):
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@contextlib.contextmanager
def started(command, **options):
    """A process, killed at the end of the block where it has not ended by then."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_when(command, condition, number=signal.SIGKILL, timeout=300):
    """Starts `command` and sends it a signal as soon as `condition()` holds."""
    log = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    return process.wait(timeout=120)


def checkpoint_tensors(run, name):
    """The tensors of a run's checkpoint: {name: (shape, bytes)}, but for what only counts saves."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(run.checkpoints / name))
    shapes = reader.get_variable_to_shape_map()
    return {
        key: (tuple(shape), reader.get_tensor(key).tobytes())
        for key, shape in shapes.items()
        if not key.startswith(("_CHECKPOINTABLE", "save_counter"))
    }


def outcome(run_dir):
    """What a run ends with, times and paths aside."""
    run = RunDir.existing(run_dir)
    evals = {}
    for step in run.evaluated_steps():
        metrics = read_json(run.eval_at(step) / "metrics.json")
        evals[step] = (
            metrics["metrics"],
            metrics["checkpoint"]["path"],
            read_json(run.eval_at(step) / "detections.json.gz"),
        )
    losses = {entry["step"]: entry["losses"] for entry in read_metrics(run.metrics)}
    verdict = read_json(run.verdict)
    shards = {path.name: path.read_bytes() for path in run.data.glob("*.tfrecord")}
    return evals, losses, verdict["verdict"], verdict["achieved"], shards
