"""One training step after the other: the API's model, losses, optimizer and step function."""

import concurrent.futures
import dataclasses
import math
import time

import orbit
import tensorflow as tf

from replicate import odapi
from replicate.errors import UserError
from replicate.train import data, precision, randomness, repeatable


class NonFiniteLoss(ArithmeticError):
    """A loss term became NaN or infinite.

    Attributes:
      step: the global step that produced it.
      losses: {name: value} of that step.
      learning_rate: of that step.
      source_id_hashes: the API's hashes of the batch's image ids; `data.source_ids` finds them.
    """

    def __init__(self, step, losses, learning_rate, source_id_hashes):
        super().__init__(f"non-finite loss at step {step}")
        self.step, self.losses, self.learning_rate = step, losses, learning_rate
        self.source_id_hashes = source_id_hashes


@dataclasses.dataclass(frozen=True)
class Execution:
    """How steps are executed. None of it is part of the recipe.

    Attributes:
      precision: see `replicate.train.precision`.
      jit_compile: compile each step with XLA.
      gradient_accumulation_steps: micro-batches a global batch is split into. Batch-norm
        statistics and loss normalizers are then those of a micro-batch, a deviation.
      input_service: see `replicate.train.input_service`; the batches are the same with it.
    """

    precision: str = "float32"
    jit_compile: bool = False
    gradient_accumulation_steps: int = 1
    input_service: str = ""


class Trainer(orbit.AbstractTrainer):
    """Trains the API's model under a distribution strategy.

    The losses of a step are those of the API's own `model_lib_v2`, and what is done with their
    gradients is what its `eager_train_step` does.

    Args:
      config: TrainEvalPipelineConfig.
      seed: int; initial weights, order of the data, augmentation and sampling follow from it.
      strategy: tf.distribute.Strategy; None takes the default one (one device).
      execution: Execution.

    Attributes:
      config: as it is trained.
      model, optimizer: the API's.
      global_step: int64 variable.
      checkpoint: tf.train.Checkpoint of everything a resumed run needs.
      seconds_to_first_step: from the making of the trainer to the end of its first step, with
        building, restoring and tracing; None before.

    Raises:
      UserError: the batch does not divide among replicas and micro-batches.
    """

    def __init__(self, config, *, seed, strategy=None, execution=None):
        from object_detection import inputs, model_lib, model_lib_v2
        from object_detection.builders import optimizer_builder

        self._made = time.monotonic()
        self._model_lib, self._model_lib_v2 = model_lib, model_lib_v2
        self._hash_key = inputs.HASH_KEY
        self._execution = execution or Execution()
        self.config = type(config)()
        self.config.CopyFrom(config)
        # Here the field means the images' format, which goes with the precision of the run.
        self.config.train_config.use_bfloat16 = self._execution.precision == "bfloat16"
        self._seed = seed
        self._strategy = strategy or tf.distribute.get_strategy()
        self._check_batch()
        # With a global seed of 0, Dataset.shuffle refuses the seed of an epoch, which is a tensor.
        tf.keras.utils.set_random_seed(seed or 2**30)
        precision.activate(self._execution.precision)
        with self._strategy.scope():
            self.model = odapi.build_model(config.model, is_training=True)
            if self._execution.precision == "float16":
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
            self.optimizer = precision.scaled(optimizer, self._execution.precision)
        self._learning_rate = learning_rate if callable(learning_rate) else lambda: learning_rate
        self.checkpoint = tf.train.Checkpoint(
            step=self.global_step, model=self.model, optimizer=self.optimizer
        )
        self.seconds_to_first_step = None
        self._sums = []
        self._built = False
        self._stream = None
        self._accumulate = tf.function(self._accumulate)
        self._update = tf.function(self._update)
        if self._execution.jit_compile:
            self._replica_gradients = tf.function(self._replica_gradients, jit_compile=True)

    @property
    def strategy(self):
        """The tf.distribute.Strategy under which it trains."""
        return self._strategy

    @property
    def step(self):
        """The global step as an int."""
        return int(self.global_step.numpy())

    def build_variables(self):
        """Creates the model's and the optimizer's variables by tracing a step.

        Needed before a checkpoint is restored into them, so that what matches can be counted.
        """
        if self._built:
            return
        self._built = True
        specs = self._input().specs
        micro = self._execution.gradient_accumulation_steps
        averages = self.config.train_config.optimizer.use_moving_average
        if averages or micro > 1 or self._execution.jit_compile:
            # Averages, sums and XLA need variables that exist before the step is traced.
            tf.function(self._losses_alone).get_concrete_function(*specs)
            with self._strategy.scope():
                if averages:
                    self.optimizer.shadow_copy(self.model)
                else:
                    self.optimizer._create_all_weights(self.model.trainable_variables)
                if micro > 1:
                    self._sums = self._gradient_sums()
        else:
            self._update.get_concrete_function(*specs)

    def resume(self, path):
        """Takes every variable, and with the step the position in the data, of a checkpoint.

        Args:
          path: prefix of a checkpoint that `checkpoint` wrote.

        Raises:
          UserError: it does not hold all of this run's variables.
        """
        reader = tf.train.load_checkpoint(path)
        self.global_step.assign(reader.get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE"))
        self.build_variables()
        try:
            self.checkpoint.restore(path).assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be resumed from, it is of another model or optimizer "
                f"({str(error).splitlines()[0]}); give the config it was made with, or another "
                "run directory"
            ) from None

    def begin_again(self, path, config):
        """Goes back to the state of a checkpoint, to train what `config` reads; traces stay.

        Args:
          path: prefix of a checkpoint that was written when this trainer's variables were built.
          config: TrainEvalPipelineConfig, the trainer's own but for where its data lie.
        """
        self._made = time.monotonic()
        self.seconds_to_first_step = None
        self.config.train_input_reader.CopyFrom(config.train_input_reader)
        self._stream = None
        self.checkpoint.read(path).assert_existing_objects_matched()

    def describe_execution(self):
        """dict of what can change the numbers: the precision, XLA, the parts of a batch."""
        return {
            "precision": self._execution.precision,
            "jit_compile": self._execution.jit_compile,
            "gradient_accumulation_steps": self._execution.gradient_accumulation_steps,
            "replicas": self._strategy.num_replicas_in_sync,
        }

    def last_images(self):
        """The last batch's images as the model got them, of one replica: [n, h, w, 3]."""
        from object_detection.core import standard_fields

        images = self._last_features[standard_fields.InputDataFields.image]
        return self._strategy.experimental_local_results(images)[0]

    @repeatable.sums_in_order()
    def train(self, num_steps):
        """Runs `num_steps` steps (orbit's interface).

        Returns:
          dict of the last step: "losses" {the API's names: float}, "learning_rate",
          "input_wait" (share of the time spent waiting for batches), "seconds" and "steps". The
          first call leaves its first step, which is traced, out of the times where it can.

        Raises:
          NonFiniteLoss: the last of the steps has a loss that is not a number.
        """
        num_steps = timed_steps = int(num_steps)
        first_step = {}
        self.build_variables()
        started, waited, done = time.monotonic(), 0.0, []
        for number in range(num_steps):
            with repeatable.crops_in_order(self.config.model):
                waited += self._step()
            done.append((self._last_losses, self._last_hashes))
            if self.seconds_to_first_step is None:
                float(self._last_losses["Loss/total_loss"])  # wait for the device
                self.seconds_to_first_step = time.monotonic() - self._made
                first_step = {"seconds_to_first_step": self.seconds_to_first_step}
                if number + 1 < num_steps:
                    started, waited, timed_steps = time.monotonic(), 0.0, num_steps - 1
        self._check_finite(done)
        losses = {name: float(value) for name, value in self._last_losses.items()}
        learning_rate = float(self._learning_rate())
        seconds = time.monotonic() - started
        return {
            "losses": losses,
            "learning_rate": learning_rate,
            "input_wait": waited / seconds,
            "seconds": seconds,
            "steps": timed_steps,
        } | first_step

    def _check_finite(self, done):
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

    def _step(self):
        """One update from one global batch; returns the seconds spent waiting for input."""
        waited, micro_losses, self._last_hashes = 0.0, [], []
        for _ in range(self._execution.gradient_accumulation_steps):
            asked = time.monotonic()
            features, labels = self._input().next()
            waited += time.monotonic() - asked
            self._last_hashes.append(features[self._hash_key])
            if self._execution.gradient_accumulation_steps > 1:
                part = tf.constant(len(micro_losses), tf.int64)
                micro_losses.append(self._accumulate(features, labels, part))
        if micro_losses:
            self._update(None, None)
            self._last_losses = {
                name: sum(losses[name] for losses in micro_losses) for name in micro_losses[0]
            }
        else:
            self._last_losses = self._update(features, labels)
        self._last_features = features
        return waited

    def _losses_alone(self, features, labels):
        """Traced for the variables they create."""
        return self._on_replicas(lambda *batch: self._replica_losses(*batch), features, labels)

    def _on_replicas(self, function, features, labels):
        """What `function` gives on each replica for its part of the batch; called in a trace."""
        with repeatable.operations_as_ever():
            return self._strategy.run(function, args=(features, labels))

    def _replica_losses(self, features, labels, micro_batch=0):
        """One replica's losses; they sum to the global batch's over replicas and micro-batches."""
        train_config = self.config.train_config
        replicas = self._strategy.num_replicas_in_sync
        parts = replicas * self._execution.gradient_accumulation_steps
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = micro_batch * replicas + tf.cast(replica, tf.int64)
        self.model._is_training = True
        tf.keras.backend.set_learning_phase(True)
        labels = self._model_lib.unstack_batch(
            labels, unpad_groundtruth_tensors=train_config.unpad_groundtruth_tensors
        )
        source = randomness.of_step(self._seed, self.global_step, part, parts)
        with randomness.drawn_from(source):
            losses, _ = self._model_lib_v2._compute_losses_and_predictions_dicts(
                self.model,
                features,
                labels,
                training_step=self.global_step,
                add_regularization_loss=train_config.add_regularization_loss,
            )
        return {name: loss / parts for name, loss in losses.items()}

    def _replica_gradients(self, features, labels, micro_batch=0):
        """One replica's losses and the gradients of their sum."""
        with tf.GradientTape() as tape:
            losses = self._replica_losses(features, labels, micro_batch)
            target = losses["Loss/total_loss"]
            if self._execution.precision == "float16":
                target = self.optimizer.get_scaled_loss(target)
        gradients = tape.gradient(target, self.model.trainable_variables)
        if self._execution.precision == "float16":
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        return losses, gradients

    def _accumulate(self, features, labels, micro_batch):
        """Adds a micro-batch's gradients to the sums; its losses, summed over replicas."""

        def replica(features, labels):
            losses, gradients = self._replica_gradients(features, labels, micro_batch)
            for total, gradient in zip(self._sums, gradients, strict=True):
                if gradient is not None:
                    total.assign_add(tf.convert_to_tensor(gradient))
            return losses

        return self._summed(self._on_replicas(replica, features, labels))

    def _update(self, features, labels):
        """Applies one update: of a batch, or of the sums where `features` is None."""

        def replica(features, labels):
            if features is None:
                losses, gradients = {}, [total.read_value() for total in self._sums]
            else:
                losses, gradients = self._replica_gradients(features, labels)
            clip_norm = self.config.train_config.gradient_clipping_by_norm
            if clip_norm > 0:
                gradients, _ = tf.clip_by_global_norm(gradients, clip_norm)
            self.optimizer.apply_gradients(
                zip(gradients, self.model.trainable_variables, strict=True)
            )
            if features is None:
                for total in self._sums:
                    total.assign(tf.zeros_like(total))
            self.global_step.assign_add(1)
            return losses

        return self._summed(self._on_replicas(replica, features, labels))

    def _summed(self, losses):
        return self._model_lib_v2.reduce_dict(self._strategy, losses, tf.distribute.ReduceOp.SUM)

    def _gradient_sums(self):
        """One variable a trainable variable, each replica its own, for accumulated gradients."""
        with self._strategy.scope():
            return [
                tf.Variable(
                    tf.zeros(variable.shape, variable.dtype),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for variable in self.model.trainable_variables
            ]

    def _check_batch(self):
        replicas = self._strategy.num_replicas_in_sync
        micro = self._execution.gradient_accumulation_steps
        batch = self.config.train_config.batch_size
        if batch % (replicas * micro):
            raise UserError(
                f"train_config.batch_size is {batch}, which does not divide among {replicas} "
                f"replicas and {micro} micro-batches; it is the global batch"
            )

    def _input(self):
        """The stream of batches (micro-batches where gradients are accumulated) from this step."""
        if self._stream is not None:
            return self._stream
        micro_config = type(self.config)()
        micro_config.CopyFrom(self.config)
        micro_config.train_config.batch_size //= self._execution.gradient_accumulation_steps
        seen = self.step * self.config.train_config.batch_size

        def dataset_of(input_context):
            pipelines = input_context.num_input_pipelines if input_context else 1
            return data.train_dataset(
                micro_config,
                self.model,
                seed=self._seed,
                first_example=seen // pipelines,
                input_context=input_context,
                input_service=self._execution.input_service,
            )

        self._stream = _Stream(self._strategy.distribute_datasets_from_function(dataset_of))
        return self._stream


class _Stream:
    """A dataset's batches, the first of which is made while the caller traces its step."""

    def __init__(self, dataset):
        self._dataset = dataset
        self._iterator = iter(dataset)
        self._executor = concurrent.futures.ThreadPoolExecutor(1)
        self._first = self._executor.submit(next, self._iterator)

    @property
    def specs(self):
        """What to trace a step with; of a distributed batch, its spec forgets the batch size."""
        if isinstance(self._dataset, tf.data.Dataset):
            return self._dataset.element_spec
        return self._first.result()

    def next(self):
        if self._first is None:
            return next(self._iterator)
        first, self._first = self._first.result(), None
        self._executor.shutdown(wait=False)
        return first
