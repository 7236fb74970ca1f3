"""How often a cut is told wrongly, where it is known: simulation, and the real files."""

import functools

import numpy as np
import pytest
from scipy import stats

from replicate.score.cut import ERROR, lowest_cut
from replicate.score.detections import Detections

_DRAWS = 1000
# Densities as detectors have them: most scores near nothing, or as many high ones.
_SCORES = {"falling": (0.3, 6), "flatter": (1, 4), "even": (1, 1)}


@functools.cache
def _pool(cut, draw, levels=None):
    """Scores above a cut, of the beta distribution; in steps of 1 / levels where they are so
    many."""
    of_scores = stats.beta(*_SCORES[draw])
    shares = np.random.default_rng(1).uniform(of_scores.cdf(cut), 1, 100_000)
    scores = of_scores.ppf(shares)
    if levels:
        scores = np.round(scores * levels) / levels
    return scores[scores > cut]


def _above(cut, count, rng, draw, levels=None):
    return rng.choice(_pool(cut, draw, levels), count)


@pytest.mark.parametrize("draw", _SCORES)
@pytest.mark.parametrize("cut", [0.05, 0.5])
@pytest.mark.parametrize("count", [10, 100, 2000])
@pytest.mark.parametrize("levels", [None, 256, 100])
def test_a_cut_lies_below_the_range_as_seldom_as_it_says(draw, cut, count, levels):
    rng, below = np.random.default_rng(0), 0
    draws = _DRAWS if count < 2000 else _DRAWS // 5
    for _ in range(draws):
        scores = _above(cut, count, rng, draw, levels)
        below += lowest_cut(scores) > cut
    # Three standard errors of so many draws.
    assert below / draws <= ERROR + 3 * np.sqrt(ERROR / draws)


@pytest.mark.parametrize("draw", _SCORES)
def test_different_cuts_are_told_apart(draw):
    """0.3 and 0.5 by 200 scores each, 0.05 and 0.1 by 2,000: nine times in ten and more."""
    rng = np.random.default_rng(0)
    for lower, higher, count in ((0.3, 0.5, 200), (0.05, 0.1, 2000)):
        told = [
            lowest_cut(_above(higher, count, rng, draw)) > _above(lower, count, rng, draw).min()
            for _ in range(100)
        ]
        assert np.mean(told) >= 0.9


def test_the_range_by_hand():
    # 20 scores, 0.01 apart from 0.30 on: 0.19 (100^(1/19) - 1) below the lowest.
    scores = 0.30 + 0.01 * np.arange(30)
    assert lowest_cut(scores) == pytest.approx(0.30 - 0.19 * (100 ** (1 / 19) - 1))
    # 8-bit scores whose levels near 0.5 are three steps apart.
    stepped = np.repeat([131, 134, 137, 139, 142], 40) / 256
    assert lowest_cut(stepped) == pytest.approx((131 - 3) / 256)


def test_two_real_files_that_were_both_cut_at_a_half(shared):
    ranges = []
    for model in ("ssd_mobilenet_v2", "ssd_mobilenet_v3_small"):
        scores = Detections.of(shared / f"coco/results/{model}.json", "bbox").scores
        ranges.append((lowest_cut(scores), scores.min()))
    assert all(low <= 0.5 <= high for low, high in ranges)
    # ssd_mobilenet_v2's scores are of 8 bits, and end at 131 / 256.
    assert ranges[0] == pytest.approx((128 / 256, 131 / 256))
    assert ranges[1][0] > 0.4999
    third = Detections.of(shared / "coco/results/ssd_mobilenet_v2_fpnlite_640x640.json", "bbox")
    assert lowest_cut(third.scores) > 0.5998
