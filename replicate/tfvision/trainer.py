"""TF-Vision's task trained by the kit's loop (`replicate.train.stepping.EngineTrainer`).

The model, the losses, the optimizer, the step (`task.train_step`), the decoder and the parser are
the package's. The kit's are the loop, the order of the data and the seeds of what is drawn
(`input_stream`), checkpoints, precision and devices. A checkpoint has the names of the package's
own trainer (official.core.base_trainer), which can go on with it.
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from replicate import checkpoint_files
from replicate.errors import UserError
from replicate.tfvision import input_stream, obstacles, official_task
from replicate.tfvision.configs import VisionConfig
from replicate.train import distribution, precision, randomness, starting_point
from replicate.train import input_stream as records
from replicate.train.stepping import BatchStream, Computed, EngineTrainer

if TYPE_CHECKING:
    from replicate.execution import Execution


class Trainer(EngineTrainer):
    """Trains an experiment's task.

    Args:
      config: VisionConfig.
      execution: Execution, its precision chosen (None is float32).
      strategy: tf.distribute.Strategy; None takes the default one (one device).

    Raises:
      UserError: the package refuses the config; the batch does not divide among replicas; an
        execution that the package's own step does not have.
    """

    STEP = "global_step/.ATTRIBUTES/VARIABLE_VALUE"

    def __init__(
        self,
        config: VisionConfig,
        execution: "Execution",
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        computed_in = execution.precision or "float32"
        super().__init__(dataclasses.replace(execution, precision=computed_in), strategy)
        for obstacle in obstacles.obstacles(config, execution):
            raise UserError(obstacle)
        self.config = config
        self.params = official_task.experiment(config)
        self.params.runtime.mixed_precision_dtype = computed_in
        self._batch_size = self.params.task.train_data.global_batch_size
        self._check_batch()
        tf.keras.utils.set_random_seed(execution.seed or 2**30)
        precision.activate(computed_in, tf32=self._execution.tf32)
        with self._strategy.scope():
            self.task = official_task.task_of(self.params)
            self._losses = [metric.name for metric in self.task.build_metrics(training=True)]
            self.model = official_task.built(self.task)
            self.optimizer = self.task.create_optimizer(
                self.params.trainer.optimizer_config, self.params.runtime
            )
            if hasattr(self.optimizer, "shadow_copy"):
                self.optimizer.shadow_copy(self.model)
            self.global_step = tf.Variable(
                0,
                trainable=False,
                dtype=tf.int64,
                name="global_step",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
        self.checkpoint = tf.train.Checkpoint(
            global_step=self.global_step,
            model=self.model,
            optimizer=self.optimizer,
            **getattr(self.model, "checkpoint_items", {}),
        )
        self._one_step = TaskStep(self)

    def _learning_rate(self) -> Any:
        rate = self.optimizer.learning_rate
        return rate(self.optimizer.iterations) if callable(rate) else rate

    def first_weights(self) -> starting_point.Start:
        """See `EngineTrainer`: what the task's own `initialize` loads."""
        path = self.params.task.init_checkpoint
        if not path:
            return starting_point.Start()
        prefix = tf.train.latest_checkpoint(path) if tf.io.gfile.isdir(path) else path
        if not prefix or not pathlib.Path(f"{prefix}.index").is_file():
            raise UserError(
                f"task.init_checkpoint: no checkpoint at {path}; name the prefix of a TF2 "
                'checkpoint or its folder, or set it to "" to train from random weights'
            )
        self.build_variables()
        modules = self.params.task.init_checkpoint_modules
        names = [modules] if isinstance(modules, str) else list(modules)
        parts = [self._part(name) for name in names]
        try:
            self.task.initialize(self.model)
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise UserError(
                f"task.init_checkpoint: {prefix} does not fit this model's {modules} "
                f"({(str(error).strip().splitlines() or [''])[0]})"
            ) from None
        loaded = len({id(variable) for part in parts for variable in part.variables})
        return starting_point.Start(
            path=prefix,
            type=", ".join(names),
            sha256=checkpoint_files.sha256(prefix),
            matched=loaded,  # `initialize` asserts that every one is
            variables=loaded,
            others=len(self.model.variables) - loaded,
        )

    def _part(self, name: str) -> Any:
        """The part of the model that `init_checkpoint_modules` names so."""
        if name not in ("all", "backbone", "decoder"):
            raise UserError(
                f"task.init_checkpoint_modules: {name!r} names no part that the package loads; "
                "it takes all, backbone, decoder, or a list of the last two"
            )
        return self.model if name == "all" else getattr(self.model, name)

    def image_ids(self, hashes: list[int]) -> list[str]:
        """See `EngineTrainer`; the "hashes" are the examples' numbers in the run."""
        if self._strategy.extended._in_multi_worker_mode():
            return ["(not known: several workers)"]
        place = input_stream.Place(self._execution.seed, 0)
        return input_stream.image_ids(self.params.task.train_data, place, hashes)

    def damaged_shard(self) -> str:
        """See `EngineTrainer`."""
        return records.damaged(input_stream.paths_of(self.params.task.train_data.input_path))

    def begin_again(self, path: str, config: VisionConfig) -> None:
        """See `EngineTrainer`."""
        super().begin_again(path, config)
        self.config = config
        self.params.task.train_data = official_task.experiment(config).task.train_data

    def _check_batch(self) -> None:
        replicas = self._strategy.num_replicas_in_sync
        if self._batch_size < 1 or self._batch_size % replicas:
            raise UserError(
                f"task.train_data.global_batch_size is {self._batch_size}; it is the global batch, "
                f"1 or more, and is divided among {replicas} replicas"
            )

    def _input(self) -> BatchStream:
        if self._stream is not None:
            return self._stream
        examples_done = self.step * self._batch_size

        def dataset_of(input_context: tf.distribute.InputContext | None) -> tf.data.Dataset:
            pipelines = input_context.num_input_pipelines if input_context else 1
            return input_stream.train_dataset(
                self.task,
                input_stream.Place(self._execution.seed, examples_done // pipelines),
                input_context,
                self._execution.input_service,
            )

        dataset = self._strategy.distribute_datasets_from_function(dataset_of)
        self._stream = BatchStream(distribution.ahead_of(dataset))
        return self._stream

    def update(self, features: dict[str, tf.Tensor], labels: Any) -> dict[str, tf.Tensor]:
        """One update with a global batch, traced: the losses, averaged over replicas."""
        replicas = self._strategy.num_replicas_in_sync
        losses = self._strategy.run(self._update_of_replica, args=(features, labels))
        return {
            name: self._strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None) / replicas
            for name, loss in losses.items()
        }

    def _update_of_replica(
        self, features: dict[str, tf.Tensor], labels: Any
    ) -> dict[str, tf.Tensor]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        source = randomness.of_step(
            self._execution.seed,
            self.global_step,
            tf.cast(replica, tf.int64),
            self._strategy.num_replicas_in_sync,
        )
        taken = [_Taken(name) for name in self._losses]
        with randomness.drawn_from(source):
            self.task.train_step(
                (features[input_stream.IMAGES], labels), self.model, self.optimizer, taken
            )
        self.global_step.assign_add(1)
        return {f"Loss/{loss.name}": loss.result() for loss in taken}


class TaskStep:
    """The package's training step, once (`stepping.OneStep`)."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._update = tf.function(trainer.update)

    def build(self, specs: Any) -> None:
        """Creates all variables by tracing."""
        self._update.get_concrete_function(*specs)

    def take(self, stream: BatchStream) -> Computed:
        """One update with the stream's next batch."""
        features, labels, waited_s = stream.next()
        losses = self._update(features, labels)
        images = self._trainer.strategy.experimental_local_results(features[input_stream.IMAGES])
        return Computed(
            losses=losses,
            source_id_hashes=[features[input_stream.NUMBERS]],
            images=tf.cast(images[0], tf.float32),
            waited_s=waited_s,
        )


class _Taken:
    """Stands where a step has a running mean, and keeps the step's own value."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._value: tf.Tensor | None = None

    def update_state(self, value: tf.Tensor) -> None:
        self._value = tf.cast(value, tf.float32)

    def result(self) -> tf.Tensor:
        assert self._value is not None
        return self._value
