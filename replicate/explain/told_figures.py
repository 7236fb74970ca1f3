"""Figures that were told, and what gives them within their rounding."""

import collections
import dataclasses
import decimal
import math
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
    **{"ap@.5": "AP50", "ap@.50": "AP50", "ap@.75": "AP75", "ap.5": "AP50", "ap.5:.95": "AP"},
    **{f"ar{count}": f"AR@{count}" for count in (1, 10, 100)},
    **{f"ar@100{size}": f"AR{size}" for size in "sml"},
}
# What tools put before and after a metric's name to say of what it is: mmdetection
# ("coco/bbox_mAP", "segm_mAP"), Detectron2 ("bbox/AP"), Ultralytics ("metrics/mAP50(B)" and "(M)"),
# the API's tags.
_KINDS = {
    "bbox": r"^(coco/)?bbox[_/]|^detectionboxes_|\(b\)$",
    "segm": r"^(coco/)?segm[_/]|^detectionmasks_|\(m\)$",
}
# Of figures on the same detections the first is never above the second: AP is the mean over IoU
# thresholds, a higher threshold finds no more, and more detections find no less.
_AT_MOST = (
    *(("AP", "AP50"), ("AP75", "AP50")),
    *(("AR@1", "AR@10"), ("AR@10", "AR@100"), ("AR@1", "AR@100")),
)


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

        What is above 1, has a % or is a whole number is in points: "AP=0" is 0 ± 0.5 points, for
        as a fraction, to 0 ± 0.5, it would say nothing.

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
        if re.fullmatch(r"[-+]?\d*,\d+\s*%?", written):
            raise UserError(
                f"--told={text}: '{written}' has a decimal comma; with a point it is "
                f"--told={named}={written.replace(',', '.')}"
            )
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
        if points or number > 1 or exponent >= 0:
            number, half = number / 100, half / 100
        return cls(metric, written, float(number), float(half))

    @classmethod
    def all_of(cls, texts: Iterable[str]) -> "list[ToldFigure]":
        """The figures of texts of which each is of another metric.

        Raises:
          UserError: as `parse`; two figures of one metric.
        """
        figures = [cls.parse(part) for text in texts for part in parts_of(text)]
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
        _refuse_impossible(figures)
        return figures

    @property
    def read_as(self) -> str:
        """ "AP 18.8 (0.1875 to 0.1885)": as it was written, and what it was taken for."""
        digits = max(4, -math.floor(math.log10(self.half)))
        low, high = max(0.0, self.value - self.half), min(1.0, self.value + self.half)
        return f"{self.metric} {self.written} ({low:.{digits}f} to {high:.{digits}f})"

    def given_by(self, value: float | None, widths: int = 1) -> bool:
        """Whether `value` rounds to it; with `widths`, comes within so many half units."""
        return value is not None and abs(value - self.value) <= widths * self.half + _LAST_BIT


def given(told: Iterable[ToldFigure], figures: Mapping[str, float | None], widths: int = 1) -> bool:
    """Whether `figures` (metric -> value in 0..1) round to all told figures."""
    return all(figure.given_by(figures[figure.metric], widths) for figure in told)


def parts_of(text: str) -> list[str]:
    """Each figure of "AP=0.152,AP50=0.228" by itself."""
    return re.split(r",(?=\s*[A-Za-z][^,]*=)", text)


def kind_of(text: str) -> str | None:
    """ "bbox" or "segm" where a told figure's name says of what it is: of "segm_mAP=0.3" "segm"."""
    named = text.rpartition("=")[0].strip().lower()
    return next((kind for kind, how in _KINDS.items() if re.search(how, named)), None)


def _refuse_impossible(figures: Iterable[ToldFigure]) -> None:
    of = {figure.metric: figure for figure in figures}
    for lower, upper in _AT_MOST:
        if lower in of and upper in of:
            low, high = of[lower], of[upper]
            if low.value - low.half > high.value + high.half + _LAST_BIT:
                raise UserError(
                    f"{lower} {low.written} and {upper} {high.written}: {lower} cannot exceed "
                    f"{upper} of the same detections, so no evaluation gives both. Are they "
                    "interchanged, of two models, or one in points and one a fraction? They were "
                    f"read as {low.read_as} and {high.read_as}"
                )


def _metric(named: str) -> str | None:
    """The name in METRICS of what somebody called so, or None."""
    plain = _plain(named)
    return next((metric for metric in METRICS if metric.lower() == plain), _ALSO.get(plain))


def _plain(named: str) -> str:
    """ "ap@.5" of "mAP@0.50" and the like: without case, brackets, IoU and the API's kinds."""
    plain = re.sub(r"^detection(boxes|masks)_(precision|recall)/", "", named.lower())
    plain = re.sub(r"^(metrics|coco)/|\([bm]\)$", "", plain)
    plain = re.sub(r"^(bbox|segm)[_/]", "", plain)
    plain = re.sub(r"(?<=map)_(?=0?\.)", "", plain)
    plain = re.sub(r"(?<=map)0(?=\.)", "", plain)
    plain = re.sub(r"iou=?|[\s_()\[\]]", "", plain)
    plain = re.sub(r"(small|medium|large)$", lambda size: size.group()[0], plain)
    return re.sub(r"\b0\.", ".", plain.removeprefix("m"))
