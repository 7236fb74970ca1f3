"""What tools/explain.py measured of a run's own model, by the documented reason it sizes."""

import re
from collections.abc import Iterable

from replicate import reasons
from replicate.errors import UserError
from replicate.reasons import Reason
from replicate.run import RunDir, read_json

# The setting that a reason's evidence speaks of where no config difference is that evidence.
_WITHOUT_PATH = {reasons.CUT: "score_threshold"}


def of_run(run: RunDir) -> list:
    """The changes in the run's `explain/*.json` that size a documented reason.

    Args:
      run: RunDir.

    Returns:
      list of dicts, largest first: those of `changes` (docs/explain.md) that have a `reason` and a
      `delta_ap`. What is no such file or row is left out.
    """
    found = []
    for path in sorted((run.root / "explain").glob("*.json")):
        try:
            changes = read_json(path).get("changes")
        except (UserError, AttributeError):
            continue
        found += [each for each in changes or () if isinstance(each, dict) and _sizes(each)]
    return sorted(found, key=lambda each: -abs(each["delta_ap"]))


def _sizes(change: dict) -> bool:
    return change.get("reason") is not None and isinstance(change.get("delta_ap"), int | float)


def largest(reason: Reason, changes: Iterable[dict], differing: Iterable[str]) -> dict | None:
    """The change that sizes a reason here, or None.

    Args:
      reason: reasons.Reason.
      changes: as of `of_run`.
      differing: config paths that differ from the recipe; where some are evidence of the reason,
        only changes of those fields size it.
    """
    paths = [each for each in differing if reasons.of_path(each) is reason]
    paths = paths or [_WITHOUT_PATH.get(reason, "")]
    fitting = (
        each
        for each in changes
        if each["reason"] == reason.number
        and any(re.search(each.get("paths") or "", path) for path in paths)
    )
    return max(fitting, key=lambda each: abs(each["delta_ap"]), default=None)


def told(change: dict) -> str:
    """ "decoder: pillow −0.30 points (−0.98 to +0.39)" of a change."""
    said = f"{change['delta_ap']:+.2f} points"
    if change.get("interval"):
        low, high = change["interval"]
        said += f" ({low:+.2f} to {high:+.2f})"
    said = said.replace("-", "−")
    if change.get("step"):
        said = f"{change['step']}: {change['value']} {said}"
    return said
