"""Figures that were told, and what gives them within their rounding."""

import collections
import dataclasses
import decimal
import re
from collections.abc import Iterable, Mapping

from replicate.errors import UserError
from replicate.explain.figures import METRICS

# Told figures are compared with decimals as they were written; nothing but the last bit is added.
_LAST_BIT = 1e-12
# Other names of metrics, as `_plain` leaves them: of papers and boards, of YOLO's tables, and of
# the Object Detection API's TensorBoard tags.
_ALSO = {
    **{f"ap{at}": "AP" for at in ("@.5:.95", "@.50:.95", "50-95", "50:95", "5095")},
    **{"ap@.5": "AP50", "ap@.50": "AP50", "ap@.75": "AP75"},
    **{f"ar{count}": f"AR@{count}" for count in (1, 10, 100)},
    **{f"ar@100{size}": f"AR{size}" for size in "sml"},
}


@dataclasses.dataclass(frozen=True)
class ToldFigure:
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
    def parse(cls, text: str) -> "ToldFigure":
        """From "AP=0.188", or "AP=18.8" in points; mAP, mAP50 and the like are understood.

        Raises:
          UserError: no such metric, or no figure between 0 and 1 (or 0 and 100 points).
        """
        named, equals, written = (part.strip() for part in text.rpartition("="))
        if not equals and re.match(r"[-+.\d]", written):
            raise UserError(
                f"--told={text}: a figure of which metric? --told=AP={text.strip()} is COCO's AP; "
                f"there are: {', '.join(METRICS)}"
            )
        if not equals:
            raise UserError(f"--told={text}: no figure in it; e.g. --told=AP=0.188")
        metric = _metric(named)
        if metric is None:
            raise UserError(f"--told={text}: no metric '{named}'; there are: {', '.join(METRICS)}")
        points = written.endswith("%")
        try:
            number = decimal.Decimal(written.rstrip("% "))
        except decimal.InvalidOperation:
            raise UserError(f"--told={text}: '{written}' is no number; e.g. AP=0.188") from None
        if not number.is_finite() or not 0 <= number <= 100:
            raise UserError(f"--told={text}: a metric is between 0 and 1, or 0 and 100 points")
        exponent = number.as_tuple().exponent
        assert isinstance(exponent, int)  # as of every finite number
        half = decimal.Decimal(1).scaleb(exponent) / 2
        if points or number > 1:
            number, half = number / 100, half / 100
        return cls(metric, written, float(number), float(half))

    @classmethod
    def all_of(cls, texts: Iterable[str]) -> "list[ToldFigure]":
        """The figures of texts of which each is of another metric.

        Raises:
          UserError: as `parse`; two figures of one metric.
        """
        figures = [cls.parse(text) for text in texts]
        counts = collections.Counter(figure.metric for figure in figures)
        for metric, count in counts.items():
            if count > 1:
                written = " and ".join(
                    figure.written for figure in figures if figure.metric == metric
                )
                times = "twice" if count == 2 else f"{count} times"
                raise UserError(
                    f"{metric} told {times}: {written}. Give --told once for each metric; two "
                    "figures of the same one are two questions"
                )
        return figures

    def given_by(self, value: float | None, widths: int = 1) -> bool:
        """Whether `value` rounds to it; with `widths`, comes within so many half units."""
        return value is not None and abs(value - self.value) <= widths * self.half + _LAST_BIT


def given(told: Iterable[ToldFigure], figures: Mapping[str, float | None], widths: int = 1) -> bool:
    """Whether `figures` (metric -> value in 0..1) round to all told figures."""
    return all(figure.given_by(figures[figure.metric], widths) for figure in told)


def _metric(named: str) -> str | None:
    """The name in METRICS of what somebody called so, or None."""
    plain = _plain(named)
    return next((metric for metric in METRICS if metric.lower() == plain), _ALSO.get(plain))


def _plain(named: str) -> str:
    """ "ap@.5" of "mAP@0.50" and the like: without case, brackets, IoU and the API's kinds."""
    plain = re.sub(r"^detection(boxes|masks)_(precision|recall)/", "", named.lower())
    plain = re.sub(r"iou=?|[\s_()\[\]]", "", plain)
    plain = re.sub(r"(small|medium|large)$", lambda size: size.group()[0], plain)
    return re.sub(r"\b0\.", ".", plain.removeprefix("m"))
