"""One training step after the other: sigmoid cross-entropy over the categories."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import orbit

from replicate.errors import UserError
from replicate.recognition import records
from replicate.recognition.engine import tf
from replicate.recognition.model import Recognizer
from replicate.recognition.request import RecognitionRequest
from replicate.train import randomness

_SGD_MOMENTUM = 0.9


class RecognitionTrainer(orbit.AbstractTrainer):
    """Trains a Recognizer on one device.

    The loss of an image is the sum over categories of the sigmoid cross-entropy; that of a step
    is the mean over its images.

    Args:
      request: of the training.
      recognizer: with the weights to begin with.
      num_steps: the step where the learning rate reaches 0.

    Attributes:
      global_step: int64 variable.
      checkpoint: tf.train.Checkpoint of everything a resumed run needs.
    """

    def __init__(self, request: RecognitionRequest, recognizer: Recognizer, num_steps: int) -> None:
        self._request, self._model = request, recognizer
        self.global_step = tf.Variable(0, trainable=False, dtype=tf.int64, name="global_step")
        self._learning_rate = learning_rate(request, num_steps)
        self._optimizer = _optimizer(request, self._learning_rate, recognizer)
        self.checkpoint = tf.train.Checkpoint(
            step=self.global_step,
            model=recognizer,
            optimizer=self._optimizer,
            description=recognizer.description_variable(),
        )
        self._made, self._first_step_done = time.monotonic(), False
        self._batches: Any = None
        self._update = tf.function(self._one_update)

    @property
    def step(self) -> int:
        """Updates done."""
        return int(self.global_step.numpy())

    def resume(self, path: str) -> None:
        """Takes every variable, and with the step the position in the data, of a checkpoint.

        Raises:
          UserError: it does not hold all of this run's variables.
        """
        try:
            self.checkpoint.restore(path).assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be resumed from ({str(error).splitlines()[0]}); name another "
                "--model_dir to train anew"
            ) from None

    def describe_execution(self) -> dict:
        """How the steps are executed, for training.json."""
        return {"precision": "float32", "replicas": 1}

    def train(self, num_steps: int) -> dict:
        """Runs `num_steps` steps (orbit's interface).

        Returns:
          Of the last step: "losses" {name: float}, "learning_rate", "images" (the batch's,
          [n, size, size, 3]), "input_wait" (share of the time spent waiting for batches),
          "seconds" and "steps". The first call leaves its first step, which is traced, out of the
          times where it can.

        Raises:
          UserError: a loss that is not a number, an image that does not decode.
        """
        num_steps = timed_steps = int(num_steps)
        started, waited = time.monotonic(), 0.0
        first: dict[str, float] = {}
        losses, source_ids = [], []
        for number in range(num_steps):
            asked = time.monotonic()
            images, labels, ids = self._next()
            waited += time.monotonic() - asked
            losses.append(self._update(images, labels))
            source_ids.append(ids)
            if not self._first_step_done:
                self._first_step_done = True
                float(losses[0])  # wait for the device
                first = {"seconds_to_first_step": time.monotonic() - self._made}
                if number + 1 < num_steps:
                    started, waited, timed_steps = time.monotonic(), 0.0, num_steps - 1
        self._check_finite(tf.stack(losses).numpy(), source_ids)
        seconds = time.monotonic() - started
        return {
            "losses": {"Loss/total_loss": float(losses[-1])},
            "learning_rate": float(self._learning_rate(self.global_step - 1)),
            "images": images,
            "input_wait": waited / seconds,
            "seconds": seconds,
            "steps": timed_steps,
        } | first

    def _next(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        if self._batches is None:
            first_example = self.step * self._request.batch_size
            self._batches = iter(
                records.training_batches(self._request, self._model.classes, first_example)
            )
        try:
            return next(self._batches)
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            raise UserError(
                f"{self._request.records}: {error.message.splitlines()[0]} (near example "
                f"{self.step * self._request.batch_size}); tools/verify_tf_record.py --full finds "
                "damaged records"
            ) from None

    def _one_update(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """One update from one batch; its loss."""
        with tf.GradientTape() as tape:
            source = randomness.of_step(self._request.seed, self.global_step)
            with randomness.drawn_from(source):
                logits = self._model(images, training=True)
            by_category = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(tf.reduce_sum(by_category, axis=1))
        variables = self._model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.global_step.assign_add(1)
        return loss

    def _check_finite(self, losses: np.ndarray, source_ids: Sequence[tf.Tensor]) -> None:
        bad = np.flatnonzero(~np.isfinite(losses))
        if not len(bad):
            return
        step = self.step - len(losses) + int(bad[0]) + 1
        ids = ", ".join(
            source_id.decode(errors="replace") for source_id in source_ids[bad[0]].numpy()
        )
        raise UserError(
            f"the loss of step {step} is {losses[bad[0]]} (image ids {ids}). Known causes: a "
            "learning rate too high for the batch (lower it, or give --warmup_steps). The last "
            "checkpoint is as it was"
        )


def learning_rate(request: RecognitionRequest, num_steps: int) -> Any:
    """The schedule: a linear rise from 0 in warmup_steps, then a cosine to 0 at num_steps."""
    warmup = min(request.warmup_steps, num_steps - 1)
    if not warmup:
        return tf.keras.optimizers.schedules.CosineDecay(request.learning_rate, num_steps)
    return tf.keras.optimizers.schedules.CosineDecay(
        0.0, num_steps - warmup, warmup_target=request.learning_rate, warmup_steps=warmup
    )


def _optimizer(request: RecognitionRequest, schedule: Any, recognizer: Recognizer) -> Any:
    """The optimizer with its variables built, so that a checkpoint can be read into them."""
    settings = {
        "learning_rate": schedule,
        "weight_decay": request.weight_decay or None,
        "jit_compile": False,
    }
    if request.optimizer == "sgd":
        optimizer = tf.keras.optimizers.SGD(momentum=_SGD_MOMENTUM, **settings)
    else:
        optimizer = tf.keras.optimizers.Adam(**settings)
    if request.weight_decay:
        optimizer.exclude_from_weight_decay(
            var_list=[bias for bias in recognizer.trainable_variables if bias.shape.rank < 2]
        )
    optimizer.build(recognizer.trainable_variables)
    return optimizer
