"""The step's parts: schedule, weight decay, dropout that a resumed run draws again."""

import math

import numpy as np
import pytest

from replicate.recognition import model, records
from replicate.recognition.engine import tf
from replicate.recognition.trainer import RecognitionTrainer, learning_rate
from replicate.run import read_metrics
from tests.recognition.conftest import BATCH, STEPS


def test_the_logged_rate_is_a_cosine_to_zero(finished):
    for each in read_metrics(finished.metrics):
        done = (each["step"] - 1) / STEPS
        assert each["learning_rate"] == pytest.approx(
            1e-3 * (1 + math.cos(math.pi * done)) / 2, rel=1e-5
        )


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0),
        (5, 0.2),  # half of the warm-up
        (10, 0.4),  # its end
        (60, 0.2),  # half of the 100 steps that the cosine takes
        (110, 0.0),
    ],
)
def test_the_schedule_with_a_warm_up(request_of, step, expected):
    schedule = learning_rate(request_of(learning_rate=0.4, warmup_steps=10), 110)
    assert float(schedule(step)) == pytest.approx(expected, abs=1e-6)


def test_weight_decay_shrinks_kernels_alone(request_of):
    after, before = {}, None
    for decay in (0.0, 0.5):
        tf.keras.utils.set_random_seed(9)
        request = request_of(optimizer="sgd", learning_rate=0.1, weight_decay=decay)
        recognizer = model.build(request, request.classes())
        before = [each.numpy() for each in recognizer.trainable_variables]
        RecognitionTrainer(request, recognizer, STEPS).train(1)
        after[decay] = [each.numpy() for each in recognizer.trainable_variables]
    kernels = 0
    for start, plain, decayed in zip(before, after[0.0], after[0.5], strict=True):
        kernels += start.ndim >= 2
        shrunk = 0.1 * 0.5 * start if start.ndim >= 2 else 0
        np.testing.assert_allclose(decayed, plain - shrunk, rtol=1e-4, atol=1e-5)
    assert kernels == 28


@pytest.mark.slow
def test_stochastic_depth_is_drawn_again_after_a_resume(request_of, tmp_path):
    request = request_of(backbone="EfficientNetB0", num_steps=4)

    def trainer(seed):
        tf.keras.utils.set_random_seed(seed)
        recognizer = model.build(request, request.classes())
        tf.keras.utils.set_random_seed(17)  # the order of the data follows from this one too
        return RecognitionTrainer(request, recognizer, 4)

    def losses(made, steps):
        return [made.train(1)["losses"]["Loss/total_loss"] for _ in range(steps)]

    first = trainer(1)
    losses(first, 2)
    path = first.checkpoint.save(str(tmp_path / "ckpt"))
    expected = losses(first, 2)
    second = trainer(2)
    second.resume(path)
    assert losses(second, 2) == expected
    # The depth matters: the same batch gives another loss at another step.
    third = trainer(3)
    third.resume(path)
    images, labels, _ = next(iter(records.training_batches(request, request.classes(), 2 * BATCH)))
    third.global_step.assign(7)
    assert float(third._update(images, labels)) != expected[0]
