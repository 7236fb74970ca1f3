"""One update of the model: of a whole global batch, or of one taken in micro-batches.

step = of(execution)(replica)        # WholeBatchStep or AccumulatedStep
step.build(specs)                    # its variables exist
computed = step.take(stream)         # one update
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from replicate.odapi import xla
from replicate.train import freezing, randomness, repeatable
from replicate.train.stepping import BatchStream, Computed

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.execution import Execution


class Replica:
    """What each replica does with its part of a batch.

    The losses are those of the API's own `model_lib_v2`, and what is done with their gradients is
    what its `eager_train_step` does.

    Args:
      config: TrainEvalPipelineConfig.
      model, optimizer: the API's.
      global_step: int64 variable.
      strategy: tf.distribute.Strategy.
      execution: Execution.
    """

    def __init__(
        self,
        config: "Message",
        model: Any,
        optimizer: Any,
        global_step: tf.Variable,
        strategy: tf.distribute.Strategy,
        execution: "Execution",
    ) -> None:
        from object_detection import model_lib, model_lib_v2

        self._model_lib, self._model_lib_v2 = model_lib, model_lib_v2
        self.config, self.model, self.optimizer = config, model, optimizer
        self.global_step, self.strategy, self.execution = global_step, strategy, execution
        if execution.jit_compile:
            self.gradients = tf.function(self.gradients, jit_compile=True)

    def on_each(self, function: Callable, features: Any, labels: Any) -> Any:
        """What `function` gives on each replica for its part of the batch; called in a trace."""
        compiled = self.execution.jit_compile
        with (
            repeatable.operations_as_ever(),
            xla.replacements() if compiled else contextlib.nullcontext(),
        ):
            return self.strategy.run(function, args=(features, labels))

    def summed(self, losses: dict) -> dict[str, tf.Tensor]:
        """Losses of replicas as those of all."""
        return self._model_lib_v2.reduce_dict(self.strategy, losses, tf.distribute.ReduceOp.SUM)

    def losses(
        self,
        features: dict[str, tf.Tensor],
        labels: dict[str, tf.Tensor],
        micro_batch: int | tf.Tensor = 0,
    ) -> dict[str, tf.Tensor]:
        """One replica's losses; they sum to the global batch's over replicas and micro-batches."""
        train_config = self.config.train_config
        replicas = self.strategy.num_replicas_in_sync
        parts = replicas * self.execution.gradient_accumulation_steps
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = micro_batch * replicas + tf.cast(replica, tf.int64)
        self.model._is_training = True
        tf.keras.backend.set_learning_phase(True)
        labels = self._model_lib.unstack_batch(
            labels, unpad_groundtruth_tensors=train_config.unpad_groundtruth_tensors
        )
        source = randomness.of_step(self.execution.seed, self.global_step, part, parts)
        with randomness.drawn_from(source):
            losses, _ = self._model_lib_v2._compute_losses_and_predictions_dicts(
                self.model,
                features,
                labels,
                training_step=self.global_step,
                add_regularization_loss=train_config.add_regularization_loss,
            )
        return {name: loss / parts for name, loss in losses.items()}

    def gradients(
        self,
        features: dict[str, tf.Tensor],
        labels: dict[str, tf.Tensor],
        micro_batch: int | tf.Tensor = 0,
    ) -> tuple[dict[str, tf.Tensor], list]:
        """One replica's losses and the gradients of their sum."""
        with tf.GradientTape() as tape:
            losses = self.losses(features, labels, micro_batch)
            target = losses["Loss/total_loss"]
            if self.execution.precision == "float16":
                target = self.optimizer.get_scaled_loss(target)
        gradients = tape.gradient(target, self.model.trainable_variables)
        if self.execution.precision == "float16":
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        return losses, gradients

    def apply(self, gradients: Sequence) -> None:
        """One update of one replica's weights, clipped as the config asks."""
        clip_norm = self.config.train_config.gradient_clipping_by_norm
        if clip_norm > 0:
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm)
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))

    def create_variables(self, specs: Sequence) -> None:
        """Makes the model's and the optimizer's variables, where a step needs them beforehand."""
        tf.function(
            lambda *batch: self.on_each(lambda *part: self.losses(*part), *batch)
        ).get_concrete_function(*specs)
        if self.execution.freeze:
            freezing.freeze(self.model, self.execution.freeze)
        with self.strategy.scope():
            if self.config.train_config.optimizer.use_moving_average:
                self.optimizer.shadow_copy(self.model)
            else:
                self.optimizer._create_all_weights(self.model.trainable_variables)


class WholeBatchStep:
    """An update from one global batch.

    Args:
      replica: Replica.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._update = tf.function(self._update)

    def build(self, specs: Sequence) -> None:
        """Creates all variables by tracing."""
        replica = self._replica
        averages = replica.config.train_config.optimizer.use_moving_average
        execution = replica.execution
        if averages or execution.jit_compile or execution.freeze:
            # Averages, XLA and freezing need variables that exist before the step is traced.
            replica.create_variables(specs)
        else:
            self._update.get_concrete_function(*specs)

    def take(self, stream: BatchStream) -> Computed:
        """One update with the stream's next batch: Computed."""
        features, labels, waited_s = stream.next()
        losses = self._update(features, labels)
        return _computed(self._replica, losses, [features], waited_s)

    def _update(
        self, features: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        def of_replica(
            features: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]
        ) -> dict[str, tf.Tensor]:
            losses, gradients = self._replica.gradients(features, labels)
            self._replica.apply(gradients)
            self._replica.global_step.assign_add(1)
            return losses

        return self._replica.summed(self._replica.on_each(of_replica, features, labels))


class AccumulatedStep:
    """An update from the sums of several micro-batches' gradients.

    Args:
      replica: Replica.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._sums: list[tf.Variable] = []
        self._accumulate = tf.function(self._accumulate)
        self._update = tf.function(self._update)

    def build(self, specs: Sequence) -> None:
        """Creates all variables, and one sum a trainable variable, each replica its own."""
        self._replica.create_variables(specs)
        with self._replica.strategy.scope():
            self._sums = [
                tf.Variable(
                    tf.zeros(variable.shape, variable.dtype),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for variable in self._replica.model.trainable_variables
            ]

    def take(self, stream: BatchStream) -> Computed:
        """One update with the stream's next micro-batches: Computed."""
        all_features, all_losses, waited_s = [], [], 0.0
        for number in range(self._replica.execution.gradient_accumulation_steps):
            features, labels, waited = stream.next()
            waited_s += waited
            all_features.append(features)
            all_losses.append(self._accumulate(features, labels, tf.constant(number, tf.int64)))
        self._update()
        losses = {name: sum(part[name] for part in all_losses) for name in all_losses[0]}
        return _computed(self._replica, losses, all_features, waited_s)

    def _accumulate(
        self,
        features: dict[str, tf.Tensor],
        labels: dict[str, tf.Tensor],
        micro_batch: int | tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Adds a micro-batch's gradients to the sums; its losses, summed over replicas."""

        def of_replica(
            features: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]
        ) -> dict[str, tf.Tensor]:
            losses, gradients = self._replica.gradients(features, labels, micro_batch)
            for total, gradient in zip(self._sums, gradients, strict=True):
                if gradient is not None:
                    total.assign_add(tf.convert_to_tensor(gradient))
            return losses

        return self._replica.summed(self._replica.on_each(of_replica, features, labels))

    def _update(self) -> None:
        def of_replica(*_: Any) -> None:
            self._replica.apply([total.read_value() for total in self._sums])
            for total in self._sums:
                total.assign(tf.zeros_like(total))
            self._replica.global_step.assign_add(1)

        self._replica.on_each(of_replica, None, None)


def of(execution: "Execution") -> type[WholeBatchStep] | type[AccumulatedStep]:
    """The class of steps that an Execution asks for."""
    return AccumulatedStep if execution.gradient_accumulation_steps > 1 else WholeBatchStep


def _computed(
    replica: Replica,
    losses: dict[str, tf.Tensor],
    all_features: list[dict[str, tf.Tensor]],
    waited_s: float,
) -> Computed:
    from object_detection import inputs
    from object_detection.core import standard_fields

    images = all_features[-1][standard_fields.InputDataFields.image]
    return Computed(
        losses=losses,
        source_id_hashes=[features[inputs.HASH_KEY] for features in all_features],
        images=replica.strategy.experimental_local_results(images)[0],
        waited_s=waited_s,
    )
