"""The statistics of seeds: by simulation with known truth, and against the two one-sided tests."""

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from replicate.verdict import spread, tolerance
from tests.conftest import PROJECT

DRAWS = 8_000
SEEDS = (1, 2, 3, 5, 10)
# σ of the published series, and the one between that SSD300's own table gives.
SIGMAS = (0.10, 0.16, 0.23, 0.31)


def calls(sigma, seeds, difference, runs=1):
    """Shares of the verdicts over DRAWS experiments whose truth differs by `difference`."""
    rng = np.random.default_rng([round(100 * sigma), seeds, round(10 * abs(difference)), runs])
    published = np.round(22.2 + rng.normal(0, sigma / math.sqrt(runs), DRAWS), 1)
    values = 22.2 + difference + rng.normal(0, sigma, (DRAWS, seeds))
    names = [
        tolerance.judge(
            row.tolist(), tolerance.PublishedFigure(figure, runs=runs), "training"
        ).verdict
        for row, figure in zip(values, published.tolist(), strict=True)
    ]
    return {name: names.count(name) / DRAWS for name in set(names)}


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("seeds", (1, 3, 5))
def test_a_difference_of_the_margin_is_rarely_called_replicated(sigma, seeds):
    margin = tolerance.of_kind("training").replicated
    for difference in (-margin, margin):
        assert calls(sigma, seeds, difference).get("REPLICATED", 0) <= 0.055


@pytest.mark.parametrize("sigma", (*SIGMAS, 0.35))
@pytest.mark.parametrize("seeds", (1, 3))
def test_an_honest_replication_is_rarely_called_another(sigma, seeds):
    """0.35 lies beyond the series; there the old rule said NOT REPLICATED in 15 %."""
    assert calls(sigma, seeds, 0.0).get("NOT REPLICATED", 0) <= 0.055


@pytest.mark.parametrize("sigma", (*SIGMAS, 0.35))
def test_more_seeds_never_make_an_honest_replication_less_likely_to_be_called_one(sigma):
    shares = [calls(sigma, seeds, 0.0).get("REPLICATED", 0) for seeds in SEEDS]
    error = math.sqrt(0.25 / DRAWS)
    for before, after in itertools.pairwise(shares):
        assert after >= before - 2 * error
    assert shares[-1] > shares[0]


def test_a_mean_of_five_runs_is_less_uncertain():
    one, five = (
        tolerance.PublishedFigure(61.4),
        tolerance.PublishedFigure(61.4, runs=5, spread=0.16),
    )
    assert calls(0.31, 3, 0.0, runs=5)["REPLICATED"] > calls(0.31, 3, 0.0)["REPLICATED"]
    assert tolerance.standard_error(0.31, 3, five) < tolerance.standard_error(0.31, 3, one)
    # 0.31² × (1/3 + 1/5) + 0.05² / 3, by hand
    assert tolerance.standard_error(0.31, 3, five) == pytest.approx(0.22823, abs=1e-4)


def test_seeds_needed_give_the_power_they_promise():
    published = tolerance.PublishedFigure(22.2)
    needed = tolerance.seeds_needed(published, 0.31)
    assert needed == 5
    assert calls(0.31, needed, 0.0)["REPLICATED"] > 0.65  # less, for these runs' own spread counts
    margin, normal = tolerance.of_kind("training").replicated, stats.norm
    for seeds, enough in ((needed, True), (needed - 1, False)):
        error = tolerance.standard_error(0.31, seeds, published)
        power = 2 * normal.cdf((margin - normal.ppf(0.95) * error) / error) - 1
        assert (power >= 0.8) == enough
    assert tolerance.seeds_needed(published, 0.60) is None


def test_replicated_is_two_one_sided_tests_at_five_percent():
    """TOST rejects both one-sided hypotheses: p below 0.05 for either, by the normal law."""
    margin = tolerance.of_kind("training").replicated
    for values in ([22.0, 22.4, 22.3, 21.9], [21.8, 22.3, 22.4], [22.6, 22.8, 22.7], [22.4]):
        judged = tolerance.judge(values, tolerance.PublishedFigure(22.2), "training")
        p = max(
            stats.norm.sf((judged.gap + margin) / judged.standard_error),
            stats.norm.cdf((judged.gap - margin) / judged.standard_error),
        )
        assert (judged.verdict == "REPLICATED") == (p < 0.05)
        low, high = judged.interval90
        assert (low + high) / 2 == pytest.approx(statistics.fmean(values) - 22.2)


def test_runs_that_spread_more_than_the_series_count_by_their_own():
    wide = tolerance.judge([21.6, 22.2, 22.8], tolerance.PublishedFigure(22.2), "training")
    assert wide.own_sigma and wide.sigma == pytest.approx(0.6)
    # t of 2 degrees of freedom, by its table: 2.920
    half = 2.920 * tolerance.standard_error(0.6, 3, tolerance.PublishedFigure(22.2))
    assert wide.interval90 == pytest.approx((-half, half), abs=2e-3)
    narrow = tolerance.judge([22.1, 22.2, 22.3], tolerance.PublishedFigure(22.2), "training")
    assert not narrow.own_sigma and narrow.sigma == spread.evidence().high


def test_the_evidence_gives_the_margins():
    seen, margins = spread.evidence(), tolerance.of_kind("training")
    assert (seen.low, seen.high) == (0.10, 0.31)
    # Degrees of freedom 4, 4, 14, 4 of σ 0.10, 0.10, 0.31, 0.10, by hand.
    assert seen.pooled == pytest.approx(math.sqrt((12 * 0.01 + 14 * 0.0961) / 26))
    assert seen.pooled_low < seen.pooled < seen.high < seen.pooled_high
    # (1.645 + 1.282) × √2 × σ, rounded up.
    assert (margins.replicated, margins.near) == (1.0, 1.3)


def test_ssd300s_own_table_contradicts_itself():
    """15 values of mean 26.707 and σ 0.16 cannot reach from 26.181 to 27.274."""
    most = 14 * 0.16**2  # what the squares of the deviations add up to
    assert most < (26.181 - 26.707) ** 2 + (27.274 - 26.707) ** 2
    # Expected range of 15 normal values, by simulation: 3.47 σ.
    draws = np.random.default_rng(0).normal(size=(20_000, 15))
    assert np.ptp(draws, axis=1).mean() == pytest.approx(3.47, abs=0.02)
    assert pytest.approx(0.31, abs=0.01) == (27.274 - 26.181) / 3.47


def test_the_documents_say_these_bands():
    readme, scoring = (
        (PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/scoring.md")
    )
    bands = {}
    for seeds in (1, 3, 10):
        judged = tolerance.judge([22.2] * seeds, tolerance.PublishedFigure(22.2), "training")
        differs = stats.norm.ppf(0.995) * judged.standard_error
        bands[seeds] = [f"{value:.2f}" for value in (*judged.bands, differs)]
    (one, one_near, one_differs), (three, three_near, _), _ = bands.values()
    assert f"one run within {one}, the mean of three within {three}" in readme
    assert f"one run within {one_near}, three {three_near}" in readme
    assert f"one run beyond {one_differs}" in readme
    for values in zip(*bands.values(), strict=True):
        assert f"| {' | '.join(values)} |" in scoring
