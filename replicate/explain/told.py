"""Figures that were told, and what gives them within their rounding."""

import dataclasses
import decimal

from replicate.errors import UserError
from replicate.explain.figures import METRICS

# Told figures are compared with decimals as they were written; nothing but the last bit is added.
_LAST_BIT = 1e-12


@dataclasses.dataclass(frozen=True)
class Told:
    """A figure as somebody wrote it.

    Attributes:
      metric: of METRICS.
      written: as it was written.
      value: in 0..1.
      half: half a unit of its last decimal, in 0..1.
    """

    metric: str
    written: str
    value: float
    half: float

    @classmethod
    def parse(cls, text):
        """From "AP=0.188", or "AP=18.8" in points.

        Raises:
          UserError: no such metric, or no figure between 0 and 1 (or 0 and 100 points).
        """
        metric, _, written = text.partition("=")
        metric, written = metric.strip(), written.strip()
        if metric not in METRICS:
            raise UserError(f"--told={text}: no metric '{metric}'; there are: {', '.join(METRICS)}")
        points = written.endswith("%")
        try:
            number = decimal.Decimal(written.rstrip("% "))
        except decimal.InvalidOperation:
            raise UserError(f"--told={text}: '{written}' is no number; e.g. AP=0.188") from None
        if not number.is_finite() or not 0 <= number <= 100:
            raise UserError(f"--told={text}: a metric is between 0 and 1, or 0 and 100 points")
        half = decimal.Decimal(1).scaleb(number.as_tuple().exponent) / 2
        if points or number > 1:
            number, half = number / 100, half / 100
        return cls(metric, written, float(number), float(half))

    def given_by(self, value, widths=1):
        """Whether `value` rounds to it; with `widths`, comes within so many half units."""
        return value is not None and abs(value - self.value) <= widths * self.half + _LAST_BIT


def given(told, figures, widths=1):
    """Whether `figures` (metric -> value) round to all told figures."""
    return all(each.given_by(figures[each.metric], widths) for each in told)
