"""Published models that others evaluated again: their figures, beside the published ones.

All 80 are one author's (NobuoTsukamoto/benchmarks), kept in `data/reruns.csv` with the document and
commit of each. They are evidence of what a careful evaluation can miss, not published figures:
docs/replications.md says what their pattern shows and what it does not.

    zoo.reruns("efficientdet_d0_coco17_tpu-32")[0].gap      # -0.78
    zoo.gaps_by_resizer()["keep_aspect"]
"""

import csv
import dataclasses
import functools
import pathlib
import statistics

from replicate.zoo import table

_DATA = pathlib.Path(__file__).parent.parent / "data" / "reruns.csv"
# The one series that ran the TF2 zoo's own SavedModels.
SAVED_MODELS = "SavedModel, TF 2.4.1, V100, batch 1"


@dataclasses.dataclass(frozen=True)
class Rerun:
    """One model's evaluation by someone else.

    Attributes:
      zoo: "tf2", "tf1" or "automl", where the model was published.
      model: its name there; of the TF2 zoo the archive's.
      published: the published box mAP that the author compares with, in points, or None.
      measured: what the author measured, in points.
      runtime: the author's words for it.
      dataset: the images, in the author's words.
      note: what is doubtful about it, or "".
      source: repository, path and commit.
    """

    zoo: str
    model: str
    published: float | None
    measured: float
    runtime: str
    dataset: str
    note: str
    source: str

    @property
    def gap(self) -> float | None:
        """Measured less published, in points, or None where nothing was published."""
        return None if self.published is None else round(self.measured - self.published, 2)

    def __str__(self) -> str:
        """E.g. `22.10, 0.10 below (SavedModel, TF 2.4.1, V100, batch 1; COCO 2017 val; SOURCE)`."""
        gap = ""
        if self.gap is not None:
            gap = f", {abs(self.gap):.2f} {'below' if self.gap < 0 else 'above'}"
        note = f"; {self.note}" if self.note else ""
        return f"{self.measured:.2f}{gap} ({self.runtime}; {self.dataset}{note}; {self.source})"


@dataclasses.dataclass(frozen=True)
class Gaps:
    """How far re-evaluated models lie from the published table.

    Attributes:
      models: how many.
      least, most: the gap nearest to the table and the one furthest below it, in points.
      median: of the gaps.
      below: how many lie below the table by more than its rounding (0.05).
    """

    models: int
    least: float
    most: float
    median: float
    below: int


@functools.cache
def all_reruns() -> tuple[Rerun, ...]:
    """Every re-evaluation, in the order of the file."""
    with open(_DATA, encoding="utf-8", newline="") as lines:
        return tuple(
            Rerun(
                zoo=record["zoo"],
                model=record["model"],
                published=float(record["published"]) if record["published"] else None,
                measured=float(record["measured"]),
                runtime=record["runtime"],
                dataset=record["dataset"],
                note=record["notes"],
                source=record["source"],
            )
            for record in csv.DictReader(lines)
        )


def reruns(model: str) -> tuple[Rerun, ...]:
    """Re-evaluations of a model of the TF2 zoo, () where there are none.

    For whoever judges a re-evaluated checkpoint: others' figures of the very same weights stand
    beside the published one (`str(each)` is a line of it), and are no tolerance.

    Args:
      model: an archive's, a training config's or a display name.
    """
    row = table.get(model)
    if row is None:
        return ()
    return tuple(
        rerun for rerun in all_reruns() if (rerun.zoo, rerun.model) == ("tf2", row.archive)
    )


def gaps_by_resizer() -> dict[str, Gaps]:
    """The TF2 zoo's SavedModels by the resizer of their training config: "fixed", "keep_aspect".

    Models whose training config is not public are left out: what resizes them is not known here.
    """
    gaps: dict = {}
    for rerun in all_reruns():
        row = table.get(rerun.model)
        if rerun.runtime != SAVED_MODELS or row is None or row.resizer is None:
            continue
        gaps.setdefault(row.resizer, []).append(rerun.gap)
    return {
        resizer: Gaps(
            models=len(of_resizer),
            least=max(of_resizer),
            most=min(of_resizer),
            median=round(statistics.median(of_resizer), 2),
            below=sum(gap < -0.05 for gap in of_resizer),
        )
        for resizer, of_resizer in sorted(gaps.items())
    }
