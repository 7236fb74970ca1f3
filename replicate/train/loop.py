"""A training run from its config to its last checkpoint: start or resume, log, save, stop."""

import contextlib
import dataclasses
import json
import signal
import sys

import orbit
import psutil
import tensorflow as tf
from tqdm import tqdm

from replicate.errors import Interrupted, UserError
from replicate.run import RunDir, read_metrics, write_text
from replicate.train import checkpoints, precision, starting_point
from replicate.train.trainer import Execution, NonFiniteLoss, Trainer


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a run is driven. What is trained stands in the pipeline.config.

    Attributes:
      num_steps: stop at this global step; None takes train_config.num_steps.
      seed: initial weights, data order, augmentation and sampling follow from it.
      checkpoint_every_n: steps between checkpoints.
      checkpoint_max_to_keep: how many of the last ones stay.
      log_every_n: steps between two lines of metrics.jsonl.
      precision: "float32", "bfloat16" or "float16"; None decides, see `precision.choose`.
      jit_compile: compile each step with XLA.
      gradient_accumulation_steps: micro-batches that a global batch is split into.
    """

    num_steps: int | None = None
    seed: int = 0
    checkpoint_every_n: int = 1000
    checkpoint_max_to_keep: int = 7
    log_every_n: int = 10
    precision: str | None = None
    jit_compile: bool = False
    gradient_accumulation_steps: int = 1


def train(config, model_dir, settings):
    """Trains until `num_steps`, from the last good checkpoint in `model_dir` where there is one.

    Args:
      config: TrainEvalPipelineConfig.
      model_dir: a run directory; checkpoints/, train/ and metrics.jsonl are written there.
      settings: Settings.

    Returns:
      path (prefix) of the last checkpoint.

    Raises:
      UserError: no data, a starting point that matches nothing, a loss that is not finite, a
        full disk.
      Interrupted: SIGTERM, SIGINT or SIGUSR1 came; the state is saved.
    """
    run = RunDir.at(model_dir)
    num_steps = settings.num_steps or config.train_config.num_steps
    if not num_steps:
        raise UserError(
            "train_config.num_steps is 0 (no end); set it in the config or give --num_train_steps"
        )
    last = checkpoints.latest_good(run.checkpoints)
    if last is not None and int(last.rsplit("-", 1)[1]) >= num_steps:
        return last
    run.checkpoints.mkdir(parents=True, exist_ok=True)

    # One process, all its GPUs; without a GPU, the CPU as a single device.
    gpus = tf.config.list_physical_devices("GPU")
    strategy = tf.distribute.MirroredStrategy() if len(gpus) > 1 else None
    execution = Execution(
        precision=precision.choose(config, settings.precision),
        jit_compile=settings.jit_compile,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
    )
    trainer = Trainer(config, seed=settings.seed, strategy=strategy, execution=execution)
    if last is not None:
        trainer.build_variables()
        trainer.checkpoint.restore(last).assert_existing_objects_matched()
        _say(f"resuming after step {int(trainer.global_step)} from {last}")
    elif config.train_config.fine_tune_checkpoint:
        trainer.build_variables()
        _say(starting_point.restore(trainer.model, config.train_config))
    else:
        _say("training from random weights (fine_tune_checkpoint is empty)")
    _forget_after(run.metrics, int(trainer.global_step))

    saver = checkpoints.Saver(trainer.checkpoint, run.checkpoints, settings.checkpoint_max_to_keep)
    with (
        _Progress(trainer, num_steps) as progress,
        open(run.metrics, "a", encoding="utf-8") as metrics,
        _stop_signals() as stop,
    ):

        def after_steps(output):
            step = int(trainer.global_step)
            line = _metrics_line(step, output, settings, config)
            metrics.write(json.dumps(line) + "\n")
            metrics.flush()
            progress.show(line)
            due = step % settings.checkpoint_every_n == 0 or step >= num_steps
            if due or stop.signal is not None:
                saver.save(step)
            if stop.signal is not None:
                raise Interrupted(stop.signal, step)

        with contextlib.redirect_stdout(None):
            controller = orbit.Controller(
                global_step=trainer.global_step,
                trainer=trainer,
                strategy=strategy,
                steps_per_loop=_steps_per_loop(settings, num_steps),
                train_actions=[after_steps],
                summary_manager=_ApiTags(run.events, trainer.global_step),
            )
        try:
            with contextlib.redirect_stdout(None):  # orbit prints what the bar and the log show
                controller.train(num_steps)
        except NonFiniteLoss as error:
            raise UserError(_explain_non_finite(error, saver, config)) from None
        except tf.errors.OutOfRangeError:
            raise UserError("the training data ended; is train_input_reader empty?") from None
        except tf.errors.InvalidArgumentError as error:
            raise UserError(f"step {int(trainer.global_step)} failed: {error.message}") from None
    return checkpoints.path_of(run.checkpoints, num_steps)


def _say(message):
    print(message, file=sys.stderr)


def _steps_per_loop(settings, num_steps):
    """Steps until the next line of the log, the next checkpoint or the end."""

    def steps_from(step):
        ends = (
            step - step % settings.log_every_n + settings.log_every_n,
            step - step % settings.checkpoint_every_n + settings.checkpoint_every_n,
            num_steps,
        )
        return int(min(ends) - step)

    return steps_from


def _metrics_line(step, output, settings, config):
    steps = output["steps"]
    return {
        "step": step,
        "losses": output["losses"],
        "learning_rate": output["learning_rate"],
        "steps_per_second": steps / output["seconds"],
        "images_per_second": steps * config.train_config.batch_size / output["seconds"],
        "input_wait": output["input_wait"],
        "host": {
            "cpu_percent": psutil.cpu_percent(),
            "memory_gib": psutil.Process().memory_info().rss / 2**30,
        },
        "device": _device_use(),
    }


def _device_use():
    """GPU memory that TensorFlow holds, summed over this process's GPUs; empty without one."""
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return {}
    held = (tf.config.experimental.get_memory_info(gpu.name)["current"] for gpu in gpus)
    return {"memory_gib": sum(held) / 2**30}


def _forget_after(metrics_path, step):
    """Drops logged lines of steps that are trained again after a resume."""
    kept = [entry for entry in read_metrics(metrics_path) if entry["step"] <= step]
    write_text(metrics_path, "".join(json.dumps(entry) + "\n" for entry in kept))


def _explain_non_finite(error, saver, config):
    bad = [name for name, value in error.losses.items() if not abs(value) < float("inf")]
    saved = f"that of step {saver.saved_step}" if saver.saved_step is not None else "none yet"
    return (
        f"{error}: {', '.join(bad)} (learning rate {error.learning_rate:g}, global batch "
        f"{config.train_config.batch_size}; last good checkpoint: {saved}; the batch's image ids "
        f"hash to {error.source_id_hashes[:8]}). Known causes: the published learning rate with "
        "a smaller batch (scale it down with the batch), no warm-up, boxes of no area in the "
        "records (tools/verify_tf_record.py finds them), float16 without loss scaling"
    )


class _ApiTags(orbit.utils.SummaryManagerInterface):
    """TensorBoard scalars under the tags of the API's own loop.

    `Loss/...`, `learning_rate`, `steps_per_sec`, and `input_wait` beside them.
    """

    def __init__(self, directory, global_step):
        self._writer = tf.summary.create_file_writer(str(directory))
        self._global_step = global_step

    def summary_writer(self, relative_path=""):
        return self._writer

    def flush(self):
        self._writer.flush()

    def write_summaries(self, summary_dict):
        step = int(self._global_step)
        with self._writer.as_default():
            for name, value in summary_dict["losses"].items():
                tf.summary.scalar(name, value, step=step)
            tf.summary.scalar("learning_rate", summary_dict["learning_rate"], step=step)
            tf.summary.scalar("steps_per_sec", summary_dict["steps_per_second"], step=step)
            tf.summary.scalar("input_wait", summary_dict["input_wait"], step=step)


class _Progress:
    """The progress bar: step, loss, learning rate, images/s, input wait, ETA."""

    def __init__(self, trainer, num_steps):
        self._trainer, self._num_steps = trainer, num_steps

    def __enter__(self):
        step = int(self._trainer.global_step)
        self._bar = tqdm(total=self._num_steps, initial=step, unit="step", desc="train")
        self._bar.set_postfix_str("tracing the first step")
        return self

    def show(self, line):
        self._bar.set_postfix_str(
            f"loss {line['losses']['Loss/total_loss']:.3f}, lr {line['learning_rate']:.4g}, "
            f"{line['images_per_second']:.1f} images/s, input wait {line['input_wait']:.0%}",
            refresh=False,
        )
        self._bar.update(line["step"] - self._bar.n)

    def __exit__(self, *exc_info):
        self._bar.close()


class _stop_signals:
    """Inside, SIGTERM, SIGINT and SIGUSR1 are remembered; a second SIGINT stops at once."""

    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self):
        self.signal = None

    def __enter__(self):
        self._before = {number: signal.signal(number, self._remember) for number in self.NUMBERS}
        return self

    def _remember(self, number, frame):
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number
        _say(f"\n{signal.Signals(number).name}: saving a checkpoint after this step, then stopping")

    def __exit__(self, *exc_info):
        for number, handler in self._before.items():
            signal.signal(number, handler)
