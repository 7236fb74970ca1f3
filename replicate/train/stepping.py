"""The part of a trainer that is every engine's: steps one after the other, counted and timed."""

import concurrent.futures
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import orbit
import tensorflow as tf

from replicate.errors import UserError
from replicate.train import precision, repeatable

if TYPE_CHECKING:
    from replicate.execution import Execution
    from replicate.train.starting_point import Start


@dataclasses.dataclass(frozen=True)
class Computed:
    """What a step computed.

    Attributes:
      losses: {the API's name: float32 scalar} of the global batch.
      source_id_hashes: the API's hashes of image ids, of each micro-batch.
      images: the last micro-batch's, as the model got them, of one replica: [n, h, w, 3].
      waited_s: seconds spent waiting for input.
    """

    losses: dict[str, tf.Tensor]
    source_id_hashes: list[tf.Tensor]
    images: tf.Tensor
    waited_s: float


class NonFiniteLoss(ArithmeticError):
    """A loss term became NaN or infinite.

    Attributes:
      step: the global step that produced it.
      losses: {name: value} of that step.
      learning_rate: of that step.
      source_id_hashes: of the batch's image ids; the trainer's `image_ids` finds them.
    """

    def __init__(
        self, step: int, losses: dict[str, float], learning_rate: float, source_id_hashes: list[int]
    ) -> None:
        super().__init__(f"non-finite loss at step {step}")
        self.step, self.losses, self.learning_rate = step, losses, learning_rate
        self.source_id_hashes = source_id_hashes


class OneStep(Protocol):
    """One update of the model."""

    def build(self, specs: Any) -> None:
        """Creates all variables by tracing."""

    def take(self, stream: "BatchStream") -> Computed:
        """One update with what comes next in the stream."""


class EngineTrainer(orbit.AbstractTrainer):
    """Counts, times and resumes the steps of an engine's training.

    An engine's trainer is made of (config, execution, strategy), fills the attributes and the
    functions that raise NotImplementedError, and is all that `train.loop` knows of the engine.

    Args:
      execution: Execution, its precision chosen (None is float32).
      strategy: tf.distribute.Strategy; None takes the default one (one device).

    Attributes:
      config: as it is trained.
      model, optimizer: the engine's.
      global_step: int64 variable.
      checkpoint: tf.train.Checkpoint of everything a resumed run needs.
      seconds_to_first_step: from the making of the trainer to the end of its first step, with
        building, restoring and tracing; None before.
    """

    config: Any
    model: Any
    optimizer: Any
    global_step: tf.Variable
    checkpoint: tf.train.Checkpoint
    #: Where the checkpoint has the global step.
    STEP = "step/.ATTRIBUTES/VARIABLE_VALUE"
    _one_step: OneStep

    def __init__(self, execution: "Execution", strategy: tf.distribute.Strategy | None) -> None:
        self._made = time.monotonic()
        self._execution = execution
        self._strategy = strategy or tf.distribute.get_strategy()
        self.seconds_to_first_step: float | None = None
        self._is_built = False
        self._stream: BatchStream | None = None

    def first_weights(self) -> "Start":
        """Loads the config's starting checkpoint, where it has one, into a run that begins.

        Raises:
          UserError: it is not there, or is not of this model.
        """
        raise NotImplementedError

    def image_ids(self, hashes: list[int]) -> list[str]:
        """Of the images that a `NonFiniteLoss` names by its hashes."""
        raise NotImplementedError

    def damaged_shard(self) -> str:
        """What is wrong with the first damaged training shard; "" where none is."""
        raise NotImplementedError

    def keep_decoded(
        self, cache_dir: str, part: int, parts: int, stopped: Callable[[], object]
    ) -> contextlib.AbstractContextManager:
        """A context in which each training image is decoded once, before the first batch is asked.

        Args:
          cache_dir: as of `Execution`.
          part, parts: which of the workers that train together this is.
          stopped: whether the run is to end; then it goes on without.

        Raises:
          UserError: there is no room for it.
        """
        raise NotImplementedError  # an engine without it says so, see `replicate.engine.obstacles`

    def _input(self) -> "BatchStream":
        """The stream of batches from this step on, made once."""
        raise NotImplementedError

    def _learning_rate(self) -> Any:
        """The learning rate of the step that comes next."""
        raise NotImplementedError

    def _in_order(self) -> contextlib.AbstractContextManager:
        """A context in which a step repeats to the bit."""
        return contextlib.nullcontext()

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """The tf.distribute.Strategy under which it trains."""
        return self._strategy

    @property
    def step(self) -> int:
        """The global step as an int."""
        return int(self.global_step.numpy())

    def build_variables(self) -> None:
        """Creates the model's and the optimizer's variables by tracing a step.

        Needed before a checkpoint is restored into them, so that what matches can be counted.
        """
        if not self._is_built:
            self._is_built = True
            self._one_step.build(self._input().specs)

    def resume(self, path: str) -> None:
        """Takes every variable, and with the step the position in the data, of a checkpoint.

        Args:
          path: prefix of a checkpoint that `checkpoint` wrote.

        Raises:
          UserError: it does not hold all of this run's variables.
        """
        reader = tf.train.load_checkpoint(path)
        self.global_step.assign(reader.get_tensor(self.STEP))
        self.build_variables()
        try:
            self.checkpoint.restore(path).assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be resumed from, it is of another model or optimizer "
                f"({str(error).splitlines()[0]}); give the config it was made with, or another "
                "run directory"
            ) from None

    def begin_again(self, path: str, config: Any) -> None:
        """Goes back to the state of a checkpoint, to train what `config` reads; traces stay.

        Args:
          path: prefix of a checkpoint that was written when this trainer's variables were built.
          config: the trainer's own but for where its data lie.
        """
        self._made = time.monotonic()
        self.seconds_to_first_step = None
        self._stream = None
        self.checkpoint.read(path).assert_existing_objects_matched()

    def describe_execution(self) -> dict:
        """dict of what can change the numbers: the precision, XLA, the parts of a batch."""
        return {
            "freeze": self._execution.freeze,
            "precision": self._execution.precision,
            "tf32": self._execution.tf32 and precision.has_tf32(),
            "jit_compile": self._execution.jit_compile,
            "gradient_accumulation_steps": self._execution.gradient_accumulation_steps,
            "replicas": self._strategy.num_replicas_in_sync,
        }

    @repeatable.sums_in_order()
    def train(self, num_steps: int | tf.Tensor) -> dict:
        """Runs `num_steps` steps (orbit's interface).

        Returns:
          dict of the last step: "losses" {the API's names: float}, "learning_rate", "images" (the
          batch's, as the model got them, of one replica: [n, h, w, 3]),
          "input_wait" (share of the time spent waiting for batches), "seconds" and "steps". The
          first call leaves its first step, which is traced, out of the times where it can, and has
          "seconds_to_first_step" and, with XLA, "seconds_to_compile": the first step's own.

        Raises:
          NonFiniteLoss: the last of the steps has a loss that is not a number.
        """
        num_steps = timed_steps = int(num_steps)
        first_step: dict[str, float] = {}
        self.build_variables()
        started, waited, done = time.monotonic(), 0.0, []
        for number in range(num_steps):
            begun = time.monotonic()
            with self._in_order():
                computed = self._one_step.take(self._input())
            waited += computed.waited_s
            done.append((computed.losses, computed.source_id_hashes))
            if self.seconds_to_first_step is None:
                float(computed.losses["Loss/total_loss"])  # wait for the device
                self.seconds_to_first_step = time.monotonic() - self._made
                first_step = {"seconds_to_first_step": self.seconds_to_first_step}
                if self._execution.jit_compile:
                    first_step["seconds_to_compile"] = time.monotonic() - begun - computed.waited_s
                if number + 1 < num_steps:
                    started, waited, timed_steps = time.monotonic(), 0.0, num_steps - 1
        self._check_finite(done)
        losses = {name: float(value) for name, value in computed.losses.items()}
        learning_rate = float(self._learning_rate())
        seconds = time.monotonic() - started
        return {
            "losses": losses,
            "learning_rate": learning_rate,
            "images": computed.images,
            "input_wait": waited / seconds,
            "seconds": seconds,
            "steps": timed_steps,
        } | first_step

    def _check_finite(self, done: list[tuple]) -> None:
        """Raises NonFiniteLoss for the first of the steps `done` whose loss is not a number."""
        totals = tf.stack([losses["Loss/total_loss"] for losses, _ in done]).numpy()
        if all(map(math.isfinite, totals)):
            return
        bad = next(at for at, total in enumerate(totals) if not math.isfinite(total))
        losses, hashes = done[bad]
        step = self.step - len(done) + bad + 1
        self.global_step.assign(step - 1)
        raise NonFiniteLoss(
            step,
            {name: float(value) for name, value in losses.items()},
            float(self._learning_rate()),
            sorted(
                int(value)
                for batch in hashes
                for replica in self._strategy.experimental_local_results(batch)
                for value in replica.numpy().ravel()
            ),
        )


class BatchStream:
    """A dataset's batches, the first of which is made while the caller traces its step."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._iterator = iter(dataset)
        self._executor = concurrent.futures.ThreadPoolExecutor(1)
        self._first: concurrent.futures.Future | None = self._executor.submit(next, self._iterator)

    @property
    def specs(self) -> Any:
        """What to trace a step with; of a distributed batch, its spec forgets the batch size."""
        if isinstance(self._dataset, tf.data.Dataset):
            return self._dataset.element_spec
        assert self._first is not None  # asked for before the first batch is taken
        return self._first.result()

    def next(self) -> tuple[dict, dict, float]:
        """(features, labels, the seconds that they were waited for)."""
        asked = time.monotonic()
        if self._first is None:
            features, labels = next(self._iterator)
        else:
            (features, labels), self._first = self._first.result(), None
            self._executor.shutdown(wait=False)
        return features, labels, time.monotonic() - asked
