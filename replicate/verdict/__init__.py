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
from replicate.verdict import deciding
from replicate.verdict.comparable import obstacles
from replicate.verdict.conditions import Conditions
from replicate.verdict.deciding import FIGURES, VERDICTS, Verdict, decide
from replicate.verdict.judging import of_metrics, of_runs, remember_official
from replicate.verdict.run_facts import RunFacts
from replicate.verdict.telling import text

REACHED, NOT_REACHED, NOT_COMPARABLE = 0, 1, 3


def exit_status(verdict: str) -> int:
    """What a tool that judges ends with: 0 reached, 1 not reached or inconclusive, 3 not
    comparable."""
    if verdict == deciding.NOT_COMPARABLE:
        return NOT_COMPARABLE
    return REACHED if verdict in deciding.REACHED else NOT_REACHED


def of(
    *runs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    model: str | None = None,
    kind: str = "training",
) -> Verdict:
    """The verdict of one run directory, or of several that are seeds of one experiment.

    Args:
      runs: run directories, one by one or in a list; the last evaluation of each is judged.
      model: the zoo model, by name, config, archive or run; a run directory knows its own.
      kind: "training" or "checkpoint" (a published checkpoint that was evaluated again).

    Raises:
      UserError: no evaluation in a run, runs of different models, or one run named twice.
    """
    paths = [
        path for run in runs for path in ([run] if isinstance(run, (str, os.PathLike)) else run)
    ]
    python_api.one_of("kind", kind, ("training", "checkpoint"))
    if not paths:
        raise UserError("name the run directories to judge")
    return of_runs(paths, model=model, kind=kind)


python_api.calls(__name__, of)

__all__ = [
    "Conditions",
    "FIGURES",
    "RunFacts",
    "VERDICTS",
    "Verdict",
    "decide",
    "exit_status",
    "obstacles",
    "of",
    "of_metrics",
    "of_runs",
    "remember_official",
    "text",
]
