"""How far a figure lies from a reference of one's own: runs against runs, or two evaluations of the
same images, or runs against figures.

Between runs the spread from seed to seed is not known beforehand, it is that of the runs
themselves (Welch 1947: each set has its own; where one has a single run, it is taken to spread like
the other). The gap is shown to be small (REPLICATED) by an equivalence test at 5 %:

- At a margin that is given: two one-sided tests, that is the gap's 90 % interval lies within it
  (Schuirmann 1987).
- Without one the margin follows from the spread, as the zoo's does (`tolerance.py`): that within
  which one run against one is shown to lie four times in five, (z₀.₉₅ + z₀.₉₀)·√2·σ = 4.14 σ. As σ
  is estimated from the same runs, the test is that of a margin in units of σ: gap / standard error
  is held against the 5 % quantile of the noncentral F distribution whose noncentrality the margin
  gives (Wellek, Testing Statistical Hypotheses of Equivalence and Noninferiority, 2010, 6.1).

Between two evaluations of the same images, one run each, the interval is over the images, paired
(`score.over_images`): it says whether these two checkpoints differ, not what another seed gives.
The margin that follows is again what can be shown four times in five, 3.0 standard errors. A margin
that follows and is as large as the reference's figure shows nothing: 0 would lie within it.

A difference is shown (NOT REPLICATED) at 1 %, as the zoo's is. That the errors hold is simulated
with known truth: tests/verdict/test_two_sets.py.
"""

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence

from replicate.verdict.tolerance import (
    DIFFERENCE,
    EQUIVALENCE,
    INCONCLUSIVE,
    MOST_SEEDS,
    NOT_REPLICATED,
    POWER,
    REPLICATED,
    Judged,
    told_interval,
)

#: The margin that follows from the spread between runs, in σ of one run.
MARGIN_SIGMAS = math.sqrt(2) * (
    statistics.NormalDist().inv_cdf(1 - EQUIVALENCE)
    + statistics.NormalDist().inv_cdf(1 - (1 - POWER) / 2)
)


@dataclasses.dataclass(frozen=True)
class _SpreadOfBoth:
    """What two sets of runs say of the standard error of the difference of their means.

    Attributes:
      error: standard error, points; freedom: its degrees of freedom.
      sigma: of one run, points, both sets together.
    """

    error: float
    freedom: float
    sigma: float


def judge_runs(
    ours: Sequence[float],
    theirs: Sequence[float],
    margin: float | None = None,
    rounding: float = 0.0,
) -> Judged | None:
    """The verdict on a figure of several runs against that of a reference.

    Args:
      ours, theirs: the figure of each run, points.
      margin: the largest true difference that REPLICATED leaves open, points; None takes the one
        that follows from the spread.
      rounding: the reference lies within ± this, points.

    Returns:
      None where both are single: nothing tells how far runs spread.
    """
    if len(ours) < 2 and len(theirs) < 2:
        return None
    gap, spread = statistics.fmean(ours) - statistics.fmean(theirs), _spread(ours, theirs, rounding)
    if not spread.error:
        return _without_spread(ours, theirs, margin)
    followed = MARGIN_SIGMAS * spread.sigma
    half = _student(spread.freedom, EQUIVALENCE) * spread.error
    if margin is None:
        band = _band(spread.freedom, followed / spread.error) * spread.error
    else:
        band = margin - half
    differs = _student(spread.freedom, DIFFERENCE / 2) * spread.error
    name = _name(gap, band, differs)
    if margin is None and _says_nothing(followed, theirs):
        band, name = 0.0, INCONCLUSIVE if name == REPLICATED else name
    within = followed if margin is None else margin
    interval = (gap - half, gap + half)
    reason = (
        f"{_gap_text(ours, theirs)}; 90 % interval of the gap {told_interval(interval)} (σ "
        f"{spread.sigma:.2f}, as these runs spread"
    )
    if min(len(ours), len(theirs)) == 1:
        reason += ", the single one taken to spread like the others"
    reason += (
        "): "
        + {
            REPLICATED: f"a difference of {within:.2f} points or more is excluded",
            NOT_REPLICATED: f"beyond what chance gives (±{differs:.2f} at 1 %)",
            INCONCLUSIVE: f"neither equality within {_shown(within, margin, theirs)} nor a "
            "difference is shown",
        }[name]
    )
    needed = None
    if name == INCONCLUSIVE and not (margin is None and _says_nothing(followed, theirs)):
        needed = _runs_needed(spread.sigma, margin)
        reason += (
            f"; {needed} runs on each side would show it in 80 % of cases, were there no difference"
            if needed
            else f"; with this spread no {MOST_SEEDS} runs on each side would show it"
        )
    return Judged(
        *(name, reason, len(ours), gap, (max(0.0, band), max(0.0, band))),
        sigma=spread.sigma,
        own_sigma=True,
        standard_error=spread.error,
        interval90=interval,
        seeds_needed=needed,
        margin=within,
        method="two sets of runs",
    )


def judge_paired(
    value: float,
    reference: float,
    interval90: tuple[float, float],
    standard_error: float,
    freedom: int,
    images: int,
    margin: float | None = None,
) -> Judged:
    """The verdict on one evaluation against another of the same images.

    Args:
      value, reference: the figure of each, points.
      interval90: of their difference, paired over the images, points.
      standard_error: of the difference; freedom: degrees of freedom of the interval.
      images: how many were evaluated.
      margin: as of `judge_runs`.
    """
    gap, (low, high) = value - reference, interval90
    if standard_error == gap == 0:
        reason = f"{_gap_text([value], [reference])}: on every part of the {images:,} images"
        return Judged(
            *(REPLICATED, reason, 1, 0.0, (0.0, 0.0)),
            standard_error=0.0,
            interval90=interval90,
            margin=margin,
            method="paired over the images",
        )
    equal, differs = _student(freedom, EQUIVALENCE), _student(freedom, DIFFERENCE / 2)
    followed = (equal + _student(freedom, (1 - POWER) / 2)) * standard_error
    within = followed if margin is None else margin
    empty = margin is None and _says_nothing(followed, [reference])
    # The interval is no symmetric one: it reaches over both ways to correct the bias.
    if max(high, -low) <= within * (1 + 1e-9):
        name = INCONCLUSIVE if empty else REPLICATED
    else:
        wider = (differs - equal) * standard_error
        name = NOT_REPLICATED if low - wider > 0 or high + wider < 0 else INCONCLUSIVE
    reason = (
        f"{_gap_text([value], [reference])}; 90 % interval of the difference "
        f"{told_interval(interval90)}, paired over the {images:,} images: "
    ) + {
        REPLICATED: f"a difference of {within:.2f} points or more is excluded",
        NOT_REPLICATED: "these two checkpoints differ by more than the choice of images gives "
        "(at 1 %); whether other seeds do, one run on each side does not tell",
        INCONCLUSIVE: f"neither equality within {_shown(within, margin, [reference])} nor a "
        "difference is shown; more images, or several seeds on each side, tell more",
    }[name]
    reach = max(high - gap, gap - low)
    band = 0.0 if empty else max(0.0, within - reach)
    return Judged(
        *(name, reason, 1, gap, (band, band)),
        standard_error=standard_error,
        interval90=interval90,
        margin=within,
        method="paired over the images",
    )


def judge_plainly(
    value: float, reference: float, margin: float | None, why: str, rounding: float = 0.0
) -> Judged:
    """The verdict where nothing tells how much of a gap is chance.

    Args:
      value, reference: the figure, points.
      margin: as it was given; None decides nothing.
      why: what is missing: a sentence's half.
      rounding: the reference lies within ± this, points. Where that decides, nothing is told.
    """
    gap = value - reference
    gap_text = _gap_text([value], [reference])
    if margin is None:
        reason = f"{gap_text}; {why}: give --margin=POINTS, or train more seeds and name them all"
        return Judged(INCONCLUSIVE, reason, 1, gap, (0.0, 0.0), method="a single figure")
    band = max(0.0, margin - rounding)
    if _within(abs(gap) + rounding, margin):
        name, where = REPLICATED, "within"
    else:
        name = INCONCLUSIVE if _within(max(0.0, abs(gap) - rounding), margin) else NOT_REPLICATED
        where = "beyond"
    reason = (
        f"{gap_text}: {where} the ±{margin:.2f} that were given; what of it is chance is not known "
        f"({why})"
    )
    if name == INCONCLUSIVE:
        reason = (
            f"{gap_text}: the reference is known to ±{rounding:.2g} only, so that a gap of "
            f"{max(0.0, abs(gap) - rounding):.2f} to {abs(gap) + rounding:.2f} cannot be held "
            f"against the ±{margin:.2f} that were given; name the figure with more decimals"
        )
    return Judged(name, reason, 1, gap, (band, band), margin=margin, method="a single figure")


def _spread(ours: Sequence[float], theirs: Sequence[float], rounding: float) -> _SpreadOfBoth:
    n, m = len(ours), len(theirs)
    factor = 1 / n + 1 / m
    if min(n, m) == 1:
        sigma, freedom = statistics.stdev(ours if n > 1 else theirs), max(n, m) - 1.0
        variance = sigma**2 * factor
    else:
        parts = statistics.variance(ours) / n, statistics.variance(theirs) / m
        variance = sum(parts)
        squares = parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)
        freedom = variance**2 / squares if squares else float(n + m - 2)
        sigma = math.sqrt(variance / factor)
    # A figure rounded to ±r is uniform over 2r, of variance r²/3.
    return _SpreadOfBoth(math.sqrt(variance + rounding**2 / 3), freedom, sigma)


def _says_nothing(margin: float, theirs: Sequence[float]) -> bool:
    """Whether a margin that follows from the spread would let a figure of 0 pass."""
    return 0 < margin >= statistics.fmean(theirs)


def _shown(within: float, margin: float | None, theirs: Sequence[float]) -> str:
    empty = margin is None and _says_nothing(within, theirs)
    return f"±{within:.2f}" + (" (in which even a figure of 0 lies)" if empty else "")


def _without_spread(ours: Sequence[float], theirs: Sequence[float], margin: float | None) -> Judged:
    """Of runs that do not differ at all among themselves: equal, or nothing told."""
    value, reference = statistics.fmean(ours), statistics.fmean(theirs)
    if value != reference:
        why = "the runs of each side do not differ at all, so they tell nothing of chance"
        return judge_plainly(value, reference, margin, why)
    reason = f"{_gap_text(ours, theirs)}: every run has the same figure"
    return Judged(
        *(REPLICATED, reason, len(ours), 0.0, (0.0, 0.0), 0.0, True, 0.0, (0.0, 0.0)),
        margin=margin or 0.0,
        method="two sets of runs",
    )


def _name(gap: float, band: float, differs: float) -> str:
    if band >= 0 and _within(gap, band):
        return REPLICATED
    return NOT_REPLICATED if abs(gap) > differs else INCONCLUSIVE


def _student(freedom: float, tail: float) -> float:
    """Student's quantile that is exceeded with probability `tail`."""
    from scipy import stats

    return float(stats.t.ppf(1 - tail, freedom))


@functools.cache
def _band(freedom: float, margin_errors: float) -> float:
    """The largest |T| that shows equivalence at a margin of so many standard errors."""
    from scipy import stats

    return math.sqrt(float(stats.ncf.ppf(EQUIVALENCE, 1, freedom, margin_errors**2)))


@functools.cache
def _runs_needed(sigma: float, margin: float | None) -> int | None:
    """Runs on each side with which REPLICATED is shown in 80 % of cases without a difference."""
    from scipy import stats

    for runs in range(2, MOST_SEEDS + 1):
        freedom, error = 2 * runs - 2, sigma * math.sqrt(2 / runs)
        if margin is None:
            band = _band(freedom, MARGIN_SIGMAS * sigma / error)
        else:
            band = margin / error - _student(freedom, EQUIVALENCE)
        if band > 0 and 2 * float(stats.t.cdf(band, freedom)) - 1 >= POWER:
            return runs
    return None


def _gap_text(ours: Sequence[float], theirs: Sequence[float]) -> str:
    value, reference = statistics.fmean(ours), statistics.fmean(theirs)
    gap = value - reference
    over = f" over {len(ours)} runs" if len(ours) > 1 else ""
    of = f" over {len(theirs)}" if len(theirs) > 1 else ""
    away = f"{abs(gap):.2f} {'above' if gap > 0 else 'below'}" if abs(gap) >= 0.005 else "equal"
    return f"{value:.2f}{over} against {reference:.2f}{of}, {away}"


def _within(gap: float, bound: float) -> bool:
    return abs(gap) <= bound or math.isclose(abs(gap), bound, rel_tol=1e-9, abs_tol=1e-12)
