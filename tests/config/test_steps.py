"""Another number of steps on the same course: the schedule is shortened with the training."""

import numpy as np
import pytest

from replicate import config, engine
from replicate.config import lint_rules, schedule
from replicate.errors import UserError

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


@pytest.mark.parametrize("name", config.template_names())
def test_every_schedule_of_the_zoo_keeps_its_course(name):
    """At each fraction of the run the rate is that of the whole run at the same fraction."""
    whole = config.template(name)
    short = config.render(name, num_steps=whole.train_config.num_steps // 10)
    steps = whole.train_config.num_steps
    assert short.train_config.num_steps == steps // 10
    # Away from the boundaries, which fall on whole steps.
    marks = [step for step, _ in schedule.boundaries(whole)]
    fractions = [f for f in np.linspace(0, 1, 41) if all(abs(f * steps - m) > 20 for m in marks)]
    assert len(fractions) > 30
    there = schedule.learning_rates(whole, [round(f * steps) for f in fractions])
    here = schedule.learning_rates(short, [round(f * steps / 10) for f in fractions])
    np.testing.assert_allclose(here, there, rtol=0.02, atol=1e-4 * max(there))
    said = [p.message for p in lint_rules.schedule_length(whole)]
    assert len(list(lint_rules.schedule_length(short))) == len(said)


def test_the_first_example_of_the_readme():
    """1,000 steps of 50,000: warm-up over 20, the decay ends with the training."""
    message = config.render(FPNLITE, num_steps=1000)
    cosine = message.train_config.optimizer.momentum_optimizer.learning_rate
    cosine = cosine.cosine_decay_learning_rate
    assert (cosine.warmup_steps, cosine.total_steps) == (20, 1000)
    assert cosine.learning_rate_base == np.float32(0.08)
    assert not list(lint_rules.schedule_length(message))
    assert schedule.learning_rates(message, [1000])[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "asked", [{"num_steps": 2**32}, {"global_batch_size": 2**32}, {"num_classes": 2**31}]
)
def test_a_number_that_the_field_does_not_hold_is_refused(asked):
    ((name, value),) = asked.items()
    assert config.render(FPNLITE, **{name: 2**31 - 1})
    with pytest.raises(UserError, match=f"{name}={value}: Value out of range"):
        config.render(FPNLITE, **asked)


def test_nor_is_such_a_length_of_training():
    message = config.template(FPNLITE)
    with pytest.raises(UserError, match="num_steps=4294967296"):
        engine.stopping_at(message, 2**32)


def test_what_is_set_explicitly_wins():
    path = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"
    message = config.render(FPNLITE, num_steps=100, overrides=[(f"{path}.warmup_steps", "30")])
    cosine = config.get_field(message, path)
    assert (cosine.warmup_steps, cosine.total_steps) == (30, 100)


def test_too_few_steps_for_a_schedule():
    name = "centernet_hourglass104_512x512_coco17_tpu-8"
    with pytest.raises(UserError, match="too few for this schedule"):
        config.render(name, num_steps=1)
