"""Compares runs on one page: metrics, settings that differ, curves, categories, images, speed.

    python tools/compare_runs.py runs/seed0 runs/seed1 runs/lower_rate --output=comparison
    xdg-open comparison/index.html

A run is a run directory, or a record of tools/benchmark.py, which joins with its metrics and its
latency; with the detections that it scored after a colon, also with its categories and images:

    python tools/benchmark.py … --output=tflite.json --detections_output=tflite_dt.json.gz
    python tools/compare_runs.py runs/seed0 tflite.json:tflite_dt.json.gz --zoo

Beside runs, a ladder of exported forms (tools/benchmark.py --all_forms --output=ladder.json, or the
folder of tools/export.py --evaluate) is drawn in a part of its own.

index.html is one file that needs no network; comparison.json has every figure of it. Differences
by category are against the first run, or --baseline, with paired intervals over the images
(--samples=0 leaves them out: on all of val2017 they take a while).
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from absl import flags

from replicate.errors import UserError
from tools import cli

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "comparison", "folder for index.html and comparison.json")
flags.DEFINE_bool("zoo", False, "also list the published rows of the zoo")
flags.DEFINE_string("baseline", None, "the run that the others are held against")
flags.DEFINE_integer("samples", 200, cli.SAMPLES, lower_bound=0, upper_bound=100_000)
flags.DEFINE_alias("bootstrap", "samples")


def main(paths: list[str]) -> None:
    if not paths:
        raise UserError("name the run directories to compare, or records of tools/benchmark.py")
    from replicate import report

    print(
        report.write_comparison(
            paths,
            FLAGS.output,
            with_zoo=FLAGS.zoo,
            baseline=FLAGS.baseline,
            samples=FLAGS.samples,
        )
    )


if __name__ == "__main__":
    cli.run(main, always_folders=["output"])
