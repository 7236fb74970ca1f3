"""A verdict in words: the headline, and the lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from replicate import best

if TYPE_CHECKING:
    from replicate.verdict.conditions import Conditions


NOT_RULED_OUT = "not ruled out"
_SHOWN = 6  # settings that are listed; more are counted
_OPEN = 3


def headline(verdict: str, kind: str, runs: int, conditions: Conditions) -> str:
    """Both answers in one sentence: reached? under which conditions?"""
    count = ""
    if kind == "training" and verdict != "NOT COMPARABLE":
        count = " (one run)" if runs == 1 else f" ({runs} runs)"
    return f"{verdict}{count}; conditions: {conditions.sentence}"


def text(verdict: dict) -> str:
    """A verdict as lines for a terminal: both answers, why, and what may explain a gap.

    Args:
      verdict: the dict of verdict.json.
    """
    lines = [verdict["headline"].partition("; conditions: ")[0]]
    lines += [f"  - {reason}" for reason in verdict["reasons"]]
    for name, points in verdict["achieved"].items():
        shown = "undefined" if points is None else f"{points:.2f}"
        published = verdict["published"].get(name)
        lines.append(f"{name} {shown}" + (f", published {published:.1f}" * (published is not None)))
    lines += [*_conditions(verdict["conditions"]), _tolerance(verdict)]
    lines += [f"note: {note}" for note in verdict["notes"]]
    if verdict["likely_causes"]:
        lines += _causes(verdict)
    return "\n".join(lines)


def of_best(kept: dict | None) -> list[str]:
    """The best checkpoint beside the judged last one: what choosing it would add."""
    if kept is None:
        return []
    sentence = f"kept beside the judged checkpoint: {best.sentence(kept)}"
    if kept["judged"] is not None:
        gain = 100 * (kept["value"] - kept["judged"])
        sentence += (
            f"; its {kept['metric']} is {abs(gain):.2f} points {'above' if gain >= 0 else 'below'} "
            "the judged one's, and chosen on these images it flatters: it is not what is judged"
            if gain
            else "; it has the same as the judged one"
        )
    return [sentence]


def _conditions(conditions: dict) -> Iterator[str]:
    yield f"conditions: {conditions['sentence']}"
    settings = [change["sentence"] for change in conditions["changes"] if change["cls"] != "facts"]
    if len(settings) <= _SHOWN:
        yield from (f"    {sentence}" for sentence in settings)
    else:
        yield "    the settings stand in deviations.json and, foldable, in the report"


def _tolerance(verdict: dict) -> str:
    tolerance = verdict["tolerance"]
    if tolerance["kind"] == "checkpoint":
        return (
            f"tolerance of a checkpoint evaluated again: REPLICATED within "
            f"{tolerance['replicated']} points, NEAR within {tolerance['near']}"
        )
    bands = [figure["bands"] for figure in verdict["figures"].values() if figure.get("bands")]
    sentence = (
        f"tolerance of a training run: REPLICATED where a difference of {tolerance['replicated']} "
        f"points or more is excluded, NEAR of {tolerance['near']}"
    )
    if bands:
        gaps = f"gaps up to {bands[0][0]:.2f} and {bands[0][1]:.2f}"
        sentence += f"; with these runs {gaps if bands[0][1] else 'no gap is small enough'}"
    return sentence


def _causes(verdict: dict) -> Iterator[str]:
    causes = verdict["likely_causes"]
    likely = [cause for cause in causes if cause["likelihood"] != NOT_RULED_OUT]
    open_ones = [cause["cause"] for cause in causes if cause["likelihood"] == NOT_RULED_OUT]
    if verdict["verdict"] == "NOT COMPARABLE":
        yield "what differs (evidence, checks, what mends it: in the report, or --output's JSON):"
        yield from (f"  {cause['cause']} ({cause['likelihood']})" for cause in likely)
        return
    yield "what may explain it, by what this run shows:"
    for cause in likely:
        yield f"  {cause['cause']} ({cause['likelihood']})"
        for sentence in cause["evidence"][:_OPEN]:
            yield f"    seen: {sentence}"
        if len(cause["evidence"]) > _OPEN:
            yield f"    seen: {len(cause['evidence']) - _OPEN} more of the kind"
        yield f"    effect: {cause['effect']}"
        yield f"    check: {cause['check']}"
        yield f"    mend: {cause['mend']}"
    if open_ones:
        more = len(open_ones) - _OPEN
        rest = f"; {more} more in verdict.json" if more > 0 else ""
        yield f"  not ruled out: {'; '.join(open_ones[:_OPEN])}{rest}"
