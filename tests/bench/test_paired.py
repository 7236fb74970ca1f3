"""Intervals of paired ratios: known cases, and how often they hold the truth."""

import numpy as np
import pytest

from tests.bench import paired


def test_a_hand_worked_interval():
    # Logarithms -1, 0, 1: mean 0, deviation 1, t(0.975, 2) = 4.3027.
    mean, low, high = paired.interval([np.exp(-1), 1.0, np.exp(1)])
    half = 4.302653 / np.sqrt(3)
    assert (mean, low, high) == pytest.approx((1.0, np.exp(-half), np.exp(half)), rel=1e-5)


def test_ninety_five_of_a_hundred_hold_the_truth():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        _, low, high = paired.interval(1.1 * np.exp(rng.normal(0, 0.2, 6)))
        held += low <= 1.1 <= high
    assert 0.935 < held / 2000 < 0.965


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.2, 1.21, 1.19], paired.REACHED),
        ([0.8, 0.81, 0.79], paired.MISSED),
        ([0.93, 1.28], paired.CANNOT_TELL),  # two runs of the same code on one machine
        ([3.0], paired.CANNOT_TELL),
    ],
)
def test_what_is_said_of_a_target(ratios, expected):
    assert paired.answer(ratios, at_least=1.0) == expected
    assert expected in paired.text(ratios, at_least=1.0)
