"""One training step after the other: the API's model, losses, optimizer and step function."""

import math
import time

import orbit
import tensorflow as tf

from replicate import odapi
from replicate.train import data, randomness


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


class Trainer(orbit.AbstractTrainer):
    """Trains the API's model under a distribution strategy.

    The arithmetic of a step is the API's own `model_lib_v2.eager_train_step`.

    Args:
      config: TrainEvalPipelineConfig.
      seed: int; initial weights, order of the data, augmentation and sampling follow from it.
      strategy: tf.distribute.Strategy; None takes the default one (one device).

    Attributes:
      global_step: int64 variable.
      checkpoint: tf.train.Checkpoint of everything a resumed run needs.
    """

    def __init__(self, config, *, seed, strategy=None):
        odapi.load()
        from object_detection import model_lib_v2
        from object_detection.builders import model_builder, optimizer_builder

        self._api = model_lib_v2
        self._config = config
        self._seed = seed
        self._strategy = strategy or tf.distribute.get_strategy()
        tf.keras.utils.set_random_seed(seed)
        with self._strategy.scope():
            self.model = model_builder.build(config.model, is_training=True)
            self.global_step = tf.Variable(
                0,
                trainable=False,
                dtype=tf.int64,
                name="global_step",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self._random = tf.random.Generator.from_seed(seed)
            self.optimizer, (learning_rate,) = optimizer_builder.build(
                config.train_config.optimizer, global_step=self.global_step
            )
        self._learning_rate = learning_rate if callable(learning_rate) else lambda: learning_rate
        self.checkpoint = tf.train.Checkpoint(
            step=self.global_step, model=self.model, optimizer=self.optimizer, random=self._random
        )
        self._iterator = None
        self._distributed_step = tf.function(self._one_step)

    def build_variables(self):
        """Creates the model's and the optimizer's variables by tracing one prediction.

        Needed before a checkpoint is restored into them, so that what matches can be counted.
        """
        height, width = 64, 64

        @tf.function
        def predict():
            image = tf.zeros([1, height, width, 3])
            self.model.predict(*self.model.preprocess(image))

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
          "input_wait" (share of the time spent waiting for batches), "seconds" and "steps".

        Raises:
          NonFiniteLoss: the last of the steps has a loss that is not a number.
        """
        if self._iterator is None:
            self._iterator = iter(self._dataset())
        num_steps = int(num_steps)
        started, waited = time.monotonic(), 0.0
        for _ in range(num_steps):
            asked = time.monotonic()
            features, labels = next(self._iterator)
            waited += time.monotonic() - asked
            losses = self._distributed_step(features, labels)
        losses = {name: float(value) for name, value in losses.items()}
        learning_rate = float(self._learning_rate())
        if not all(map(math.isfinite, losses.values())):
            raise NonFiniteLoss(
                int(self.global_step), losses, learning_rate, self._hashes_of(features)
            )
        seconds = time.monotonic() - started
        return {
            "losses": losses,
            "learning_rate": learning_rate,
            "input_wait": waited / seconds,
            "seconds": seconds,
            "steps": num_steps,
        }

    def _dataset(self):
        batch = self._config.train_config.batch_size

        def dataset_of(input_context):
            pipelines = input_context.num_input_pipelines if input_context else 1
            return data.train_dataset(
                self._config,
                self.model,
                seed=self._seed,
                first_example=int(self.global_step) * batch // pipelines,
                input_context=input_context,
            )

        return self._strategy.distribute_datasets_from_function(dataset_of)

    def _one_step(self, features, labels):
        def replica_step(features, labels):
            train_config = self._config.train_config
            with randomness.drawn_from(randomness.Advancing(self._random)):
                losses = self._api.eager_train_step(
                    self.model,
                    features,
                    labels,
                    train_config.unpad_groundtruth_tensors,
                    self.optimizer,
                    training_step=self.global_step,
                    add_regularization_loss=train_config.add_regularization_loss,
                    clip_gradients_value=train_config.gradient_clipping_by_norm or None,
                    num_replicas=self._strategy.num_replicas_in_sync,
                )
            self.global_step.assign_add(1)
            return losses

        losses = self._strategy.run(replica_step, args=(features, labels))
        return self._api.reduce_dict(self._strategy, losses, tf.distribute.ReduceOp.SUM)

    def _hashes_of(self, features):
        from object_detection import inputs

        hashes = self._strategy.experimental_local_results(features[inputs.HASH_KEY])
        return sorted(int(value) for replica in hashes for value in replica.numpy().ravel())
