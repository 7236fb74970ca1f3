"""Finds the mistakes in a pipeline.config, and writes some of them right.

    python tools/lint_config.py pipeline.config
    python tools/lint_config.py pipeline.config --fix
    python tools/lint_config.py runs/a
    python tools/lint_config.py configs/*.config --format=github

--format=junit, github (annotations at file, line and column of a pull request), sarif (code
scanning) are for continuous integration, see docs/how-to-ci.md.

An argument is a pipeline.config, a run directory, a released archive (MODEL.tar.gz) or a zoo
model's name; --fix takes a file alone.

Each finding has line and column: fields that do not exist (with the nearest names), wrong values,
alternatives given together, paths that are missing, and fields that contradict each other: class
count and label map, averaged weights in training and evaluation, the checkpoint's type and
version, the schedule's length and num_steps, the metrics. --fix writes the blocks right that the
API does not have but answers on the web do (piecewise_constant_learning_rate). --build lets the
API itself build model, optimizer and augmentation as well, which takes seconds.

A TF-Vision params YAML (FILE.yaml, or a run with params.yaml) is held to its factory: unknown
fields, wrong types, the schedule against the steps, num_classes, a missing annotation file, a
validation batch that drops images. --experiment names the factory where the YAML's comments do not;
--fix puts in commas that are left out of a list of numbers.

Exit status: 0 no errors (warnings may be listed), 1 errors, 2 the file cannot be read.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import dataclasses
import functools
import json
import os
import re
from collections.abc import Callable

from absl import flags

from replicate import run
from replicate.config import lint, sources
from replicate.errors import UserError
from replicate.tfvision import configs
from tools import cli

_PLACED = re.compile(r"(?P<file>[^\n]+?):(?P<line>\d+):(?P<column>\d+): ")

_FIX = flags.DEFINE_bool("fix", False, "write what can be written right into the file")
_EXPERIMENT = flags.DEFINE_string("experiment", None, "a params YAML's factory")
_BUILD = flags.DEFINE_bool("build", False, "let the API build what the config asks for, too")
_FORMAT = flags.DEFINE_enum(
    "format", "text", ["text", "json", "junit", "github", "sarif"], "how the answer is written"
)


def main(arguments: list[str]) -> int:
    if not arguments:
        raise UserError("give one config: python tools/lint_config.py pipeline.config")
    findings: list[tuple[str, lint.Finding]] = []
    unreadable: list[UserError] = []
    for path in arguments:
        try:
            findings += _findings(path)
        except UserError as error:
            if len(arguments) == 1 and _FORMAT.value == "text":
                raise
            unreadable.append(error)
            findings.append(_unread(path, str(error)))
    if _FORMAT.value == "json":
        listed = [{"file": file} | dataclasses.asdict(finding) for file, finding in findings]
        print(json.dumps(listed, indent=1))
    elif _FORMAT.value != "text":
        from replicate import ci

        checks = [
            ci.Check(
                problem.path or "syntax",
                problem.level,
                problem.message,
                origin,
                problem.line,
                problem.column,
            )
            for origin, problem in findings
        ]
        print(ci.text(_FORMAT.value, "lint_config", checks))
    else:
        for origin, finding in findings:
            where = f"{origin}:{finding.line}:{finding.column}"
            print(f"{where}: {finding.level}: {finding.path}: {finding.message}")
    if unreadable:
        raise UserError(f"{len(unreadable)} of {len(arguments)} configs cannot be read, see above")
    errors = any(finding.level == lint.ERROR for _, finding in findings)
    return cli.NEGATIVE if errors else cli.DONE


def _findings(path: str) -> list[tuple[str, lint.Finding]]:
    """The findings of a config, each with where it is from; of what is left after --fix."""
    text, origin, linted = _read(path)
    findings = linted(text)
    if _FIX.value and origin != path:
        raise UserError(f"--fix writes into a file; {path} is none. Give the pipeline.config")
    if _FIX.value and any(finding.fix for finding in findings):
        fixed = sum(finding.fix is not None for finding in findings)
        text = lint.fixed(text, findings)
        run.write_text(path, text)
        print(f"{path}: {fixed} fixed", file=sys.stderr)
        findings = linted(text)
    of_api = not (_EXPERIMENT.value or origin.endswith((".yaml", ".yml")))
    if _BUILD.value and of_api and not any(problem.level == lint.ERROR for problem in findings):
        findings += _of_building(text, origin)
    return [(origin, finding) for finding in findings]


def _unread(path: str, error: str) -> tuple[str, lint.Finding]:
    """Of a config that cannot be read: its file and place, which an error has before its words."""
    placed = _PLACED.match(error)
    if placed is not None:
        line, column = int(placed["line"]), int(placed["column"])
        return placed["file"], lint.Finding(lint.ERROR, line, column, "", error[placed.end() :])
    return path, lint.Finding(lint.ERROR, 1, 1, "", error.removeprefix(f"{path}: "))


def _read(path: str) -> tuple[str, str, Callable[[str], list[lint.Finding]]]:
    """(text, where it is from, the function that finds its mistakes)."""
    if not configs.is_one(path):
        text, origin = sources.text_of(path)
        return text, origin, functools.partial(lint.lint, origin=origin)
    from replicate.tfvision import lint as vision_lint
    from replicate.tfvision import render

    if not os.path.exists(path):  # a published row's name
        text, origin = render.text_of(configs.read(path), path), path
    else:
        origin = os.path.join(path, configs.FILE) if os.path.isdir(path) else path
        text = configs.text_of(origin)
    return (
        text,
        origin,
        functools.partial(vision_lint.lint, origin=origin, experiment=_EXPERIMENT.value or ""),
    )


def _of_building(text: str, origin: str) -> list[lint.Finding]:
    """What the API says where it does not build the config."""
    from replicate import config
    from replicate.odapi import building

    refusal = building.refusal(config.parse(text, origin))
    if refusal is None:
        return []
    return [lint.Finding(lint.ERROR, 1, 1, "model", f"the API does not build this: {refusal}")]


if __name__ == "__main__":
    cli.run(main)
