"""Ratios from paired turns, with their interval, and what they say of a target."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

REACHED, MISSED, CANNOT_TELL = "reached", "missed", "cannot tell"


def interval(ratios: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """(geometric mean, low, high): Student's interval of the logarithms of ratios.

    Each ratio is of two turns that followed each other, so that a machine's drift is in both.
    With fewer than two ratios the interval is without bounds.
    """
    logs = np.log(ratios)
    mean = float(logs.mean())
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    half = stats.t.ppf((1 + level) / 2, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def answer(ratios: Sequence[float], at_least: float) -> str:
    """Whether the ratios' interval lies above the target, below it, or on both sides."""
    _, low, high = interval(ratios)
    if low >= at_least:
        return REACHED
    return MISSED if high < at_least else CANNOT_TELL


def text(ratios: Sequence[float], at_least: float | None = None) -> str:
    """ "1.02 (95 % interval 0.97 to 1.07, of 8 pairs; target at least 1: cannot tell)"."""
    mean, low, high = interval(ratios)
    told = f"{mean:.3g} (95 % interval {low:.3g} to {high:.3g}, of {len(ratios)} pairs"
    if at_least is None:
        return f"{told})"
    return f"{told}; target at least {at_least:g}: {answer(ratios, at_least)})"
