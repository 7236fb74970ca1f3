"""A finding, and the page of them."""

import dataclasses
import shutil
import textwrap

# From grave to well; findings are sorted in this order.
FAIL, WARN, OK = "fail", "warn", "ok"
GRAVITIES = (FAIL, WARN, OK)
_WORDS = {FAIL: "FAIL", WARN: "warn", OK: "ok"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found in one place.

    Attributes:
      about: the place, e.g. "Keras".
      gravity: FAIL (something of the kit will fail), WARN (it may, or runs worse than it could) or
        OK.
      seen: what was found there.
      do: what to do about it; "" where nothing is to be done.
    """

    about: str
    gravity: str
    seen: str
    do: str = ""


def by_gravity(findings):
    """The findings, the gravest first, else in their order."""
    return sorted(findings, key=lambda finding: GRAVITIES.index(finding.gravity))


def page(findings, width=None):
    """The findings as text for a terminal."""
    width = min(width or shutil.get_terminal_size((100, 24)).columns, 100)
    findings = by_gravity(findings)
    lines = [head(findings), ""]
    indent = max(len(finding.about) for finding in findings) + 8
    for finding in findings:
        label = f"{_WORDS[finding.gravity]:6}{finding.about}"
        lines += _wrapped(f"{label:{indent}}", finding.seen, indent, width)
        if finding.do:
            lines += _wrapped(" " * indent, f"→ {finding.do}", indent + 2, width)
    return "\n".join(lines)


def head(findings):
    """One sentence: how many of which gravity."""
    fails, warns = (sum(f.gravity == gravity for f in findings) for gravity in (FAIL, WARN))
    if not fails and not warns:
        return f"All {len(findings)} findings are well."
    parts = [f"{fails} will fail"] * bool(fails) + [f"{warns} to mind"] * bool(warns)
    return f"{', '.join(parts)}, {len(findings) - fails - warns} well; the gravest first."


def _wrapped(start, text, indent, width):
    return textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
