"""The linear scaling rule, found in two configs by arithmetic."""

import math

import pytest

from replicate import config

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"  # batch 128, rate 0.08, 50,000 steps
COSINE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"


def found(model=MODEL, **how):
    return config.linear_scaling(config.read(model), config.render(model, **how))


@pytest.mark.parametrize("model", config.template_names())
@pytest.mark.parametrize("factor", [0.25, 2])
def test_every_recipe_scaled_by_the_kit_is_recognised(model, factor):
    batch = config.read(model).train_config.batch_size
    if batch * factor < 1:
        pytest.skip(f"batch {batch}")
    scaling = found(model, global_batch_size=int(batch * factor))
    assert (scaling.rule, scaling.factor, scaling.rest) == ("linear", factor, ())
    assert "train_config.batch_size" in scaling.follows
    assert scaling.established == (scaling.optimizer != "adam")


def by_hand(batch, rate, steps, warmup_rate, warmup):
    return [
        ("train_config.batch_size", str(batch)),
        ("train_config.num_steps", str(steps)),
        (f"{COSINE}.learning_rate_base", str(rate)),
        (f"{COSINE}.total_steps", str(steps)),
        (f"{COSINE}.warmup_learning_rate", str(warmup_rate)),
        (f"{COSINE}.warmup_steps", str(warmup)),
    ]


def test_written_by_hand_and_rounded():
    """0.08 × 24/128 = 0.015, 0.026666 × 24/128 = 0.005; 50,000 × 128/24 = 266,667."""
    scaling = found(overrides=by_hand(24, 0.015, 266_700, 0.005, 5_333))
    assert scaling.factor == 24 / 128 and scaling.rest == ()


@pytest.mark.parametrize(
    "overrides",
    [
        by_hand(32, 0.08, 200_000, 0.026666, 4_000),  # the rate stayed
        by_hand(32, 0.08 * math.sqrt(0.25), 200_000, 0.026666 * math.sqrt(0.25), 4_000),
        by_hand(128, 0.02, 50_000, 0.0066665, 1_000),  # the batch stayed
        [("train_config.batch_size", "32")],
    ],
)
def test_another_rule_or_none(overrides):
    assert found(overrides=overrides) is None


def test_what_does_not_follow_is_told_from_the_scaled_recipe():
    scaling = found(overrides=by_hand(32, 0.02, 50_000, 0.0066665, 4_000))
    assert {(each.path, each.a, each.b) for each in scaling.rest} == {
        ("train_config.num_steps", 200_000, 50_000),
        (f"{COSINE}.total_steps", 200_000, 50_000),
    }
    assert f"{COSINE}.warmup_steps" in scaling.follows


def test_other_differences_are_left():
    scaling = found(global_batch_size=64, overrides=[("model.ssd.num_classes", "3")])
    assert [each.path for each in scaling.rest] == ["model.ssd.num_classes"]
    assert "model.ssd.num_classes" not in scaling.follows


def test_another_schedule_is_no_scaling():
    assert found(global_batch_size=64, schedule="piecewise_1x") is None
