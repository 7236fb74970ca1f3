"""The whole path on data that the kit draws itself: convert, render, train, evaluate, report.

    make demo

A small detector is trained from random weights on drawn shapes for a few minutes on the CPU. The
verdict is NOT COMPARABLE, and says why: nothing here is the zoo's data, model or schedule. Run
again, it reuses what is done.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import pathlib

from absl import flags

from replicate import installation
from tools import cli

RIGHT_END = """
NOT COMPARABLE is the right end here: the demo draws its own images and trains a model of half the
width, so that no published figure is of the same thing. What it shows is that every step works on
this machine. The same with COCO, where the verdict is about a figure: tools/replicate.py."""

_BESIDE = installation.HOME if installation.IS_CHECKOUT else pathlib.Path.cwd()
_ENGINE = flags.DEFINE_enum(
    "engine",
    "odapi",
    ["odapi", "tfvision"],
    "the Object Detection API's SSD, or TF-Vision's RetinaNet.",
)
_FOLDER = flags.DEFINE_string("folder", str(_BESIDE / "demo"), "where data and run go.")


def main(_: list[str]) -> None:
    from replicate import preflight, replication
    from replicate.demo import recipe

    folder = pathlib.Path(_FOLDER.value)
    # The demo means to differ from the zoo in everything, and is over in minutes.
    of_api = _ENGINE.value == "odapi"
    run = folder / ("run" if of_api else f"run-{_ENGINE.value}")
    command = "make demo" if of_api else f"python tools/demo.py --engine={_ENGINE.value}"
    terms = preflight.Terms(rehearsal=True, trial=False)
    replication.replicate(recipe.request(folder / "data", _ENGINE.value), run, command, terms)
    print(replication.summary(run))
    print(RIGHT_END)


if __name__ == "__main__":
    cli.run(main)
