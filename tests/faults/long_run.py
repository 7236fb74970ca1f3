"""The long run of fault injection: prints its figures as it goes; docs/reliability.md has them.

    python -m tests.faults.long_run --output=build/faults --seed=1

25 to 50 minutes on two cores that do other things too: the series with trainings run beside the
others. Exit status 1 where a fault was not survived.
"""

import argparse
import concurrent.futures
import json
import pathlib
import shutil
import sys
import time

from replicate.demo import drawing
from replicate.run import RunDir
from tests.faults import series
from tests.faults.tools import Figures, Tools
from tests.report import making

SMALL = {
    "model.ssd.image_resizer.fixed_shape_resizer.height": 96,
    "model.ssd.image_resizer.fixed_shape_resizer.width": 96,
    "model.ssd.feature_extractor.depth_multiplier": 0.35,
    "train_config.batch_size": 2,
}
MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
# How many faults of each kind: stops; damaged files, each of which five readers are put to (None:
# every file in every way); sizes of files; times. 148 stops are in them.
SIZES = {
    "conversions stopped": 60,
    "conversion workers stopped": 14,
    "reports stopped": 40,
    "replications stopped": 10,
    "input workers stopped": 12,
    "evaluations stopped": 12,
    "files of a made run damaged": None,
    "files of a trained run damaged": 16,
    "files of a half-trained run damaged": 16,
    "half-trained runs damaged and continued": 8,
    "no room": (0, 1, 100, 1000, 4096, 20_000, 100_000),
    "two at once": 5,
}
_OF_TRAINED = (
    *("replications stopped", "input workers stopped", "evaluations stopped"),
    "files of a trained run damaged",
    *("files of a half-trained run damaged", "half-trained runs damaged and continued"),
)


def replication(data):
    """A small replication as a function of its run directory: (tool, *arguments)."""

    def command(root):
        return (
            *("replicate", f"--model={MODEL}", "--num_steps=6", "--checkpoint_every_n=2"),
            *(f"--train_annotations={data['train'][0]}", f"--train_images={data['train'][1]}"),
            *(f"--val_annotations={data['val'][0]}", f"--val_images={data['val'][1]}"),
            *(f"--set={path}={value}" for path, value in SMALL.items()),
            *(f"--run_dir={root}", "--rehearsal", "--notrial", "--checkpoint_max_to_keep=50"),
        )

    return command


def run(folder, seed, sizes, tell=print, only=""):
    """All series, or those of `only`; returns {what: Figures}."""
    found, asked = {}, only.split(",")

    def series_of(what, call):
        if only and what not in asked:
            return
        at = folder / what.replace(" ", "-")
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        begun = time.monotonic()
        found[what] = figures = call(at)
        tell(f"{what}: {line(figures)} ({time.monotonic() - begun:.0f} s)")
        if len(figures.kinds) > 1:
            tell("    " + ", ".join(f"{n} {kind}" for kind, n in sorted(figures.kinds.items())))
        for note in figures.notes:
            tell(f"    {note[:1500]}")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        lanes = [
            pool.submit(lane, folder, seed, sizes, series_of)
            for lane in (_small, _trained)
            if not only or any((each in _OF_TRAINED) == (lane is _trained) for each in asked)
        ]
    for lane in lanes:
        lane.result()
    found["all"] = sum(found.values(), Figures())
    tell(f"all: {line(found['all'])}")
    return found


def _small(folder, seed, sizes, series_of):
    """What needs no training."""
    made_at = folder / "made"
    shutil.rmtree(made_at, ignore_errors=True)
    drawn = making.groundtruth(made_at, images=8)
    made = making.run_directory(made_at / "runs" / "run", *drawn, steps=(100, 200))
    with Tools(folder / "terminals") as tools:
        writers = series.writers(drawn, made)
        for what, call in (
            ("conversions stopped", lambda at, n: series.conversions_stopped(tools, at, n, seed)),
            (
                "conversion workers stopped",
                lambda at, n: series.conversions_stopped(tools, at, n, seed, workers_alone=True),
            ),
            ("reports stopped", lambda at, n: series.reports_stopped(tools, made, at, n, seed)),
            ("no room", lambda at, n: series.no_room(tools, at, writers, n)),
            ("full and read-only disks", lambda at, n: series.full_disks(tools, at, writers)),
            ("two at once", lambda at, n: series.two_at_once(tools, at, writers, n)),
            (
                "files of a made run damaged",
                lambda at, n: series.damages(tools, made, at, series.readers(), n, seed),
            ),
        ):
            series_of(what, lambda at, what=what, call=call: call(at, sizes.get(what)))


def _trained(folder, seed, sizes, series_of):
    """Whole replications, and what they leave."""
    at = folder / "trained"
    shutil.rmtree(at, ignore_errors=True)
    command = replication(drawing.draw(at / "drawn", train_images=12, val_images=4))
    whole, half = at / "whole", at / "half"
    with Tools(at / "terminals") as tools:
        seconds = series.undisturbed(tools, command(whole))
        series.half_done(tools, command(half), half, "ckpt-4")
        for what, call in (
            (
                "replications stopped",
                lambda at, n: series.replications_stopped(
                    tools, whole, seconds, at, command, n, seed
                ),
            ),
            (
                "input workers stopped",
                lambda at, n: series.replications_stopped(
                    tools, whole, seconds, at, command, n, seed, input_workers=True
                ),
            ),
            (
                "evaluations stopped",
                lambda at, n: series.evaluations_stopped(tools, whole, at, n, seed),
            ),
            (
                "files of a trained run damaged",
                lambda at, n: series.damages(
                    tools, RunDir.at(whole), at, series.readers(), n, seed
                ),
            ),
            (
                "files of a half-trained run damaged",
                lambda at, n: series.damages(tools, RunDir.at(half), at, series.readers(), n, seed),
            ),
            (
                "half-trained runs damaged and continued",
                lambda at, n: series.damages_continued(tools, whole, half, at, command, n, seed),
            ),
        ):
            series_of(what, lambda at, what=what, call=call: call(at, sizes[what]))


def line(figures):
    return (
        f"{figures.injected} faults, {figures.survived} survived, {figures.tracebacks} tracebacks, "
        f"{figures.changed} changed results, {figures.partial} partial files, "
        f"{figures.lost} bytes lost"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("build/faults"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="series, separated by commas")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    output = asked.output.absolute()

    def tell(text):
        print(text, flush=True)

    found = run(output, asked.seed, SIZES, tell, asked.only)
    with open(output / "figures.json", "w", encoding="utf-8") as file:
        json.dump({what: vars(figures) for what, figures in found.items()}, file, indent=1)
    sys.exit(not found["all"].clean())


if __name__ == "__main__":
    main()
