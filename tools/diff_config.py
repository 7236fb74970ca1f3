"""Tells how two training configs differ, and whether it matters.

    python tools/diff_config.py ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 pipeline.config
    python tools/diff_config.py A B --format=html > diff.html

A and B are each a zoo model's name, a pipeline.config file, a released archive (MODEL.tar.gz), or
a folder with a pipeline.config (a run directory, an unpacked archive). Every difference is listed
with its class: architecture, training, evaluation, speed only, paths, cosmetic (the same value
written otherwise, or a default written out).

Exit status: 0 same (differences of paths and cosmetic ones count as same and are still listed),
1 differs, 2 error.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import json

from absl import flags

from replicate import config
from replicate.config import view
from replicate.errors import UserError
from tools import cli

_FORMAT = flags.DEFINE_enum("format", "text", ["text", "json", "html"], "how the answer is written")


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        raise UserError(
            "give two configs to compare: python tools/diff_config.py A B\n"
            "  each a zoo model's name, a pipeline.config, MODEL.tar.gz, or a run directory"
        )
    a, b = arguments
    (message_a, text_a), (message_b, text_b) = map(config.read_with_text, arguments)
    operations = config.diff(message_a, message_b) + config.written_otherwise(text_a, text_b)
    same = config.same(operations)
    if _FORMAT.value == "json":
        listed = config.operations_to_json(operations)
        print(json.dumps({"a": a, "b": b, "same": same, "operations": listed}, indent=1))
    elif _FORMAT.value == "html":
        print(view.html(operations, a, b, same))
    else:
        print(view.text(operations, colour=view.colour_wanted(sys.stdout)))
    return cli.DONE if same else cli.NEGATIVE


if __name__ == "__main__":
    cli.run(main)
