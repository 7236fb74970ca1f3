"""Mistakes in a TF-Vision params YAML: what the package refuses, and what it lets through."""

import json
import re
from collections.abc import Iterable, Iterator

from replicate.config.fixes import Replacement
from replicate.config.lint import ERROR, WARNING, Finding
from replicate.config.lint import fixed as fixed
from replicate.tfvision import configs, lint_rules
from replicate.tfvision.experiments import Problem
from replicate.tfvision.yaml_text import Document

_NUMBERS = re.compile(r"[-+]?\d+(\.\d+)?(\s+[-+]?\d+(\.\d+)?)+")


def lint(text: str, origin: str, experiment: str = "") -> list[Finding]:
    """All findings of a params YAML, in the order of the lines.

    Args:
      text: the YAML.
      origin: what it came from, for messages.
      experiment: the factory, where the text does not name it.

    Raises:
      UserError: the text is no YAML, or names no factory.
    """
    return of_config(configs.of_text(text, origin, experiment))


def of_config(config: configs.VisionConfig) -> list[Finding]:
    """All findings of a config; one without a text has them at line 1, column 1."""
    document = config.document
    findings = [_of_problem(problem, document) for problem in config.problems]
    if document is not None:
        findings += [
            Finding(
                ERROR,
                *(place.line, place.column, path),
                "is given twice in one block; YAML keeps the last",
            )
            for path, place in document.twice
        ]
    wrong = {problem.path for problem in config.problems}
    written = document.places if document is not None else None
    for problem in lint_rules.check(config.params, written):
        if not any(path == problem.path or path.startswith(f"{problem.path}[") for path in wrong):
            line, column = document.line_column(problem.path) if document else (1, 1)
            findings.append(Finding(problem.level, line, column, problem.path, problem.message))
    return sorted(findings, key=lambda finding: (finding.line, finding.column))


def errors(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings that are errors."""
    return (finding for finding in findings if finding.level == ERROR)


def _of_problem(problem: Problem, document: Document | None) -> Finding:
    line, column = document.line_column(problem.path) if document else (1, 1)
    fix = None
    if document is not None and problem.path in document.places:
        fix = _fix(document, problem)
    message = problem.message
    if fix is not None:
        message += f"; --fix writes {fix.text}"
    return Finding(ERROR, line, column, problem.path, message, fix)


def _fix(document: Document, problem: Problem) -> Replacement | None:
    """What a text in a number's place was meant to be: numbers with a comma left out, or 1e-5."""
    place = document.places[problem.path]
    literal = document.text[place.start : place.end]
    if not problem.message.startswith("takes "):
        return None
    if problem.path.endswith("]") and _NUMBERS.fullmatch(literal):
        return Replacement(place.start, place.end, ", ".join(literal.split()))
    try:
        number = float(literal)
    except ValueError:
        return None
    if "a number" not in problem.message or number == int(number):
        return None
    text = json.dumps(number)
    mantissa, _, exponent = text.partition("e")
    if exponent:
        text = f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"
    return Replacement(place.start, place.end, text)


__all__ = ["ERROR", "WARNING", "Finding", "errors", "fixed", "lint", "of_config"]
