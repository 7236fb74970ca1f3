"""What a run tells while it trains: metrics.jsonl, TensorBoard events, training.json, the bar."""

import contextlib
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import orbit
import psutil
import tensorflow as tf
from tqdm import tqdm

from replicate import devices
from replicate.run import metrics_line, read_metrics, write_json, write_text

if TYPE_CHECKING:
    from replicate.run import RunDir
    from replicate.train.stepping import EngineTrainer


# The API's loop writes three images of the batch every hundred steps.
IMAGES_EVERY_N, IMAGES = 100, 3

_OF_FIRST_STEP = ("seconds_to_first_step", "seconds_to_compile")


def say(message: str) -> None:
    """One line for the person who watches; standard output is for answers."""
    print(message, file=sys.stderr)


class TrainingJournal(contextlib.ExitStack):
    """Logs a run's steps; of several workers, only the chief's writes.

    training.json holds `state` ("running", "done", "stopped" or "failed"), `step`, `num_steps`,
    `pid`, `host`, `updated` (seconds since 1970), `execution`, and `reason` where it has one.

    Args:
      trainer: EngineTrainer, at the step where the run begins.
      num_steps: the step where it ends.
      batch_size: images a step.
      writes: whether this process writes files.

    Attributes:
      events: Events, or None where this process writes none.
      input_wait: share of the time so far that was spent waiting for batches.
      reason: why it ends as it does, where there is something to say; None otherwise.
    """

    def __init__(
        self,
        run: "RunDir",
        trainer: "EngineTrainer",
        num_steps: int,
        batch_size: int,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self._run, self._trainer, self._num_steps = run, trainer, num_steps
        self._batch_size, self._writes = batch_size, writes
        self._seconds = self._waited = 0.0
        self.reason: str | None = None
        self.events = Events(run.events, trainer.global_step) if writes else None

    def __enter__(self) -> Self:
        step = self._trainer.step
        if self._writes:
            _forget_after(self._run.metrics, step)
            self._metrics = self.enter_context(open(self._run.metrics, "a", encoding="utf-8"))
        self._bar = self.enter_context(
            tqdm(
                total=self._num_steps,
                initial=step,
                unit="step",
                desc="train",
                disable=not self._writes,
            )
        )
        compiled = self._trainer.describe_execution().get("jit_compile")
        self._bar.set_postfix_str(
            "tracing the first step, XLA compiling it" if compiled else "tracing the first step"
        )
        self._state("running")
        return super().__enter__()

    @property
    def input_wait(self) -> float:
        return self._waited / self._seconds if self._seconds else 0.0

    def log(self, output: dict) -> None:
        """Writes down what `EngineTrainer.train` returned."""
        step = self._trainer.step
        line = _metrics_line(step, output, self._batch_size)
        if "seconds_to_compile" in line:
            say(f"tracing and compiling the first step: {line['seconds_to_compile']:.0f} s")
        self._seconds += output["seconds"]
        self._waited += output["input_wait"] * output["seconds"]
        if self._writes:
            self._metrics.write(metrics_line(line))
            self._metrics.flush()
            if step % IMAGES_EVERY_N < output["steps"]:
                assert self.events is not None
                self.events.write_images(output["images"][:IMAGES])
        self._bar.set_postfix_str(
            f"loss {line['losses']['Loss/total_loss']:.3f}, lr {line['learning_rate']:.4g}, "
            f"{line['images_per_second']:.1f} images/s, input wait {line['input_wait']:.0%}",
            refresh=False,
        )
        self._bar.update(step - self._bar.n)
        self._state("running")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if kind is None:
            self._state("done", self.reason)
        else:
            stopped = kind.__name__ in ("Interrupted", "KeyboardInterrupt")
            self._state("stopped" if stopped else "failed", str(error) or kind.__name__)
        return super().__exit__(kind, error, traceback)

    def _state(self, state: str, reason: str | None = None) -> None:
        if not self._writes:
            return
        value = {
            "state": state,
            "step": self._trainer.step,
            "num_steps": self._num_steps,
            "pid": os.getpid(),
            "host": platform.node(),
            "updated": time.time(),
            "execution": self._trainer.describe_execution(),
        }
        with contextlib.suppress(OSError):  # a full disk has its own message
            write_json(self._run.training, value | ({"reason": reason} if reason else {}))


def _metrics_line(step: int, output: dict, batch_size: int) -> dict:
    steps = output["steps"]
    first = {name: output[name] for name in _OF_FIRST_STEP if name in output}
    return {
        "step": step,
        "losses": output["losses"],
        "learning_rate": output["learning_rate"],
        "steps_per_second": steps / output["seconds"],
        "images_per_second": steps * batch_size / output["seconds"],
        "input_wait": output["input_wait"],
        "host": {
            "cpu_percent": psutil.cpu_percent(),
            "memory_gib": psutil.Process().memory_info().rss / 2**30,
        },
        "device": _device_use(),
    } | first


def _device_use() -> dict[str, float]:
    """The use of this process's GPUs: memory and power summed, load averaged, the hottest."""
    gpus = devices.gpu_use()

    def over_gpus(name: str, combine: Callable) -> float | None:
        values = [gpu[name] for gpu in gpus if gpu[name] is not None]
        return combine(values) if values else None

    measured = {
        "memory_gib": over_gpus("memory_used_gib", sum),
        "utilization_percent": over_gpus("utilization_percent", statistics.fmean),
        "power_watts": over_gpus("power_watts", sum),
        "temperature_celsius": over_gpus("temperature_celsius", max),
    }
    return {name: value for name, value in measured.items() if value is not None}


def _forget_after(metrics_path: pathlib.Path, step: int) -> None:
    """Drops logged lines of steps that are trained again after a resume."""
    entries = [entry for entry in read_metrics(metrics_path) if entry["step"] <= step]
    write_text(metrics_path, "".join(map(metrics_line, entries)))


class Events(orbit.utils.SummaryManagerInterface):
    """TensorBoard events under the tags of the API's own loop.

    `Loss/...`, `learning_rate`, `steps_per_sec`, `train_input_images`, and `input_wait` beside
    them.
    """

    def __init__(self, directory: str | os.PathLike, global_step: tf.Variable) -> None:
        self._writer = tf.summary.create_file_writer(str(directory))
        self._global_step = global_step

    def summary_writer(self, relative_path: str = "") -> Any:
        return self._writer

    def flush(self) -> None:
        self._writer.flush()

    def write_summaries(self, summary_dict: dict) -> None:
        step = int(self._global_step.numpy())
        with self._writer.as_default():
            for name, value in summary_dict["losses"].items():
                tf.summary.scalar(name, value, step=step)
            tf.summary.scalar("learning_rate", summary_dict["learning_rate"], step=step)
            tf.summary.scalar("steps_per_sec", summary_dict["steps_per_second"], step=step)
            tf.summary.scalar("input_wait", summary_dict["input_wait"], step=step)

    def write_images(self, images: tf.Tensor) -> None:
        """Images as the model got them, [n, height, width, 3], stretched to 0..1 to be seen."""
        low, high = tf.reduce_min(images), tf.reduce_max(images)
        stretched = tf.math.divide_no_nan(images - low, high - low)
        with self._writer.as_default():
            tf.summary.image(
                "train_input_images",
                stretched,
                step=int(self._global_step.numpy()),
                max_outputs=IMAGES,
            )
