"""One training step after the other: the API's model, losses, optimizer and step function."""

import dataclasses
import math
import time

import orbit
import tensorflow as tf

from replicate import odapi
from replicate.errors import UserError
from replicate.train import data, precision, randomness


class NonFiniteLoss(ArithmeticError):
    """A loss term became NaN or infinite.

    Attributes:
      step: the global step that produced it.
      losses: {name: value} of that step.
      learning_rate: of that step.
      source_id_hashes: the API's 31-bit hashes of the batch's image ids.
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
    """

    precision: str = "float32"
    jit_compile: bool = False
    gradient_accumulation_steps: int = 1


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
      model, optimizer: the API's.
      global_step: int64 variable.
      checkpoint: tf.train.Checkpoint of everything a resumed run needs.
      seconds_to_first_step: from the first call of `train`, tracing included; None before.

    Raises:
      UserError: the batch does not divide among replicas and micro-batches.
    """

    def __init__(self, config, *, seed, strategy=None, execution=None):
        from object_detection import model_lib, model_lib_v2
        from object_detection.builders import optimizer_builder

        self._model_lib, self._model_lib_v2 = model_lib, model_lib_v2
        self._execution = execution or Execution()
        self._config = type(config)()
        self._config.CopyFrom(config)
        # Here the field means the images' format, which goes with the precision of the run.
        self._config.train_config.use_bfloat16 = self._execution.precision == "bfloat16"
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
            self._random = tf.random.Generator.from_seed(seed)
            optimizer, (learning_rate,) = optimizer_builder.build(
                config.train_config.optimizer, global_step=self.global_step
            )
            self.optimizer = precision.scaled(optimizer, self._execution.precision)
        self._learning_rate = learning_rate if callable(learning_rate) else lambda: learning_rate
        self.checkpoint = tf.train.Checkpoint(
            step=self.global_step, model=self.model, optimizer=self.optimizer, random=self._random
        )
        self.seconds_to_first_step = None
        self._built = False
        self._iterator = None
        self._accumulate = tf.function(self._accumulate)
        self._update = tf.function(self._update)
        if self._execution.jit_compile:
            self._replica_gradients = tf.function(self._replica_gradients, jit_compile=True)
        micro = self._execution.gradient_accumulation_steps
        if (
            config.train_config.optimizer.use_moving_average
            or self._execution.jit_compile
            or micro > 1
        ):
            self.build_variables()  # these need variables that exist before the first step
        self._sums = self._gradient_sums() if micro > 1 else []

    def build_variables(self):
        """Creates the model's and the optimizer's variables by tracing one prediction.

        Needed before a checkpoint is restored into them, so that what matches can be counted.
        """
        if self._built:
            return
        self._built = True

        @tf.function
        def predict():
            self.model.predict(*self.model.preprocess(tf.zeros([1, 64, 64, 3])))

        with self._strategy.scope():
            self._strategy.run(predict)
            if self._config.train_config.optimizer.use_moving_average:
                self.optimizer.shadow_copy(self.model)
            else:
                self.optimizer._create_all_weights(self.model.trainable_variables)

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
        started, waited = time.monotonic(), 0.0
        if self._iterator is None:
            self._iterator = iter(self._dataset())
        for number in range(num_steps):
            waited += self._step()
            if self.seconds_to_first_step is None:
                float(self._last_losses["Loss/total_loss"])  # wait for the device
                self.seconds_to_first_step = time.monotonic() - started
                if number + 1 < num_steps:
                    started, waited, timed_steps = time.monotonic(), 0.0, num_steps - 1
        losses = {name: float(value) for name, value in self._last_losses.items()}
        learning_rate = float(self._learning_rate())
        if not all(map(math.isfinite, losses.values())):
            raise NonFiniteLoss(
                int(self.global_step), losses, learning_rate, self._hashes_of(self._last_features)
            )
        seconds = time.monotonic() - started
        return {
            "losses": losses,
            "learning_rate": learning_rate,
            "input_wait": waited / seconds,
            "seconds": seconds,
            "steps": timed_steps,
        }

    def _step(self):
        """One update from one global batch; returns the seconds spent waiting for input."""
        waited, micro_losses = 0.0, []
        for _ in range(self._execution.gradient_accumulation_steps):
            asked = time.monotonic()
            features, labels = next(self._iterator)
            waited += time.monotonic() - asked
            if self._execution.gradient_accumulation_steps > 1:
                micro_losses.append(self._accumulate(features, labels))
        if micro_losses:
            self._update(None, None)
            self._last_losses = {
                name: sum(losses[name] for losses in micro_losses) for name in micro_losses[0]
            }
        else:
            self._last_losses = self._update(features, labels)
        self._last_features = features
        return waited

    def _replica_gradients(self, features, labels):
        """One replica's losses and gradients; both sum to the global batch's over replicas and
        micro-batches."""
        train_config = self._config.train_config
        parts = self._strategy.num_replicas_in_sync * self._execution.gradient_accumulation_steps
        self.model._is_training = True
        tf.keras.backend.set_learning_phase(True)
        labels = self._model_lib.unstack_batch(
            labels, unpad_groundtruth_tensors=train_config.unpad_groundtruth_tensors
        )
        with tf.GradientTape() as tape, randomness.drawn_from(randomness.Advancing(self._random)):
            losses, _ = self._model_lib_v2._compute_losses_and_predictions_dicts(
                self.model,
                features,
                labels,
                training_step=self.global_step,
                add_regularization_loss=train_config.add_regularization_loss,
            )
            losses = {name: loss / parts for name, loss in losses.items()}
            target = losses["Loss/total_loss"]
            if self._execution.precision == "float16":
                target = self.optimizer.get_scaled_loss(target)
        gradients = tape.gradient(target, self.model.trainable_variables)
        if self._execution.precision == "float16":
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        return losses, gradients

    def _accumulate(self, features, labels):
        """Adds a micro-batch's gradients to the sums; its losses, summed over replicas."""

        def replica(features, labels):
            losses, gradients = self._replica_gradients(features, labels)
            for total, gradient in zip(self._sums, gradients, strict=True):
                if gradient is not None:
                    total.assign_add(tf.convert_to_tensor(gradient))
            return losses

        losses = self._strategy.run(replica, args=(features, labels))
        return self._summed(losses)

    def _update(self, features, labels):
        """Applies one update: of a batch, or of the sums where `features` is None."""

        def replica(features, labels):
            if features is None:
                losses, gradients = {}, [total.read_value() for total in self._sums]
            else:
                losses, gradients = self._replica_gradients(features, labels)
            clip_norm = self._config.train_config.gradient_clipping_by_norm
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

        return self._summed(self._strategy.run(replica, args=(features, labels)))

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
        batch = self._config.train_config.batch_size
        if batch % (replicas * micro):
            raise UserError(
                f"train_config.batch_size is {batch}, which does not divide among {replicas} "
                f"replicas and {micro} micro-batches; it is the global batch"
            )

    def _dataset(self):
        """The global batch's stream, or that of micro-batches where gradients are accumulated."""
        micro_config = type(self._config)()
        micro_config.CopyFrom(self._config)
        micro_config.train_config.batch_size //= self._execution.gradient_accumulation_steps
        seen = int(self.global_step) * self._config.train_config.batch_size

        def dataset_of(input_context):
            pipelines = input_context.num_input_pipelines if input_context else 1
            return data.train_dataset(
                micro_config,
                self.model,
                seed=self._seed,
                first_example=seen // pipelines,
                input_context=input_context,
            )

        return self._strategy.distribute_datasets_from_function(dataset_of)

    def _hashes_of(self, features):
        from object_detection import inputs

        hashes = self._strategy.experimental_local_results(features[inputs.HASH_KEY])
        return sorted(int(value) for replica in hashes for value in replica.numpy().ravel())
