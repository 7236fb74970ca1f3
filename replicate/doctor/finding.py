"""A finding, and the page of them."""

import dataclasses
import shutil
import textwrap
from collections.abc import Iterable

# From grave to well; findings are sorted in this order.
FAIL, WARN, OK = "fail", "warn", "ok"
GRAVITIES = (FAIL, WARN, OK)
_WORDS = {FAIL: "FAIL", WARN: "warn", OK: "ok"}


@dataclasses.dataclass(frozen=True)
class DoctorFinding:
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


def by_gravity(findings: Iterable[DoctorFinding]) -> list[DoctorFinding]:
    """The findings, the gravest first, else in their order."""
    return sorted(findings, key=lambda finding: GRAVITIES.index(finding.gravity))


def page(findings: list[DoctorFinding], width: int | None = None) -> str:
    """The findings as text for a terminal."""
    width = page_width(width)
    findings = by_gravity(findings)
    lines = [head(findings), ""]
    indent = max(len(finding.about) for finding in findings) + 8
    for finding in findings:
        label = f"{_WORDS[finding.gravity]:6}{finding.about}"
        lines += entry(label, finding.seen, finding.do, indent, width)
    return "\n".join(lines)


def head(findings: list[DoctorFinding]) -> str:
    """One sentence: how many of which gravity."""
    fails, warns = (sum(f.gravity == gravity for f in findings) for gravity in (FAIL, WARN))
    if not fails and not warns:
        return f"All {len(findings)} findings are well."
    parts = [f"{fails} will fail"] * bool(fails) + [f"{warns} to mind"] * bool(warns)
    return f"{', '.join(parts)}, {len(findings) - fails - warns} well; the gravest first."


def page_width(width: int | None = None) -> int:
    """The width of a page of findings: the terminal's, 100 at most."""
    return min(width or shutil.get_terminal_size((100, 24)).columns, 100)


def entry(label: str, seen: str, do: str, indent: int, width: int) -> list[str]:
    """The lines of one finding: what was seen beside its label, and what to do below it.

    Args:
      label: str; "" for a further finding under the same label.
      seen, do: sentences; `do` may be "".
      indent: columns that the label takes.
      width: of the page.
    """
    lines = _wrapped(f"{label:{indent}}", seen, indent, width)
    return lines + (_wrapped(" " * indent, f"→ {do}", indent + 2, width) if do else [])


def _wrapped(start: str, text: str, indent: int, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
