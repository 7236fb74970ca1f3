"""Answers as continuous integration reads them: JUnit, GitHub's annotations, SARIF, JSON.

check = ci.Check("model.ssd.num_classes", ci.ERROR, "3, and 5 labels", "a.config", 3, 5)
ci.text("sarif", "lint_config", [check])
"""

import dataclasses
import json
import os
import pathlib
import re
import urllib.parse
from collections.abc import Callable, Iterable
from xml.etree import ElementTree

from replicate import __version__

ERROR, WARNING, NOTICE = "error", "warning", "notice"
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
# XML 1.0, 2.2 Characters, but for tab and line ends.
_IN_XML = re.compile("[\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SARIF_LEVELS = {ERROR: "error", WARNING: "warning", NOTICE: "note"}


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
      rule: what it is about: a field, a metric, "verdict".
      level: ERROR fails a job; WARNING and NOTICE do not.
      message: what is so, and what to do.
      file: where, or None.
      line, column: from 1, or None.
    """

    rule: str
    level: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None


def text(format: str, tool: str, checks: Iterable[Check]) -> str:
    """The checks of a tool in a format, one of FORMATS.

    Args:
      format: one of FORMATS.
      tool: its name, such as "lint_config".
      checks: Check, in the order they are to be told in.
    """
    return _WRITERS[format](tool, list(checks))


def github(tool: str, checks: list[Check]) -> str:
    """Workflow commands that GitHub Actions shows at the line of a file.

    Source: docs.github.com, "Workflow commands for GitHub Actions".
    """
    lines = []
    for check in checks:
        places = {"file": check.file, "line": check.line, "col": check.column}
        known = {k: v for k, v in places.items() if v is not None}
        known |= {"title": f"{tool}: {check.rule}"}
        properties = ",".join(
            f"{name}={_escaped(str(value), True)}" for name, value in known.items()
        )
        lines.append(f"::{check.level} {properties}::{_escaped(check.message)}")
    return "\n".join(lines)


def junit(tool: str, checks: list[Check]) -> str:
    """JUnit's XML: a test case a check, a failure where it is an error."""
    failures = sum(check.level == ERROR for check in checks)
    counts = {"tests": str(max(1, len(checks))), "failures": str(failures), "errors": "0"}
    root = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(root, "testsuite", {"name": tool, **counts})
    for check in checks or [Check("all", NOTICE, "nothing to say")]:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": tool, "name": _plain(check.rule)}
        )
        if check.file is not None:
            case.set("file", check.file)
        if check.line is not None:
            case.set("line", str(check.line))
        where = f"{_where(check)}: " if check.file is not None else ""
        said = _plain(f"{where}{check.message}")
        if check.level == ERROR:
            ElementTree.SubElement(
                case, "failure", {"message": said, "type": check.rule}
            ).text = said
        else:
            ElementTree.SubElement(case, "system-out").text = f"{check.level}: {said}"
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def sarif(tool: str, checks: list[Check]) -> str:
    """SARIF 2.1.0, which code scanning takes."""
    rules = list(dict.fromkeys(check.rule for check in checks))
    driver = {
        "name": f"replicate-tf2-zoo {tool}",
        "version": __version__,
        "rules": [{"id": rule} for rule in rules],
    }
    results = []
    for check in checks:
        result: dict = {
            "ruleId": check.rule,
            "ruleIndex": rules.index(check.rule),
            "level": _SARIF_LEVELS[check.level],
            "message": {"text": check.message},
        }
        if check.file is not None:
            place: dict = {"artifactLocation": {"uri": _uri(check.file)}}
            if check.line is not None:
                region = {"startLine": check.line, "startColumn": check.column}
                place["region"] = {k: v for k, v in region.items() if v is not None}
            result["locations"] = [{"physicalLocation": place}]
        results.append(result)
    log = {"$schema": _SARIF, "version": "2.1.0"}
    return json.dumps(log | {"runs": [{"tool": {"driver": driver}, "results": results}]}, indent=1)


def as_json(tool: str, checks: list[Check]) -> str:
    """The checks as a JSON list."""
    return json.dumps([dataclasses.asdict(check) for check in checks], indent=1)


_WRITERS: dict[str, Callable[[str, list[Check]], str]] = {
    "junit": junit,
    "github": github,
    "sarif": sarif,
    "json": as_json,
}
FORMATS = tuple(_WRITERS)


def _where(check: Check) -> str:
    return ":".join(str(part) for part in (check.file, check.line, check.column) if part)


def _escaped(text: str, in_property: bool = False) -> str:
    """As GitHub's runner unescapes it."""
    for mark, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(mark, code)
    for mark, code in ((":", "%3A"), (",", "%2C")) if in_property else ():
        text = text.replace(mark, code)
    return text


def _plain(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(
        mark if mark in "\t\n\r" or _IN_XML.match(mark) else "\N{REPLACEMENT CHARACTER}"
        for mark in text
    )


def _uri(path: str) -> str:
    """Relative to where the job runs, where it lies below; code scanning wants that."""
    relative = os.path.relpath(path)
    return (
        urllib.parse.quote(relative.replace(os.sep, "/"))
        if relative[:2] != ".."
        else pathlib.Path(path).resolve().as_uri()
    )
