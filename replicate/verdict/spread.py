"""How far apart two honest runs lie that differ in the seed alone: the evidence and what it gives.

σ is the standard deviation of box AP over seeds, in points. Between models it lies in an interval,
and the bands of the verdict follow from that (`tolerance.py`).
"""

import csv
import dataclasses
import functools
import pathlib

_TABLE = pathlib.Path(__file__).resolve().parent / "seed_spread.csv"


@dataclasses.dataclass(frozen=True)
class Spread:
    """σ between seeds, in points of AP.

    Attributes:
      low, high: the smallest and the largest of the published series.
      pooled: the root of their mean variance, weighted by degrees of freedom.
      pooled_low, pooled_high: its 95 % interval, were the models' σ all one.
      sources: one sentence a series.
    """

    low: float
    high: float
    pooled: float
    pooled_low: float
    pooled_high: float
    sources: tuple[str, ...]


@functools.cache
def evidence() -> Spread:
    """The published series of `seed_spread.csv`."""
    from scipy import stats

    with open(_TABLE, encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    series = [
        (float(row["sigma"]), int(row["seeds"]) - 1) for row in rows if row["pooled"] == "yes"
    ]
    freedom = sum(degrees for _, degrees in series)
    variance = sum(degrees * sigma**2 for sigma, degrees in series) / freedom
    low, high = (
        (variance * freedom / stats.chi2.ppf(quantile, freedom)) ** 0.5
        for quantile in (0.975, 0.025)
    )
    return Spread(
        low=min(sigma for sigma, _ in series),
        high=max(sigma for sigma, _ in series),
        pooled=variance**0.5,
        pooled_low=low,
        pooled_high=high,
        sources=tuple(_sentence(row) for row in rows),
    )


def _sentence(row: dict[str, str]) -> str:
    seeds = f", {row['seeds']} seeds" if row["seeds"] else ""
    sigma = f"σ {row['sigma']}" if row["sigma"] else ""
    span = f"{row['lowest']} to {row['highest']}" if row["lowest"] else ""
    parts = ", ".join(part for part in (sigma, span, row["note"]) if part)
    precision = f" {row['precision']}" if row["precision"] else ""
    return f"{row['model']}{precision}{seeds}: {parts} ({row['source']})"
