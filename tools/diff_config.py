"""Tells how two training configs differ, and whether it matters.

    python tools/diff_config.py ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 pipeline.config
    python tools/diff_config.py A B --format=html > diff.html

    python tools/diff_config.py retinanet_mobilenetv2_256 params.yaml

A and B are each a zoo model's name, a pipeline.config file, a released archive (MODEL.tar.gz), or
a folder with a pipeline.config (a run directory, an unpacked archive). Every difference is listed
with its class: architecture, training, evaluation, speed only, paths, cosmetic (the same value
written otherwise, or a default written out).

Of TF-Vision, A and B are each a published row's name (tools/zoo.py list --engine=tfvision), a
params YAML or a run directory with params.yaml; both sides are completed from their factory.

Exit status: 0 same (differences of paths and cosmetic ones count as same and are still listed),
1 differs, 2 error.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import contextlib
import json
import os

from absl import flags

from replicate import config, engine
from replicate.config import operations, view
from replicate.errors import UserError
from replicate.tfvision import configs
from tfrecords import redaction
from tools import cli

_FORMAT = flags.DEFINE_enum(
    "format",
    "text",
    ["text", "json", "html", "junit", "github", "sarif"],
    "how the answer is written; the last three are for continuous integration, at B's lines",
)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        raise UserError(
            "give two configs to compare: python tools/diff_config.py A B\n"
            "  each a zoo model's name, a pipeline.config, MODEL.tar.gz, or a run directory"
        )
    a, b = arguments
    differences = _operations(a, b)
    same = config.same(differences)
    if _FORMAT.value == "json":
        listed = config.operations_to_json(differences)
        answer = {"a": a, "b": b, "same": same, "operations": listed}
        print(json.dumps(redaction.everywhere(answer), indent=1))
    elif _FORMAT.value == "html":
        print(view.html(differences, a, b, same))
    elif _FORMAT.value in ("junit", "github", "sarif"):
        from replicate import ci

        print(ci.text(_FORMAT.value, "diff_config", _checks(differences, a, b)))
    else:
        print(view.text(differences, colour=view.colour_wanted(sys.stdout)))
    return cli.DONE if same else cli.NEGATIVE


def _checks(differences: list[operations.Operation], a: str, b: str) -> list:
    """Each difference as a ci.Check, at B's line that has it; what counts as same is a notice."""
    from replicate import ci
    from replicate.config import lint, syntax

    tree = None
    if os.path.isfile(b) and not configs.is_one(b):
        with contextlib.suppress(syntax.NotTextFormat, UnicodeDecodeError), open(b) as file:
            tree = syntax.Text(file.read())
    checks = []
    for difference in differences:
        line, column = lint.position(tree, difference.path) if tree is not None else (None, None)
        values = " against ".join(
            "not set" if value is None else operations.show(value)
            for value in (difference.b, difference.a)
        )
        why = f": {difference.why}" if difference.why else ""
        level = ci.NOTICE if config.same([difference]) else ci.ERROR
        message = f"{values} in {a} ({difference.cls}){why}"
        where = b if tree is not None else None
        checks.append(ci.Check(difference.path, level, message, where, line, column))
    return checks


def _operations(a: str, b: str) -> list[operations.Operation]:
    ours = [configs.is_one(source) for source in (a, b)]
    if ours == [True, True]:
        return _of_vision(a, b)
    if any(ours):
        for source in (a, b):
            engine.read(source)  # one that cannot be read is told first
        raise UserError(
            f"{a} and {b} are configs of two engines, whose fields have no counterparts"
        )
    (message_a, text_a), (message_b, text_b) = map(config.read_with_text, (a, b))
    return config.diff(message_a, message_b) + config.written_otherwise(text_a, text_b)


def _of_vision(a: str, b: str) -> list[operations.Operation]:
    from replicate.tfvision import diff

    sides = [configs.read(a), configs.read(b)]
    for side in sides:
        for problem in side.problems:
            print(f"{side.origin}: {problem.path}: {problem.message}", file=sys.stderr)
    return diff.diff(sides[0].params, sides[1].params)


if __name__ == "__main__":
    cli.run(main)
