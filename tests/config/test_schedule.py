"""Schedules against the API's own learning_schedules, at every step."""

import numpy as np
import pytest

from replicate import config
from replicate.config import schedule
from replicate.errors import UserError

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
CENTERNET = "centernet_hg104_512x512_coco17_tpu-8"


def distinct_schedules():
    """One zoo model a distinct schedule."""
    seen = {}
    for name in config.template_names():
        train = config.template(name).train_config
        optimizer = getattr(train.optimizer, train.optimizer.WhichOneof("optimizer"))
        seen.setdefault(optimizer.learning_rate.SerializeToString(), name)
    return sorted(seen.values())


def with_schedule(text, num_steps=2000):
    return config.parse(
        f"train_config {{ num_steps: {num_steps} batch_size: 1 optimizer {{"
        f" momentum_optimizer {{ learning_rate {{ {text} }} }} }} }}"
    )


def api_rates(message, steps):
    """float32 [n]: what the API's optimizer builder gives at each step."""
    from replicate import odapi

    odapi.load()
    import tensorflow as tf
    from object_detection.builders import optimizer_builder

    optimizer = message.train_config.optimizer
    learning_rate = getattr(optimizer, optimizer.WhichOneof("optimizer")).learning_rate

    @tf.function
    def rates(steps):
        return tf.vectorized_map(
            lambda step: optimizer_builder._create_learning_rate(learning_rate, step), steps
        )

    chunks = np.array_split(np.asarray(steps, np.int64), max(1, len(steps) // 5000))
    return np.concatenate([rates(tf.constant(chunk)).numpy() for chunk in chunks])


def assert_equals_the_api(message):
    steps = np.arange(message.train_config.num_steps + 2)
    expected = api_rates(message, steps)
    # float32 rounds the API's sums and cosines: within 4e-7 of the largest rate.
    np.testing.assert_allclose(
        schedule.learning_rates(message, steps), expected, rtol=0, atol=4e-7 * expected.max()
    )


@pytest.mark.parametrize("name", distinct_schedules())
def test_every_schedule_of_the_zoo_at_every_step(name):
    assert_equals_the_api(config.template(name))


@pytest.mark.parametrize(
    "text",
    [
        "constant_learning_rate { learning_rate: 0.02 }",
        "exponential_decay_learning_rate { initial_learning_rate: 0.1 decay_steps: 300"
        " decay_factor: 0.5 }",
        "exponential_decay_learning_rate { initial_learning_rate: 0.1 decay_steps: 300"
        " decay_factor: 0.5 staircase: false burnin_steps: 100 burnin_learning_rate: 0.01"
        " min_learning_rate: 0.004 }",
        "cosine_decay_learning_rate { learning_rate_base: 0.08 total_steps: 1500"
        " warmup_learning_rate: 0.02 warmup_steps: 100 hold_base_rate_steps: 300 }",
        "cosine_decay_learning_rate { learning_rate_base: 0.08 total_steps: 2000 warmup_steps: 0 }",
        "manual_step_learning_rate { initial_learning_rate: 0.1"
        " schedule { step: 500 learning_rate: 0.01 } schedule { step: 900 learning_rate: 0.001 } }",
        "manual_step_learning_rate { initial_learning_rate: 0.01 warmup: true"
        " schedule { step: 500 learning_rate: 0.1 } schedule { step: 900 learning_rate: 0.01 } }",
    ],
)
def test_every_kind_of_schedule_at_every_step(text):
    assert_equals_the_api(with_schedule(text))


@pytest.mark.parametrize("name", config.SCHEDULES)
@pytest.mark.parametrize("model", [FPNLITE, CENTERNET])
def test_rendered_schedules_at_every_step(model, name):
    assert_equals_the_api(config.render(model, schedule=name, global_batch_size=512))


@pytest.mark.parametrize(
    "text, told",
    [
        ("manual_step_learning_rate {}", "at least one schedule"),
        ("manual_step_learning_rate { schedule { step: 0 } }", "above 0 and ascending"),
        (
            "manual_step_learning_rate { schedule { step: 9 } schedule { step: 9 } }",
            "above 0 and ascending",
        ),
        (
            "cosine_decay_learning_rate { total_steps: 10 warmup_steps: 20 }",
            r"total_steps \(10\) must not be below warmup_steps \(20\)",
        ),
        (
            "cosine_decay_learning_rate { learning_rate_base: 1e-4 warmup_steps: 20 }",
            "must not be below warmup_learning_rate",
        ),
        ("", "the config has no learning rate"),
    ],
)
def test_schedules_the_api_refuses(text, told):
    with pytest.raises(UserError, match=told):
        schedule.learning_rates(with_schedule(text), [0])


def test_boundaries():
    assert schedule.boundaries(config.template(FPNLITE)) == [
        (0, "start"),
        (1000, "end of warm-up"),
        (50000, "end of training"),
    ]
    assert schedule.boundaries(config.template(CENTERNET)) == [
        (0, "start"),
        (90000, "step"),
        (120000, "step"),
        (140000, "end of training"),
    ]
