"""What preflight says of one documented reason."""

import dataclasses
from collections.abc import Iterable

from replicate.doctor.finding import entry, page_width

PASS, WARN, FAIL = "pass", "warn", "fail"
STATUSES = (PASS, WARN, FAIL)
_WORDS = {PASS: "pass", WARN: "warn", FAIL: "FAIL"}


@dataclasses.dataclass(frozen=True)
class Note:
    """Something seen that is as it should be."""

    seen: str


@dataclasses.dataclass(frozen=True)
class PreflightProblem:
    """Something seen that is not.

    Attributes:
      seen: what and where.
      fix: what to do.
      status: FAIL or WARN.
      differs: it would not break the run, but make it another experiment than the published one;
        a rehearsal means that, so there it is a warning.
    """

    seen: str
    fix: str
    status: str = FAIL
    differs: bool = False


#: Reasons in which a fine-tuning differs from the recipe by what it is: config, length, images.
EXPECTED = (3, 8, 17)

_OVERLAP = 2  # images in both sets flatter a fine-tuning as they do a replication

#: What a check yields.
CheckFinding = Note | PreflightProblem


def breaks(seen: str, fix: str) -> PreflightProblem:
    """The run would break, or its figures would be wrong."""
    return PreflightProblem(seen, fix)


def differs(seen: str, fix: str, meant: bool = False) -> PreflightProblem:
    """The run would not be the published experiment; a warning where that was asked for."""
    return PreflightProblem(seen, fix, WARN if meant else FAIL, differs=True)


def mind(seen: str, fix: str = "") -> PreflightProblem:
    """Worth knowing before the start."""
    return PreflightProblem(seen, fix, WARN)


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One reason's answer.

    Attributes:
      number: the reason's number, 1 to 17.
      title: the reason.
      status: PASS, WARN or FAIL.
      findings: tuple of Note and PreflightProblem; the problems alone where there are any.
    """

    number: int
    title: str
    status: str
    findings: tuple[CheckFinding, ...]

    @property
    def seen(self) -> str:
        """What was seen, in sentences."""
        return "; ".join(finding.seen for finding in self.findings)

    @property
    def fix(self) -> str:
        """What to do; "" where all is well."""
        return "; ".join(f.fix for f in self.findings if isinstance(f, PreflightProblem) and f.fix)

    def to_json(self) -> dict:
        """The result as plain data."""
        return {
            "number": self.number,
            "title": self.title,
            "status": self.status,
            "seen": self.seen,
            "fix": self.fix,
        }


def of(
    number: int,
    title: str,
    findings: Iterable[CheckFinding],
    rehearsal: bool = False,
    purpose: str = "replicate",
) -> CheckResult:
    """The CheckResult of a reason's findings.

    Args:
      findings: iterable of Note and PreflightProblem.
      rehearsal: whether differences from the published experiment are meant.
      purpose: of a "finetune" those of EXPECTED are no problem at all, the others warnings.
    """
    findings = list(findings)
    if purpose == "finetune" and number in EXPECTED:
        findings = [_expected(finding) for finding in findings]
    if rehearsal or (purpose == "finetune" and number != _OVERLAP):
        findings = [_softened(finding) for finding in findings]
    problems = [finding for finding in findings if isinstance(finding, PreflightProblem)]
    problems.sort(key=lambda problem: -STATUSES.index(problem.status))
    status = problems[0].status if problems else PASS
    return CheckResult(number, title, status, tuple(problems or findings))


def page(results: list[CheckResult], head: str, forecast: str = "") -> str:
    """The results as text for a terminal, in the order of the reasons."""
    width = page_width()
    indent = max(len(result.title) for result in results) + 12
    lines = [f"{head}: {summary(results)}", ""]
    for result in results:
        start = f"{result.number:2}  {_WORDS[result.status]}  {result.title}"
        for number, finding in enumerate(result.findings):
            label = "" if number else start
            lines += entry(label, finding.seen, getattr(finding, "fix", ""), indent, width)
    return "\n".join([*lines, "", forecast] if forecast else lines)


def summary(results: list[CheckResult]) -> str:
    """ "2 fail (1, 4), 3 warn, 11 pass" """
    parts = []
    for status in reversed(STATUSES):
        numbers = [result.number for result in results if result.status == status]
        named = f" ({', '.join(map(str, numbers))})" if status == FAIL else ""
        if numbers:
            parts.append(f"{len(numbers)} {status}{named}")
    return ", ".join(parts)


def _expected(finding: CheckFinding) -> CheckFinding:
    if isinstance(finding, PreflightProblem) and finding.differs:
        return Note(f"{finding.seen} (as expected of a fine-tuning)")
    return finding


def _softened(finding: CheckFinding) -> CheckFinding:
    if isinstance(finding, PreflightProblem) and finding.differs:
        return dataclasses.replace(finding, status=WARN)
    return finding
