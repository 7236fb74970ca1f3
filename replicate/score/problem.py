"""What is to be said of detections: a problem, with the offer that mends it, or a note."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from replicate.score.detections import Detections


@dataclasses.dataclass(frozen=True)
class DetectionsProblem:
    """A problem of the detections.

    Attributes:
      code: its name, as `--fix` takes it.
      message: what is wrong and where.
      remedy: what `--fix=CODE` does about it, or what the user must do.
      mend: function Detections -> Detections that does it; None where nobody but the user can.
      otherwise: lines on what else the user may know to be right.
    """

    code: str
    message: str
    remedy: str
    mend: Callable[["Detections"], "Detections"] | None = None
    otherwise: str = ""

    @property
    def offer(self) -> str:
        offer = f"--fix={self.code} {self.remedy}" if self.mend else self.remedy
        return offer + self.otherwise


@dataclasses.dataclass(frozen=True)
class DetectionsNote:
    """Something that is said beside the score and changes nothing.

    Attributes:
      code: its name.
      message: a sentence.
    """

    code: str
    message: str


def number(bad: np.ndarray) -> str:
    """ "3 of 734 detections" of a mask."""
    return f"{int(bad.sum()):,} of {len(bad):,} detections"


def some(values: Sequence, count: int = 6) -> str:
    """The first few values, and how many there are."""
    shown = ", ".join(str(value) for value in values[:count])
    return shown + (f", … ({len(values)} in all)" if len(values) > count else "")
