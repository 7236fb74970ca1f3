"""Was the published figure reached, and under which conditions?

from replicate import verdict
answer = verdict.of_runs(["runs/seed0", "runs/seed1", "runs/seed2"])
answer.verdict               # REPLICATED, NEAR, INCONCLUSIVE, NOT REPLICATED or NOT COMPARABLE
answer.conditions.answer     # "as published", "scaled", "changed" or "not known"

`decide` is the same over plain data: rows, metrics.json, deviations.
"""

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


__all__ = [
    "Conditions",
    "FIGURES",
    "RunFacts",
    "VERDICTS",
    "Verdict",
    "decide",
    "exit_status",
    "obstacles",
    "of_metrics",
    "of_runs",
    "remember_official",
    "text",
]
