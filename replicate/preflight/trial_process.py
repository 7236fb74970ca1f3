"""The trial's own process: two real steps and an evaluation.

    python trial_process.py JOB RESULT STDERR

JOB is the JSON that `trial.run` writes, RESULT appears step by step, so that a process that is
killed leaves what it had found. Each stage is told on stdout as one line. Where JOB says so and the
run's own steps were tried, the process tells that it waits and, when it is given an order (see
`standby.py`), trains; STDERR is the file descriptor on which it speaks then.
"""

import ctypes
import gc
import json
import os
import pathlib
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

PROJECT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 2
WAITING = "waiting"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Trial:
    """What is found, written to `path` whenever something is added."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.outcome: dict[str, Any] = {}

    def stage(self, name: str) -> None:
        """Begins a stage."""
        self.outcome["stage"] = name
        self._write()
        print(name, flush=True)

    def add(self, **parts: Any) -> None:
        """Adds what was found."""
        self.outcome |= parts
        self._write()

    def _write(self) -> None:
        from replicate import run

        run.write_json(self._path, self.outcome)


def main(job_path: str, result_path: str, errors: str) -> None:
    _end_with_the_parent()
    job = json.loads(pathlib.Path(job_path).read_text(encoding="utf-8"))
    trial = Trial(result_path)
    from replicate.errors import UserError

    tried = None
    try:
        tried = _do(job, trial)
        trial.add(stage="done")
    except UserError as error:
        trial.add(error=str(error))
    except Exception as error:
        trial.add(**_in_words(error, trial.outcome["stage"]))
    if tried is not None:
        _wait(*tried, int(errors))


def _end_with_the_parent() -> None:
    """This process is killed when its parent ends, however that ends (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(trainer: Any, start: str, errors: int) -> None:
    """Waits for an order and trains; without one, ends."""
    print(WAITING, flush=True)
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    order = json.loads(line)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    from replicate import engine, run
    from replicate.preflight import standby

    def train() -> str:
        config = engine.read(order["config"])
        trainer.begin_again(start, config)
        more = order["settings"], order["evaluation"], trainer
        return standby.trained(config, order["run_dir"], *more)

    run.write_json(order["outcome"], standby.outcome_of(train))


def _in_words(error: Exception, stage: str) -> dict:
    """An exception in words; running out of GPU memory has its own."""
    text = _line(error)
    if type(error).__name__ == "ResourceExhaustedError":
        return {
            "error": f"the GPU's memory is not enough while {stage}: {text}",
            "fix": "--gradient_accumulation_steps=2 (or more), or a smaller batch and rate",
        }
    return {"error": f"{type(error).__name__} while {stage}: {text}"}


def _line(error: Exception) -> str:
    """What an exception says, in a line; of one out of traced code what stands below the code."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if not lines[0].startswith("in user code:"):
        return lines[0]
    own = (line.strip() for line in lines if re.match(r"\s+\w*(Error|Exception): ", line))
    return next(own, lines[-1].strip())


def _do(job: dict, trial: Trial) -> tuple[Any, str] | None:
    """Tries; (trainer, a checkpoint of its start) where it has traced the run's own steps."""
    trial.stage("loading TensorFlow")
    from replicate import odapi

    odapi.load()  # before TensorFlow, which it sets up
    import psutil
    import tensorflow as tf

    from replicate import engine
    from replicate.execution import Execution
    from replicate.train import checkpoints, compilations, distribution, precision

    config = engine.read(job["config"])
    described = engine.describe(config)
    gpus = tf.config.list_physical_devices("GPU")
    distribution.prepare()
    if job["execution"]["jit_compile"]:
        compilations.keep()
    if job["checkpoints"]:
        trial.stage("reading the run's checkpoint")
        trial.add(resume=_resume(checkpoints, tf, job["checkpoints"]))
    if not (job["steps"] or job["start"]):
        return None
    strategy = distribution.strategy(None)
    asked = described.batch_size // job["num_workers"]
    batch = asked if gpus else min(asked, job["cpu_batch"])
    micro = job["execution"]["gradient_accumulation_steps"] if gpus else 1
    if batch != described.batch_size:
        engine.set_field(config, engine.BATCH[engine.of(config)], str(batch))
    trial.stage("building the model")
    execution = Execution(
        **job["execution"]
        | {
            "precision": precision.choose(described.low_precision, job["execution"]["precision"]),
            "jit_compile": job["execution"]["jit_compile"] and bool(gpus),
            "gradient_accumulation_steps": micro,
        }
    )
    trainer = engine.trainer(config, execution, strategy)
    trial.stage("tracing a step")
    trainer.build_variables()
    start = trainer.checkpoint.write(os.path.join(job["folder"], "start"))
    if job["start"]:
        trial.stage("restoring the starting checkpoint")
        try:
            begun = trainer.first_weights()
        except Exception as error:
            trial.add(start={"error": _line(error)})
            return None
        trial.add(start={"changed": begun.matched, "total": begun.variables})
    if not job["steps"]:
        return None
    built = psutil.Process().memory_info().rss
    trial.stage("two training steps")
    output = trainer.train(STEPS)
    trial.add(
        steps={
            "batch": batch,
            "of_batch": asked,
            "gpus": len(gpus),
            "seconds": output["seconds"] / output["steps"],
            "seconds_to_first_step": trainer.seconds_to_first_step,
            "input_wait": output["input_wait"],
            "loss": output["losses"]["Loss/total_loss"],
            "built_bytes": built,
            "peak_bytes": _peak_bytes(),
            "gpu_peak_bytes": max(
                (
                    tf.config.experimental.get_memory_info(gpu.name)["peak"]
                    for gpu in tf.config.list_logical_devices("GPU")
                ),
                default=0,
            ),
        }
    )
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        path = trainer.checkpoint.write(os.path.join(folder, "ckpt-1"))
        size = sum(part.stat().st_size for part in pathlib.Path(folder).glob("ckpt-*"))
        trial.add(checkpoint_bytes=size)
        if job["val_annotations"]:
            _evaluate(job, trial, config, path)
    gc.collect()  # the evaluated model
    as_the_run = (
        batch == described.batch_size
        and micro == job["execution"]["gradient_accumulation_steps"]
        and execution.jit_compile == job["execution"]["jit_compile"]
        and execution.input_service == job["run_input_service"]
    )
    return (trainer, start) if job["waits"] and as_the_run else None


def _evaluate(job: dict, trial: Trial, config: Any, checkpoint: str) -> None:
    """Two images, detected twice: the first time is traced, the second is what counts."""
    import gzip

    from replicate import score
    from replicate.evaluate import detections

    trial.stage("evaluating two images")
    evaluation = detections.Evaluation(
        config, job["val_annotations"], job["val_images"], batch_size=2
    )
    first_seconds, _ = _timed(evaluation.detect, checkpoint)
    seconds, (results, _) = _timed(evaluation.detect, checkpoint)
    try:
        agree = score.score(job["val_annotations"], results).agree
    except score.EvaluatorsDisagree:
        agree = False
    images = job["num_val_images"]
    trial.add(
        evaluation={
            "images": images,
            "seconds_an_image": seconds / images,
            "tracing_seconds": max(0, first_seconds - seconds),
            "detections": len(results),
            "bytes_an_image": len(gzip.compress(json.dumps(results).encode())) / images,
            "agree": agree,
            "peak_bytes": _peak_bytes(),
        }
    )


def _timed(detect: Callable, checkpoint: str) -> tuple[float, Any]:
    """(seconds, what it returns)."""
    started = time.monotonic()
    detections = detect(checkpoint, progress=False)
    return time.monotonic() - started, detections


def _resume(checkpoints: Any, tf: Any, folder: str) -> dict:
    """What the last good checkpoint of a run holds, and which do not read back."""
    from replicate import checkpoint_files

    damaged, step, parts = [], None, []
    for number in reversed(checkpoint_files.steps_of(folder)):
        path = checkpoint_files.path_of(folder, number)
        if checkpoints.verify(path) is not None:
            damaged.append(number)
            continue
        step = number
        parts = _parts(tf, path)
        break
    return {"damaged": damaged, "step": step, "parts": parts}


def _parts(tf: Any, checkpoint: str) -> list[str]:
    """What a checkpoint is of, by the names it was saved under; a variable's own name begins with
    the shortest way to it, which need not be the model's (TF-Vision's Mask R-CNN)."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    reader = tf.train.load_checkpoint(checkpoint)
    key = "_CHECKPOINTABLE_OBJECT_GRAPH"
    if not reader.has_tensor(key):
        return sorted({name.partition("/")[0] for name in reader.get_variable_to_shape_map()})
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(key))
    return sorted(child.local_name for child in graph.nodes[0].children)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux tells KiB


if __name__ == "__main__":
    sys.path[0] = str(PROJECT)
    main(*sys.argv[1:])
