"""One published figure and all that is known of it: document, images, rounding, runs.

Two documents publish figures: the zoo's table (tf2_detection_zoo.md) and the comment at the head
of a training config. The table says "COCO mAP" of models trained on the COCO 2017 dataset and
names no images; most headers say "COCO17 val". Where both give the same figure, the header's
words hold for the table's too; elsewhere that it was val2017 is inferred.
"""

import dataclasses
from typing import Any

# What a figure is of, in the order of the table's cells.
KINDS = ("box", "mask", "keypoint")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure as one document publishes it.

    Attributes:
      kind: "box", "mask" or "keypoint".
      points: COCO mAP in points (22.2).
      decimals: digits after the point that the document prints.
      origin: "table" or "header".
      runs: runs that the figure is the mean of, as the document says; None where it does not say.
      spread: the "+/-" that the document gives, in points, or None. The document does not say of
        which of its figures it is, nor what it measures (a deviation, an interval).
      val2017: "stated" where a document says that the figure was taken on COCO 2017 val,
        "inferred" where none does.
      document: repository and path.
      commit: of the document as it was read.
      released: the day, YYYY-MM-DD, in the address of the weights that the figure is of. The
        documents themselves carry no date.
    """

    kind: str
    points: float
    decimals: int
    origin: str
    runs: int | None
    spread: float | None
    val2017: str
    document: str
    commit: str
    released: str

    @property
    def rounding(self) -> float:
        """Half a unit of the last printed digit: the true figure lies within ± this, points."""
        return 0.5 * 10**-self.decimals

    def __str__(self) -> str:
        """E.g. `42.8 ± 0.16 (box, mean of 5 runs, val2017 inferred; table, PATH@COMMIT)`."""
        spread = f" ± {self.spread:g}" if self.spread is not None else ""
        runs = f", mean of {self.runs} runs" if self.runs else ""
        return (
            f"{self.points:.{self.decimals}f}{spread} ({self.kind}{runs}, "
            f"val2017 {self.val2017}; {self.origin}, {self.document}@{self.commit[:8]})"
        )


def of_record(record: dict[str, str]) -> tuple[Figure, ...]:
    """The figures of one line of `data/zoo.csv`: the table's, then those of the config's header."""
    figures = []
    for origin, prefix in (("table", ""), ("header", "header_")):
        document, _, commit = record[f"{origin}_source"].partition("@")
        for kind in KINDS:
            text = record[f"{prefix}{kind}_map"]
            if text:
                figures.append(
                    Figure(
                        kind=kind,
                        points=float(text),
                        decimals=len(text.partition(".")[2]),
                        origin=origin,
                        **_said_of_runs(record, prefix),
                        val2017=_val2017(record, origin),
                        document=document,
                        commit=commit,
                        released=record["released"],
                    )
                )
    return tuple(figures)


def _said_of_runs(record: dict[str, str], prefix: str) -> dict[str, Any]:
    """The table says nothing of runs; a header may."""
    runs, spread = (record.get(f"{prefix}{name}", "") for name in ("runs", "spread"))
    return {"runs": int(runs) if runs else None, "spread": float(spread) if spread else None}


def _val2017(record: dict[str, str], origin: str) -> str:
    if origin == "table":
        return record["val2017"]
    return "stated" if record["header_images"].lower() == "coco17 val" else "inferred"
