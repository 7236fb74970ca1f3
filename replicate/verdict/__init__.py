"""Was the published figure reached, and under which conditions?

from replicate import verdict
answer = verdict.of_runs(["runs/seed0", "runs/seed1", "runs/seed2"])
answer.verdict               # REPLICATED, NEAR, INCONCLUSIVE, NOT REPLICATED or NOT COMPARABLE
answer.conditions.answer     # "as published", "scaled", "changed" or "not known"

`replicate.verdict("runs/seed0", …)` is `of`, the same for run directories named one by one;
`decide` is the same over plain data: rows, metrics.json, deviations.
"""

import os
from collections.abc import Iterable

from replicate import python_api
from replicate.errors import UserError
from replicate.judged import of_another
from replicate.verdict import deciding, two_sets
from replicate.verdict.comparable import obstacles
from replicate.verdict.conditions import Conditions
from replicate.verdict.deciding import FIGURES, VERDICTS, Verdict, decide
from replicate.verdict.judging import (
    finetunes,
    of_metrics,
    of_metrics_files,
    of_runs,
    published_cut,
    published_row,
    remember_official,
)
from replicate.verdict.references import Asked
from replicate.verdict.references import read as read_reference
from replicate.verdict.run_facts import RunFacts
from replicate.verdict.telling import NO_REFERENCE, reference_kind, text

REACHED, NOT_REACHED, NOT_COMPARABLE = 0, 1, 3


def exit_status(verdict: str) -> int:
    """What a tool that judges ends with: 0 reached, 1 not reached or inconclusive, 3 not
    comparable, or held against nothing."""
    if verdict in (deciding.NOT_COMPARABLE, NO_REFERENCE):
        return NOT_COMPARABLE
    return REACHED if verdict in deciding.REACHED else NOT_REACHED


def no_worse(decided: Verdict) -> str | None:
    """In words, that a fall against a reference of one's own by the margin or more is excluded (at
    5 %, one-sided; where no interval was told, that the gap is no such fall); None otherwise."""
    said, shown = [], True
    for name, figure in decided.figures.items():
        margin, interval = figure.get("margin"), figure.get("interval90")
        if margin is None or (
            not decided.reference.get("margin") and margin >= figure["published"]
        ):
            return None
        lowest = interval[0] if interval else figure["gap"] - figure.get("rounding", 0.0)
        if lowest < -margin:
            return None
        shown = shown and interval is not None
        said.append(f"{name} {margin:.2f}")
    if not said:
        return None
    margins = f"({', '.join(said)} points)"
    if not shown:
        return (
            f"no worse: no fall beyond the margin {margins}; what of the gap is chance is not known"
        )
    return f"no worse: a fall by the margin or more is excluded {margins}"


def of(
    *runs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    model: str | None = None,
    kind: str = "training",
    reference: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    reference_on: str | None = None,
    margin: float | None = None,
) -> Verdict:
    """The verdict of one run directory, or of several that are seeds of one experiment.

    Args:
      runs: run directories, one by one or in a list; the last evaluation of each is judged.
      model: the zoo model, by name, config, archive or run; a run directory knows its own.
      kind: "training" or "checkpoint" (a published checkpoint that was evaluated again).
      reference: what the figure is held against: a zoo model's name, one run directory or several
        (seeds of one run), a metrics.json, or figures ("AP=0.412,AP50=0.655").
      reference_on: of figures, which images they are on: "this", those that were evaluated, or
        "val2017".
      margin: points of AP that count as no difference; by default it follows from the spread.

    Raises:
      UserError: no evaluation in a run, runs of different models, one run named twice, or a
        reference that cannot be read.
    """
    paths = [
        path for run in runs for path in ([run] if isinstance(run, (str, os.PathLike)) else run)
    ]
    python_api.one_of("kind", kind, ("training", "checkpoint"))
    if not paths:
        raise UserError("name the run directories to judge")
    given = [reference] if isinstance(reference, (str, os.PathLike)) else list(reference)
    if reference_on:
        python_api.one_of("reference_on", reference_on, ("this", "val2017"))
    asked = Asked.of([str(text) for text in given], reference_on, margin)
    return of_runs(paths, model=model, kind=kind, reference=asked)


python_api.calls(__name__, of)

__all__ = [
    "Asked",
    "Conditions",
    "FIGURES",
    "NO_REFERENCE",
    "RunFacts",
    "VERDICTS",
    "Verdict",
    "decide",
    "exit_status",
    "finetunes",
    "no_worse",
    "obstacles",
    "of",
    "of_another",
    "of_metrics",
    "of_metrics_files",
    "of_runs",
    "published_cut",
    "published_row",
    "read_reference",
    "reference_kind",
    "remember_official",
    "text",
    "two_sets",
]
