"""The Object Detection API's trainer: its model, losses, optimizer and step function."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from replicate import odapi
from replicate.errors import UserError
from replicate.odapi import xla
from replicate.train import (
    decoded,
    distribution,
    input_stream,
    precision,
    repeatable,
    starting_point,
    steps,
)
from replicate.train.stepping import BatchStream, EngineTrainer, NonFiniteLoss

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.execution import Execution

__all__ = ["NonFiniteLoss", "Trainer"]


class Trainer(EngineTrainer):
    """Trains the API's model under a distribution strategy.

    What a step computes is in `steps.py`.

    Args:
      config: TrainEvalPipelineConfig.
      execution: Execution, its precision chosen (None is float32).
      strategy: tf.distribute.Strategy; None takes the default one (one device).

    Raises:
      UserError: the batch does not divide among replicas and micro-batches, or XLA cannot compile
        the model.
    """

    _one_step: steps.WholeBatchStep | steps.AccumulatedStep

    def __init__(
        self,
        config: "Message",
        execution: "Execution",
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        from object_detection.builders import optimizer_builder

        computed_in = execution.precision or "float32"
        super().__init__(dataclasses.replace(execution, precision=computed_in), strategy)
        self.config = type(config)()
        self.config.CopyFrom(config)
        # Here the field means the images' format, which goes with the precision of the run.
        self.config.train_config.use_bfloat16 = computed_in == "bfloat16"
        self._check_batch()
        for obstacle in xla.obstacles(config, execution):
            raise UserError(f"{obstacle}. Leave it out")
        # With a global seed of 0, Dataset.shuffle refuses the seed of an epoch, which is a tensor.
        tf.keras.utils.set_random_seed(execution.seed or 2**30)
        precision.activate(computed_in, tf32=self._execution.tf32)
        with self._strategy.scope():
            self.model = odapi.build_model(config.model, is_training=True)
            if computed_in == "float16":
                precision.predict_in_float32(self.model)
            self.global_step = tf.Variable(
                0,
                trainable=False,
                dtype=tf.int64,
                name="global_step",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            optimizer, (learning_rate,) = optimizer_builder.build(
                config.train_config.optimizer, global_step=self.global_step
            )
            self.optimizer = precision.scaled(optimizer, computed_in)
        self._rate = learning_rate
        self.checkpoint = tf.train.Checkpoint(
            step=self.global_step, model=self.model, optimizer=self.optimizer
        )
        self._replica = steps.Replica(
            self.config,
            self.model,
            self.optimizer,
            self.global_step,
            self._strategy,
            self._execution,
        )
        self._one_step = steps.of(self._execution)(self._replica)
        self._images = ""

    def begin_again(self, path: str, config: "Message") -> None:
        """See `EngineTrainer`."""
        super().begin_again(path, config)
        self.config.train_input_reader.CopyFrom(config.train_input_reader)

    def first_weights(self) -> starting_point.Start:
        """See `EngineTrainer`; `starting_point` says what is loaded."""
        if not self.config.train_config.fine_tune_checkpoint:
            return starting_point.Start()
        self.build_variables()
        start = starting_point.of_config(self.model, self.config, self._execution.restore)
        # The step is part of the model (`training_step`), and so of the checkpoint of a model.
        self.global_step.assign(0)
        return start

    def image_ids(self, hashes: list[int]) -> list[str]:
        """See `EngineTrainer`."""
        return input_stream.source_ids(self.config, hashes)

    def damaged_shard(self) -> str:
        """See `EngineTrainer`."""
        return input_stream.damaged_shard(self.config)

    @contextlib.contextmanager
    def keep_decoded(
        self, cache_dir: str, part: int, parts: int, stopped: Callable[[], object]
    ) -> Iterator[None]:
        """See `EngineTrainer`."""
        service = self._execution.input_service
        if service and not service.isdigit():
            raise UserError(
                "--cache keeps images on this machine, and --input_service names processes that "
                "may be elsewhere; give their number, or leave one of the two out"
            )
        reader = self.config.train_input_reader
        paths = input_stream.shards_of(reader, part, parts)
        with decoded.kept(paths, reader, cache_dir, stopped) as self._images:
            yield

    def _learning_rate(self) -> Any:
        return self._rate() if callable(self._rate) else self._rate

    def _in_order(self) -> contextlib.AbstractContextManager:
        return repeatable.crops_in_order(self.config.model)

    def _check_batch(self) -> None:
        replicas = self._strategy.num_replicas_in_sync
        micro = self._execution.gradient_accumulation_steps
        batch = self.config.train_config.batch_size
        if batch < 1:
            raise UserError(
                f"train_config.batch_size is {batch}; it is the global batch, 1 or more"
            )
        if batch % (replicas * micro):
            raise UserError(
                f"train_config.batch_size is {batch}, which does not divide among {replicas} "
                f"replicas and {micro} micro-batches; it is the global batch"
            )

    def _input(self) -> BatchStream:
        """The stream of batches (micro-batches where gradients are accumulated) from this step."""
        if self._stream is not None:
            return self._stream
        micro_config = type(self.config)()
        micro_config.CopyFrom(self.config)
        micro_config.train_config.batch_size //= self._execution.gradient_accumulation_steps
        examples_done = self.step * self.config.train_config.batch_size

        def dataset_of(input_context: tf.distribute.InputContext | None) -> tf.data.Dataset:
            pipelines = input_context.num_input_pipelines if input_context else 1
            return input_stream.train_dataset(
                micro_config,
                self.model,
                seed=self._execution.seed,
                first_example=examples_done // pipelines,
                input_context=input_context,
                input_service=self._execution.input_service,
                images=self._images,
            )

        dataset = self._strategy.distribute_datasets_from_function(dataset_of)
        self._stream = BatchStream(distribution.ahead_of(dataset))
        return self._stream
