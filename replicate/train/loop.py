"""A training run from its config to its last checkpoint: start or resume, log, save, stop."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orbit
import tensorflow as tf

from replicate import best, checkpoint_files, cluster, engine, environment, identity
from replicate.errors import Interrupted, UserError
from replicate.execution import Execution
from replicate.processes import StopSignals
from replicate.run import RunDir, write_json
from replicate.train import (
    checkpoints,
    compilations,
    distribution,
    precision,
)
from replicate.train.journal import TrainingJournal, say
from replicate.train.profile import Profile
from replicate.train.stepping import EngineTrainer, NonFiniteLoss

if TYPE_CHECKING:
    from replicate.cluster import Cluster
    from replicate.train.journal import Events


# Above this share of a step, more hands on the input would make training faster.
WAITING_MUCH = 0.2


@dataclasses.dataclass(frozen=True)
class TrainingSettings(Execution):
    """How a run is driven. What is trained stands in the pipeline.config.

    Attributes:
      num_steps: stop at this global step; None takes train_config.num_steps.
      log_every_n: steps between two lines of metrics.jsonl.
    """

    num_steps: int | None = None
    log_every_n: int = 10


def train(
    config: Any,
    model_dir: str | os.PathLike,
    settings: TrainingSettings,
    trainer: EngineTrainer | None = None,
    evaluate: Callable[[], None] | None = None,
) -> str:
    """Trains until `num_steps`, from the last good checkpoint in `model_dir` where there is one.

    It ends before that once early_stop.json is in the run (`replicate.best`).

    Where the environment names several workers (`cluster.from_environment`), this process is one
    of them; all must see the same `model_dir`, in which the chief alone writes.

    Args:
      config: of either engine, see `replicate.engine`.
      model_dir: a run directory; checkpoints/, train/, metrics.jsonl, start.json, training.json and
        environment.json are written there.
      trainer: a Trainer of this config and these settings that is there already; one machine's.
      evaluate: called after each checkpoint that is saved but the last; one machine's.

    Returns:
      path (prefix) of the last checkpoint.

    Raises:
      UserError: no data, a starting point that matches nothing, a loss that is not finite, a
        full disk, a worker that did not come, a directory that holds another run.
      InputError: another process writes in the directory.
      Interrupted: SIGTERM, SIGINT or SIGUSR1 came; the state is saved.
      Unavailable: another worker was lost.
    """
    run = RunDir.at(model_dir)
    num_steps = settings.num_steps or engine.describe(config).num_steps
    if not num_steps:
        raise UserError(
            f"{engine.STEPS[engine.of(config)]} is 0 (no end); set it in the config or give "
            "--num_train_steps"
        )
    workers = cluster.from_environment()
    writes = workers is None or workers.is_chief
    with run.writing() if writes else contextlib.nullcontext():
        return _train(run, config, settings, num_steps, workers, trainer, evaluate)


def _train(
    run: RunDir,
    config: Any,
    settings: TrainingSettings,
    num_steps: int,
    workers: "Cluster | None",
    trainer: EngineTrainer | None,
    evaluate: Callable[[], None] | None,
) -> str:
    """`train` under the run's lock."""
    writes = workers is None or workers.is_chief
    if writes:
        checkpoints.clean(run.checkpoints)
    last = checkpoints.latest_good(run.checkpoints, checkpoints.set_aside if writes else None)
    done = 0 if last is None else checkpoint_files.step_of(last)
    checkpoint_files.refuse_fewer(run.root, done, num_steps)
    chosen = precision.choose(engine.describe(config).low_precision, settings.precision)
    early = best.stopped_early(run)
    if writes:
        now = identity.of(config, settings.seed, chosen)
        ended = last is not None and (done == num_steps or early is not None)
        identity.keep(run, now, done, settings.accept, ended)
    if last is not None and done == num_steps:
        return last
    if early is not None and last is not None:
        say(
            f"ended early at step {done}: {best.stop_sentence(early)}. --patience=0, or a larger "
            "one, trains on"
        )
        return last
    if writes:
        run.early_stop.unlink(missing_ok=True)  # of a training that is gone
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    if settings.jit_compile:
        compilations.keep()
    strategy = distribution.strategy(workers) if trainer is None else trainer.strategy
    if writes:
        environment.record(run.environment)  # of what trains; what evaluates or reports is another
    with (
        StopSignals() as stop,
        distribution.lost_peer_named(workers),
        checkpoints.full_disk_named(run.checkpoints),
        contextlib.ExitStack() as resources,
    ):
        trainer = trainer or _trainer(config, settings, strategy)
        if settings.cache:
            part, parts = (workers.index, len(workers.workers)) if workers else (0, 1)
            resources.enter_context(
                trainer.keep_decoded(settings.cache_dir, part, parts, lambda: stop.signal)
            )
        say(_begin(trainer, last, run.start if writes else None))
        saver = checkpoints.Saver(
            trainer.checkpoint,
            distribution.checkpoint_folder(workers, run.checkpoints),
            settings.checkpoint_max_to_keep,
            settings.checkpoint_every_n,
        )
        batch_size = engine.describe(config).batch_size
        profile = Profile(run, settings.profile if writes else 0)
        with (
            TrainingJournal(run, trainer, num_steps, batch_size, writes) as journal,
            contextlib.closing(profile),
        ):

            def agreed() -> int | None:
                early = writes and run.early_stop.is_file()
                asked = stop.signal or (distribution.ENDS_EARLY if early else None)
                return distribution.agreed_signal(strategy, asked)

            def after_steps(output: dict) -> None:
                step = trainer.step
                journal.log(output)
                profile.after(step)
                stopped_by = agreed()
                if step % settings.checkpoint_every_n == 0 or step >= num_steps or stopped_by:
                    saver.save(step)
                if evaluate is not None and saver.saved_step == step < num_steps and not stopped_by:
                    with stop.at_once(step):
                        evaluate()
                    stopped_by = agreed()
                if stopped_by == distribution.ENDS_EARLY:
                    raise _EndedEarly
                if stopped_by:
                    raise Interrupted(stopped_by, step)

            ends = _steps_per_loop(settings, num_steps, profile)
            try:
                _run(trainer, strategy, journal.events, after_steps, num_steps, saver, ends)
            except _EndedEarly:
                early = best.stopped_early(run)
                journal.reason = "ended early" + (f": {best.stop_sentence(early)}" if early else "")
                say(f"step {trainer.step}: {journal.reason}")
            if journal.input_wait > WAITING_MUCH:
                say(
                    f"{journal.input_wait:.0%} of the time was spent waiting for input; "
                    "--cache=decoded decodes each image once, --input_service puts more processes "
                    "or machines on it"
                )
        return checkpoint_files.path_of(run.checkpoints, trainer.step)


class _EndedEarly(Exception):
    """The training is to end before its last step, its checkpoint is saved."""


def _trainer(
    config: Any, settings: TrainingSettings, strategy: tf.distribute.Strategy | None
) -> EngineTrainer:
    chosen = precision.choose(engine.describe(config).low_precision, settings.precision)
    execution = dataclasses.replace(settings, precision=chosen)
    return engine.trainer(config, execution, strategy)


def _begin(trainer: EngineTrainer, last: str | None, record: pathlib.Path | None) -> str:
    """Gives the trainer its first weights; a sentence that says which.

    Those of a new run are kept in the file `record`, where there is one to write; where it is lost
    it is made again, from the same checkpoint (`identity` has held its hash against the first).
    """
    if last is None:
        start = trainer.first_weights()
        if record is not None:
            write_json(record, start.to_json())
        return start.sentence
    lost = ""
    if record is not None and not record.exists():
        lost = f"; {record} was gone and is written again"
        try:
            write_json(record, trainer.first_weights().to_json())
        except UserError as error:
            lost = f"; {record} is gone and cannot be written again: {error}"
    trainer.resume(last)
    return f"resuming after step {trainer.step} from {last}{lost}"


def _run(
    trainer: EngineTrainer,
    strategy: tf.distribute.Strategy | None,
    events: "Events | None",
    after_steps: Callable[[dict], None],
    num_steps: int,
    saver: checkpoints.Saver,
    steps_per_loop: Callable[[int], int],
) -> None:
    """Orbit's loop to `num_steps`; what can go wrong in a step becomes a message."""
    with contextlib.redirect_stdout(None):  # orbit prints what the bar and the log show
        controller = orbit.Controller(
            global_step=trainer.global_step,
            trainer=trainer,
            strategy=strategy,
            steps_per_loop=steps_per_loop,
            train_actions=[after_steps],
            summary_manager=events,
        )
        try:
            controller.train(num_steps)
        except NonFiniteLoss as error:
            raise UserError(_explain_non_finite(error, trainer, saver)) from None
        except tf.errors.OutOfRangeError:
            raise UserError("the training data ended; are there records in it?") from None
        except tf.errors.DataLossError as error:
            where = trainer.damaged_shard() or error.message.splitlines()[0]
            raise UserError(
                f"step {trainer.step}: {where}. Remove that shard and convert again: the others "
                "are kept"
            ) from None
        except tf.errors.InvalidArgumentError as error:
            raise UserError(f"step {trainer.step} failed: {error.message}") from None


def _steps_per_loop(
    settings: TrainingSettings, num_steps: int, profile: Profile
) -> Callable[[int], int]:
    """Steps until the next line of the log, the next checkpoint, the profile's end or the end."""

    def steps_from(step: int) -> int:
        ends = (
            step - step % settings.log_every_n + settings.log_every_n,
            step - step % settings.checkpoint_every_n + settings.checkpoint_every_n,
            num_steps,
            profile.end or num_steps,
        )
        return int(min(ends) - step)

    return steps_from


def _explain_non_finite(
    error: NonFiniteLoss, trainer: EngineTrainer, saver: checkpoints.Saver
) -> str:
    """What is known of it, and the causes that users have met."""
    bad = [name for name, value in error.losses.items() if not abs(value) < float("inf")]
    ids = trainer.image_ids(error.source_id_hashes)
    saved = f"that of step {saver.saved_step}" if saver.saved_step is not None else "none yet"
    return (
        f"{error}: {', '.join(bad)} (learning rate {error.learning_rate:g}, global batch "
        f"{engine.describe(trainer.config).batch_size}, image ids {', '.join(ids)}). "
        f"Last good checkpoint: {saved}. Known causes: the published learning rate with a smaller "
        "batch (scale it down with the batch), no warm-up, boxes of no area in the records "
        "(tools/verify_tf_record.py finds them), float16 without loss scaling"
    )
