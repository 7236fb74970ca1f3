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
    measurements = []
    for path in sorted((run.root / "explain").glob("*.json")):
        try:
            changes = read_json(path).get("changes")
        except (UserError, AttributeError):
            continue
        measurements += [
            change for change in changes or () if isinstance(change, dict) and _sizes(change)
        ]
    return sorted(measurements, key=lambda change: -abs(change["delta_ap"]))


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
    paths = [path for path in differing if reasons.of_path(path) is reason]
    paths = paths or [_WITHOUT_PATH.get(reason, "")]
    fitting = (
        change
        for change in changes
        if change["reason"] == reason.number
        and any(re.search(change.get("paths") or "", path) for path in paths)
    )
    return max(fitting, key=lambda change: abs(change["delta_ap"]), default=None)


def sentence(change: dict) -> str:
    """ "decoder: pillow −0.30 points (−0.98 to +0.39)" of a change."""
    said = f"{change['delta_ap']:+.2f} points"
    if change.get("interval"):
        low, high = change["interval"]
        said += f" ({low:+.2f} to {high:+.2f})"
    said = said.replace("-", "−")
    if change.get("step"):
        said = f"{change['step']}: {change['value']} {said}"
    return said
