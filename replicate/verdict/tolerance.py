"""How far from the published figure a replication may lie, and where that comes from.

Of a training run the gap between its AP and the published figure holds the seed's chance twice:
in the runs at hand, and in the run (or the mean of runs) that was published. So the gap's standard
error is √(σ²/n + σ²/m + rounding²), with n runs here and m there. What is called REPLICATED is
then shown, not assumed: the gap's 90 % interval lies within the margin, which is the same as two
one-sided tests at 5 % (Schuirmann 1987).

σ is the largest of the published series (`spread.py`), so that the errors hold for every model of
them, or that of the runs at hand where these spread more than it allows.
"""

import dataclasses
import functools
import math
import statistics

from replicate.verdict import spread

ROUNDING = "a published figure is rounded to 0.1 and alone carries ±0.05"
REPLICATED, NEAR, NOT_REPLICATED = "REPLICATED", "NEAR", "NOT REPLICATED"
INCONCLUSIVE = "INCONCLUSIVE"

EQUIVALENCE = 0.05  # error of either one-sided test
DIFFERENCE = 0.01  # error of the two-sided test that shows a difference
_WIDE = 0.10  # where runs spread more than the series' σ would but once in ten times
POWER = 0.8
MOST_SEEDS = 30


@dataclasses.dataclass(frozen=True)
class PublishedFigure:
    """A published figure and what is uncertain of it.

    Attributes:
      points: the figure.
      rounding: it lies within ± this, points.
      runs: runs that it is the mean of; 1 where its document does not say.
      spread: the ± that its document gives, or None.
    """

    points: float
    rounding: float = 0.05
    runs: int = 1
    spread: float | None = None


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Margins, in points of AP.

    Attributes:
      kind: "checkpoint" or "training".
      replicated: of a checkpoint the largest gap that is REPLICATED; of training the largest true
        difference that REPLICATED leaves open.
      near: the same of NEAR.
      why: the reasoning.
      sources: what it rests on.
    """

    kind: str
    replicated: float
    near: float
    why: str
    sources: tuple[str, ...]


def _margin(sigma: float) -> float:
    """The least margin within which one run and one published run without a difference between
    them are shown to lie four times in five; rounded up to 0.1."""
    normal = statistics.NormalDist()
    quantiles = normal.inv_cdf(1 - EQUIVALENCE) + normal.inv_cdf(1 - (1 - POWER) / 2)
    return math.ceil(10 * quantiles * math.sqrt(2) * sigma) / 10


@functools.cache
def of_kind(kind: str) -> Tolerance:
    """The margins of a kind: "checkpoint" or "training"."""
    if kind == "checkpoint":
        return Tolerance(
            kind,
            replicated=0.1,
            near=0.5,
            why="of the same weights on the same images, which --kind=checkpoint says, only "
            "rounding and arithmetic are left",
            sources=(ROUNDING,),
        )
    evidence = spread.evidence()
    return Tolerance(
        kind,
        replicated=_margin(evidence.pooled),
        near=_margin(evidence.high),
        why=(
            f"σ between seeds is {evidence.low:.2f} to {evidence.high:.2f} by model "
            f"({evidence.pooled:.2f} pooled), so two honest runs differ by "
            f"{math.sqrt(2) * evidence.low:.2f} to {math.sqrt(2) * evidence.high:.2f} (√2·σ), "
            "and the published figure is itself a run: the margins are what one run against one "
            "can show, with the pooled and the largest σ"
        ),
        sources=(*evidence.sources, ROUNDING),
    )


KINDS = ("checkpoint", "training")


@dataclasses.dataclass(frozen=True)
class Judged:
    """One figure, judged.

    Attributes:
      verdict: REPLICATED, NEAR, NOT_REPLICATED or INCONCLUSIVE.
      reason: why, in a sentence.
      seeds: number of runs.
      gap: mean over the runs less the published figure, points.
      bands: (largest gap that would be REPLICATED, … NEAR) with these runs, points; 0 where none
        would.
      sigma: of one run, points; None of a checkpoint.
      own_sigma: whether sigma is that of the runs at hand.
      standard_error: of the gap, points; None of a checkpoint.
      interval90: of the gap, (low, high) points; None of a checkpoint.
      seeds_needed: runs with which REPLICATED would be shown in 80 % of cases, were there no
        difference; None where no number would do, or it is settled.
      margin: of a reference of one's own, the largest true difference that REPLICATED leaves open,
        points; None of a published figure, which has the margins of its kind.
      method: of the same, how it was judged: "two sets of runs", "paired over the images" or "a
        single figure".
    """

    verdict: str
    reason: str
    seeds: int
    gap: float
    bands: tuple[float, float]
    sigma: float | None = None
    own_sigma: bool = False
    standard_error: float | None = None
    interval90: tuple[float, float] | None = None
    seeds_needed: int | None = None
    margin: float | None = None
    method: str | None = None

    def to_json(self) -> dict:
        """The fields as plain data."""
        return dataclasses.asdict(self)


def judge(values: list, published: PublishedFigure, kind: str) -> Judged:
    """The verdict on one figure.

    Args:
      values: achieved AP in points, one a distinct run.
      published: PublishedFigure.
      kind: "checkpoint" or "training".
    """
    return (_checkpoint if kind == "checkpoint" else _training)(values, published)


def _checkpoint(values: list[float], published: PublishedFigure) -> Judged:
    margins = of_kind("checkpoint")
    # A figure that is the mean of runs is none of theirs.
    chance = 1.96 * (published.spread or 0) if published.runs > 1 else 0
    bands = (margins.replicated + chance, max(margins.near, margins.replicated + chance))
    gap = statistics.fmean(values) - published.points
    # A figure that is rounded more coarsely than the zoo's may lie so much nearer or farther.
    coarser = max(0.0, published.rounding - PublishedFigure.rounding)
    nearest, name = (
        next(
            (
                name
                for name, bound in zip((REPLICATED, NEAR), bands, strict=True)
                if _within(distance, bound)
            ),
            NOT_REPLICATED,
        )
        for distance in (max(0.0, abs(gap) - coarser), abs(gap) + coarser)
    )
    if nearest != name:
        reason = (
            f"{_gap_text(values, published)}: the figure is known to ±{published.rounding:.2g} "
            f"only, which does not tell whether it is within ±{bands[0]:.2g} points; name it with "
            "more decimals"
        )
        return Judged(INCONCLUSIVE, reason, len(values), gap, bands)
    bound = {
        REPLICATED: f"within ±{bands[0]:.2g}",
        NEAR: f"within ±{bands[1]:.2g}, not ±{bands[0]:.2g}",
        NOT_REPLICATED: f"outside ±{bands[1]:.2g}",
    }[name]
    return Judged(name, f"{_gap_text(values, published)}: {bound} points", len(values), gap, bands)


def _training(values: list[float], published: PublishedFigure) -> Judged:
    margins = of_kind("training")
    seeds = len(values)
    sigma, own, quantile_equal, quantile_differ = _sigma(values)
    error = standard_error(sigma, seeds, published)
    half, gap = quantile_equal * error, statistics.fmean(values) - published.points
    bands = (max(0.0, margins.replicated - half), max(0.0, margins.near - half))
    shown = [
        abs(gap) + half <= margin or math.isclose(abs(gap) + half, margin, rel_tol=1e-9)
        for margin in (margins.replicated, margins.near)
    ]
    if shown[0]:
        name = REPLICATED
    elif shown[1]:
        name = NEAR
    else:
        name = NOT_REPLICATED if abs(gap) > quantile_differ * error else INCONCLUSIVE
    needed = None if name in (REPLICATED, NOT_REPLICATED) else seeds_needed(published, sigma)
    interval = (gap - half, gap + half)
    reason = f"{_gap_text(values, published)}; 90 % interval of the gap {told_interval(interval)}"
    reason += f" ({_told_sigma(sigma, own, seeds, gap, published)}): "
    reason += {
        REPLICATED: f"within ±{margins.replicated:.1f} is shown",
        NEAR: f"within ±{margins.near:.1f} is shown, within ±{margins.replicated:.1f} is not",
        NOT_REPLICATED: f"beyond what chance gives (±{quantile_differ * error:.2f} at 1 %)",
        INCONCLUSIVE: "neither equality within the margin nor a difference is shown",
    }[name]
    if name in (NEAR, INCONCLUSIVE):
        reason += f"; {_what_would_settle(published, sigma, own, needed)}"
    return Judged(name, reason, seeds, gap, bands, sigma, own, error, interval, needed)


def _sigma(values: list[float]) -> tuple[float, bool, float, float]:
    """(σ of one run, whether it is these runs' own, quantile of the 90 % interval, quantile of the
    test for a difference)."""
    high, freedom = spread.evidence().high, len(values) - 1
    if not freedom:
        return high, False, *_quantiles(None)
    own = statistics.stdev(values)
    if freedom * own**2 > high**2 * _most_squares(freedom):
        return own, True, *_quantiles(freedom)
    return max(own, high), own > high, *_quantiles(None)


@functools.cache
def _quantiles(freedom: int | None) -> tuple[float, float]:
    """Of the 90 % interval and of the test for a difference: normal, or Student's t."""
    from scipy import stats

    law = stats.norm if freedom is None else stats.t(freedom)
    return float(law.ppf(1 - EQUIVALENCE)), float(law.ppf(1 - DIFFERENCE / 2))


@functools.cache
def _most_squares(freedom: int) -> float:
    """What runs' squared deviations, over σ², exceed but once in ten times."""
    from scipy import stats

    return float(stats.chi2.ppf(1 - _WIDE, freedom))


def standard_error(sigma: float, seeds: int, published: PublishedFigure) -> float:
    """Of the gap between the mean of `seeds` runs and a published figure, points."""
    # A figure rounded to ±r is uniform over 2r, of variance r²/3.
    variance = sigma**2 * (1 / seeds + 1 / published.runs) + published.rounding**2 / 3
    return math.sqrt(variance)


@functools.cache
def seeds_needed(published: PublishedFigure, sigma: float) -> int | None:
    """Runs with which REPLICATED is shown in 80 % of cases where there is no difference.

    Returns:
      None where 30 runs would not do: the published figure's own chance is too large.
    """
    normal = statistics.NormalDist()
    margin = of_kind("training").replicated
    for seeds in range(1, MOST_SEEDS + 1):
        error = standard_error(sigma, seeds, published)
        band = margin - normal.inv_cdf(1 - EQUIVALENCE) * error
        if band > 0 and 2 * normal.cdf(band / error) - 1 >= POWER:
            return seeds
    return None


def _told_sigma(sigma: float, own: bool, seeds: int, gap: float, published: PublishedFigure) -> str:
    """Which σ; of one run also the interval that the pooled one gives."""
    if own:
        return f"σ {sigma:.2f}, as these runs spread"
    if seeds > 1:
        return f"σ {sigma:.2f}, the largest of the published series"
    pooled = spread.evidence().pooled
    half = statistics.NormalDist().inv_cdf(1 - EQUIVALENCE) * standard_error(pooled, 1, published)
    by_pooled = f"{told_interval((gap - half, gap + half))} with the pooled {pooled:.2f}"
    return f"σ {sigma:.2f}, the largest of the published series; {by_pooled}"


def _what_would_settle(
    published: PublishedFigure, sigma: float, own: bool, needed: int | None
) -> str:
    if needed:
        return f"{needed} seeds would settle it in 80 % of cases, were there no difference"
    high = spread.evidence().high
    likely = seeds_needed(published, high)
    if own and likely:
        return (
            f"if these runs' spread is chance and σ at most {high:.2f}, {likely} seeds would "
            f"settle it in 80 % of cases; with σ {sigma:.2f} no number would, for the published "
            "figure is itself one run"
        )
    return "no number of seeds would settle it: the published figure's own chance is too large"


def _gap_text(values: list[float], published: PublishedFigure) -> str:
    gap = statistics.fmean(values) - published.points
    seeds = f" over {len(values)} seeds" if len(values) > 1 else ""
    decimals = 1 if published.rounding >= 0.05 else 2
    mean_of = f" (mean of {published.runs} runs)" if published.runs > 1 else ""
    away = f"{abs(gap):.2f} {'above' if gap > 0 else 'below'}" if abs(gap) >= 0.005 else "equal"
    points = f"{published.points:.{decimals}f}"
    return f"{statistics.fmean(values):.2f}{seeds} against {points}{mean_of}, {away}"


def told_interval(interval: tuple[float, float]) -> str:
    """An interval of points in words: −0.30 to +1.20."""
    return " to ".join(f"{value:+.2f}".replace("-", "−") for value in interval)


def _within(gap: float, bound: float) -> bool:
    # 22.3 - 22.2 is a little more than 0.1 in binary.
    return abs(gap) <= bound or math.isclose(abs(gap), bound, rel_tol=1e-9)
