"""The statistics against a reference of one's own, by simulation with known truth."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from replicate.verdict import tolerance, two_sets

DRAWS = 1_500
# Three standard errors of a share of 5 % over DRAWS.
CHANCE = 3 * math.sqrt(0.05 * 0.95 / DRAWS)
SETS = ((1, 2), (3, 1), (2, 2), (3, 3), (5, 2))


def calls(ours, theirs, difference, sigmas=(1.0, 1.0), margin=None):
    """Shares of the verdicts where the reference is 40 and the truth of ours lies beside it."""
    rng = np.random.default_rng([ours, theirs, round(100 * abs(difference))])
    a = 40 + difference + rng.normal(0, sigmas[0], (DRAWS, ours))
    b = 40 + rng.normal(0, sigmas[1], (DRAWS, theirs))
    names = [
        two_sets.judge_runs(x, y, margin).verdict
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    return {name: names.count(name) / DRAWS for name in set(names)}


@pytest.mark.parametrize(("ours", "theirs"), SETS)
def test_a_difference_of_the_margin_that_follows_is_rarely_called_replicated(ours, theirs):
    for sign in (-1, 1):
        found = calls(ours, theirs, sign * two_sets.MARGIN_SIGMAS)
        assert found.get("REPLICATED", 0) <= 0.05 + CHANCE


@pytest.mark.parametrize(("ours", "theirs"), [sets for sets in SETS if min(sets) > 1])
@pytest.mark.parametrize("sigmas", [(1.0, 2.0), (2.0, 1.0)])
def test_nor_where_one_set_spreads_twice_as_much(ours, theirs, sigmas):
    """The margin is then in units of the σ that the two have together (Welch's error)."""
    together = math.sqrt(
        (sigmas[0] ** 2 / ours + sigmas[1] ** 2 / theirs) / (1 / ours + 1 / theirs)
    )
    found = calls(ours, theirs, two_sets.MARGIN_SIGMAS * together, sigmas)
    assert found.get("REPLICATED", 0) <= 0.05 + CHANCE


@pytest.mark.parametrize(("ours", "theirs"), SETS)
def test_a_difference_of_a_given_margin_is_rarely_called_replicated(ours, theirs):
    for margin in (1.5, 4.0):
        found = calls(ours, theirs, margin, margin=margin)
        assert found.get("REPLICATED", 0) <= 0.05 + CHANCE


@pytest.mark.parametrize(("ours", "theirs"), SETS)
def test_an_honest_repetition_is_rarely_called_another_and_mostly_called_the_same(ours, theirs):
    found = calls(ours, theirs, 0.0)
    assert found.get("NOT REPLICATED", 0) <= 0.01 + CHANCE
    least = {3: 0.55, 4: 0.70, 6: 0.90, 7: 0.90}[ours + theirs]
    assert found["REPLICATED"] >= least


def test_the_margin_by_hand():
    # (1.6449 + 1.2816) × √2
    assert pytest.approx(4.1387, abs=1e-3) == two_sets.MARGIN_SIGMAS


def test_welch_by_scipy():
    """Interval and equivalence by SciPy's own Welch test."""
    ours, theirs = [41.2, 40.1, 40.9, 41.8], [40.3, 40.9, 39.9]
    judged = two_sets.judge_runs(ours, theirs, 2.0)
    welch = stats.ttest_ind(ours, theirs, equal_var=False)
    assert judged.interval90 == pytest.approx(tuple(welch.confidence_interval(0.9)))
    below = stats.ttest_ind(np.add(ours, 2.0), theirs, equal_var=False, alternative="greater")
    above = stats.ttest_ind(np.subtract(ours, 2.0), theirs, equal_var=False, alternative="less")
    assert (judged.verdict == "REPLICATED") == (max(below.pvalue, above.pvalue) <= 0.05)
    assert judged.gap == pytest.approx(statistics.fmean(ours) - statistics.fmean(theirs))


def test_one_run_counts_with_the_others_spread():
    """Student's test with the variance of the only set that has one, as SciPy pools it."""
    judged = two_sets.judge_runs([40.0], [40.3, 40.9, 39.9])
    student = stats.ttest_ind([40.0], [40.3, 40.9, 39.9])
    assert judged.gap / judged.standard_error == pytest.approx(student.statistic)
    assert "taken to spread like the others" in judged.reason
    assert two_sets.judge_runs([40.0], [40.0]) is None


def test_runs_needed_give_the_power_they_promise():
    for margin in (None, 2.0):
        needed = two_sets._runs_needed(1.0, margin)
        enough = calls(needed, needed, 0.0, margin=margin).get("REPLICATED", 0)
        assert enough >= 0.8 - 0.06
        if needed > 2:
            assert calls(needed - 2, needed - 2, 0.0, margin=margin).get("REPLICATED", 0) < 0.8


def test_a_margin_as_large_as_the_figure_shows_nothing():
    judged = two_sets.judge_runs([4.0, 6.0], [4.5, 7.0])
    assert judged.verdict == "INCONCLUSIVE" and "even a figure of 0" in judged.reason
    paired = two_sets.judge_paired(5.0, 4.0, (-3.0, 3.0), 2.0, 30, 40)
    assert paired.verdict == "INCONCLUSIVE" and "even a figure of 0" in paired.reason


@pytest.mark.parametrize(
    ("interval", "margin", "verdict"),
    [
        ((-0.4, 1.4), 1.5, "REPLICATED"),
        ((-0.4, 1.6), 1.5, "INCONCLUSIVE"),
        ((2.6, 4.4), 1.5, "NOT REPLICATED"),
        ((-0.4, 1.4), None, "REPLICATED"),  # 3.0 standard errors are 1.6
        ((0.1, 1.9), None, "INCONCLUSIVE"),
    ],
)
def test_paired_intervals(interval, margin, verdict):
    gap = sum(interval) / 2
    # 0.9 is 1.697 standard errors, Student's t of 30 degrees of freedom by its table.
    judged = two_sets.judge_paired(40 + gap, 40.0, interval, 0.9 / 1.697, 30, 500, margin)
    assert judged.verdict == verdict
    assert "paired over the 500 images" in judged.reason


@pytest.mark.parametrize(
    ("value", "margin", "verdict"),
    [
        (41.0, None, "INCONCLUSIVE"),
        (41.0, 1.0, "REPLICATED"),
        (41.1, 1.0, "NOT REPLICATED"),
        (38.9, 1.0, "NOT REPLICATED"),
    ],
)
def test_one_figure_against_one(value, margin, verdict):
    judged = two_sets.judge_plainly(value, 40.0, margin, "one run against one figure")
    assert judged.verdict == verdict and "one run against one figure" in judged.reason


@pytest.mark.parametrize(
    ("value", "rounding", "margin", "verdict"),
    [
        (52.0, 0.5, 0.3, "INCONCLUSIVE"),  # the figure may be 51.5, or 52.5
        (52.9, 0.5, 0.3, "NOT REPLICATED"),  # 0.4 at least
        (52.7, 0.5, 0.3, "INCONCLUSIVE"),  # 0.2 to 1.2 away
        (52.4, 0.5, 1.0, "REPLICATED"),  # 0.9 at most
        (52.6, 0.5, 1.0, "INCONCLUSIVE"),
        (52.25, 0.05, 0.3, "REPLICATED"),
        (52.26, 0.05, 0.3, "INCONCLUSIVE"),
        (52.36, 0.05, 0.3, "NOT REPLICATED"),
    ],
)
def test_a_figure_is_known_to_its_last_digit(value, rounding, margin, verdict):
    """Whatever the reference is within its rounding, REPLICATED and NOT REPLICATED hold of it."""
    judged = two_sets.judge_plainly(value, 52.0, margin, "one run", rounding)
    assert judged.verdict == verdict
    true = [52 + rounding * part / 50 for part in range(-50, 51)]
    within = {abs(value - each) <= margin + 1e-9 for each in true}
    assert (verdict == "INCONCLUSIVE") == (len(within) == 2)
    assert (f"known to ±{rounding:g} only" in judged.reason) == (verdict == "INCONCLUSIVE")


@pytest.mark.parametrize(
    ("value", "rounding", "verdict"),
    [
        *((52.1, 0.05, "REPLICATED"), (52.3, 0.05, "NEAR"), (52.6, 0.05, "NOT REPLICATED")),
        *((52.0, 0.5, "INCONCLUSIVE"), (52.3, 0.5, "INCONCLUSIVE"), (53.1, 0.5, "NOT REPLICATED")),
    ],
)
def test_a_coarse_figure_of_a_checkpoint(value, rounding, verdict):
    """One that the zoo would round to a tenth has its tolerance; a coarser one tells less."""
    published = tolerance.PublishedFigure(52.0, rounding=rounding)
    assert tolerance.judge([value], published, "checkpoint").verdict == verdict


def test_runs_that_do_not_differ_at_all():
    same = two_sets.judge_runs([40.0, 40.0], [40.0, 40.0])
    assert same.verdict == "REPLICATED" and same.interval90 == (0.0, 0.0)
    apart = two_sets.judge_runs([40.0, 40.0], [41.0, 41.0])
    assert apart.verdict == "INCONCLUSIVE" and "tell nothing of chance" in apart.reason
