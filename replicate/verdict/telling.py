"""A verdict in words: the headline, and the lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from replicate import best

if TYPE_CHECKING:
    from replicate.verdict.conditions import Conditions


NO_REFERENCE = "NO REFERENCE"  # the verdict where nothing was named to hold the figure against
NOT_RULED_OUT = "not ruled out"
_SHOWN = 6  # settings that are listed; more are counted
_OPEN = 3


def headline(verdict: str, kind: str, runs: int, conditions: Conditions) -> str:
    """Both answers in one sentence: reached? under which conditions?"""
    count = ""
    if kind == "training" and verdict != "NOT COMPARABLE":
        count = " (one run)" if runs == 1 else f" ({runs} runs)"
    return f"{verdict}{count}; conditions: {conditions.sentence}"


def headline_against(
    verdict: str,
    kind: str,
    runs: int,
    conditions: Conditions,
    reference: str | None,
    margins: list[float | None],
) -> str:
    """Both answers in one sentence, of a reference of one's own: how near is REPLICATED here?

    Args:
      reference: in words; None where none was given.
      margins: of the figures that were judged, points.
    """
    if reference is None:
        return f"{verdict}: nothing was named to hold the figure against"
    count = f", {runs} runs" if runs > 1 else (", one run" if kind == "training" else "")
    within = max((margin for margin in margins if margin is not None), default=None)
    near = f" within ±{within:.2f}" if verdict == "REPLICATED" and within else ""
    against = f"{verdict}{near} (against {reference}{count})"
    return f"{against}; conditions: {conditions.sentence}"


def text(verdict: dict) -> str:
    """A verdict as lines for a terminal: both answers, why, and what may explain a gap.

    Args:
      verdict: the dict of verdict.json.
    """
    of_zoo = reference_kind(verdict) == "zoo"
    lines = [verdict["headline"].partition("; conditions: ")[0]]
    lines += [f"  - {reason}" for reason in verdict["reasons"]]
    for name, points in verdict["achieved"].items():
        shown = "undefined" if points is None else f"{points:.2f}"
        published = verdict["published"].get(name)
        if published is not None:
            shown += f", published {published:.1f}" if of_zoo else f", reference {published:.2f}"
        lines.append(f"{name} {shown}")
    if verdict["verdict"] != NO_REFERENCE:
        lines += [*_conditions(verdict["conditions"]), *_tolerance(verdict)]
    lines += [f"note: {note}" for note in verdict["notes"]]
    if verdict["likely_causes"]:
        lines += _causes(verdict)
    return "\n".join(lines)


def of_best(best_kept: dict | None, judged_sha256: str | None) -> list[str]:
    """The best checkpoint beside the judged last one: what choosing it would add.

    Args:
      kept: "best" of the run's facts.
      judged_sha256: of the checkpoint that is judged.
    """
    if best_kept is None:
        return []
    if best_kept["checkpoint"]["sha256"] == judged_sha256:
        return [f"the judged checkpoint is the best that was kept: {best.sentence(best_kept)}"]
    sentence = f"kept beside the judged checkpoint: {best.sentence(best_kept)}"
    if best_kept["judged"] is None:
        return [sentence]
    gain = 100 * (best_kept["value"] - best_kept["judged"])
    return [
        f"{sentence}; its {best_kept['metric']} is {abs(gain):.2f} points "
        f"{'above' if gain >= 0 else 'below'} the judged one's, and chosen on these images it "
        "flatters: it is not what is judged"
    ]


def reference_kind(verdict: dict) -> str:
    """What a verdict is against: "zoo", "runs", "metrics", "figures" or "none"."""
    kind: str = verdict.get("reference", {"kind": "zoo"})["kind"]  # an earlier kit knew the zoo's
    return kind


def _conditions(conditions: dict) -> Iterator[str]:
    yield f"conditions: {conditions['sentence']}"
    settings = [change["sentence"] for change in conditions["changes"] if change["cls"] != "facts"]
    if len(settings) <= _SHOWN:
        yield from (f"    {sentence}" for sentence in settings)
    else:
        yield (
            "    the settings stand in verdict.json (tools/verdict.py --output) and, foldable, in "
            "the report of it"
        )


def _tolerance(verdict: dict) -> Iterator[str]:
    tolerance = verdict["tolerance"]
    if tolerance["sigma"] is None:  # of a reference of one's own
        if tolerance["replicated"] is not None:
            yield f"margin ±{tolerance['replicated']:.2f} points: {tolerance['why']}"
        return
    if tolerance["kind"] == "checkpoint":
        yield (
            f"tolerance of a checkpoint evaluated again: REPLICATED within "
            f"{tolerance['replicated']} points, NEAR within {tolerance['near']}"
        )
        return
    bands = [figure["bands"] for figure in verdict["figures"].values() if figure.get("bands")]
    sentence = (
        f"tolerance of a training run: REPLICATED where a difference of {tolerance['replicated']} "
        f"points or more is excluded, NEAR of {tolerance['near']}"
    )
    if bands:
        gaps = f"gaps up to {bands[0][0]:.2f} and {bands[0][1]:.2f}"
        sentence += f"; with these runs {gaps if bands[0][1] else 'no gap is small enough'}"
    yield sentence


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
