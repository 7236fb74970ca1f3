"""The long run of fault injection: prints its figures as it goes; docs/reliability.md has them.

    python -m tests.faults.long_run --output=build/faults --seed=1

About an hour on two cores that do other things too. Exit status 1 where a fault was not survived.
"""

import argparse
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
# How many faults of each kind; None: every file in every way.
SIZES = {
    "conversions stopped": 60,
    "reports stopped": 40,
    "replications stopped": 20,
    "files of a made run damaged": None,
    "files of a trained run damaged": 120,
    "files of a half-trained run damaged": 60,
    "no room": (0, 1, 100, 1000, 4096, 20_000, 100_000),
    "two at once": 5,
}


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
    found = {}

    def series_of(what, call):
        if only and what not in only.split(","):
            return
        at = folder / what.replace(" ", "-")
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        begun = time.monotonic()
        found[what] = figures = call(at)
        tell(f"{what}: {line(figures)} ({time.monotonic() - begun:.0f} s)")
        for note in figures.notes:
            tell(f"    {note[:1500]}")

    made_at = folder / "made"
    shutil.rmtree(made_at, ignore_errors=True)
    drawn = making.groundtruth(made_at, images=8)
    made = making.run_directory(made_at / "runs" / "run", *drawn, steps=(100, 200))
    data = drawing.draw(folder / "drawn", train_images=12, val_images=4)
    with Tools(folder / "terminals") as tools:
        series_of(
            "conversions stopped",
            lambda at: series.conversions_stopped(tools, at, sizes["conversions stopped"], seed),
        )
        series_of(
            "reports stopped",
            lambda at: series.reports_stopped(tools, made, at, sizes["reports stopped"], seed),
        )
        writers = series.writers(drawn, made)
        series_of("no room", lambda at: series.no_room(tools, at, writers, sizes["no room"]))
        series_of("full and read-only disks", lambda at: series.full_disks(tools, at, writers))
        series_of(
            "two at once",
            lambda at: series.two_at_once(tools, at, writers, sizes["two at once"]),
        )
        series_of(
            "files of a made run damaged",
            lambda at: series.damages(
                tools, made, at, series.readers(), sizes["files of a made run damaged"], seed
            ),
        )
        if not only or "trained" in only or "replications" in only:
            series_of(
                "replications stopped",
                lambda at: series.replications_stopped(
                    tools, data, at, replication(data), sizes["replications stopped"], seed
                ),
            )
            trained = folder / "replications-stopped" / "whole"
            for what in ("files of a trained run damaged", "files of a half-trained run damaged"):
                root = folder / what.split()[3] / "run"
                shutil.rmtree(root.parent, ignore_errors=True)
                shutil.copytree(trained, root)
                if "half" in what:
                    for late in ("evals/6", "report", "verdict.json", "checkpoints/ckpt-6.index"):
                        series.remove(root / late)
                series_of(
                    what,
                    lambda at, root=root, what=what: series.damages(
                        tools, RunDir.at(root), at, series.readers(), sizes[what], seed
                    ),
                )
    found["all"] = sum(found.values(), Figures())
    tell(f"all: {line(found['all'])}")
    return found


def line(figures):
    return (
        f"{figures.injected} faults, {figures.survived} survived, {figures.tracebacks} tracebacks, "
        f"{figures.changed} changed results, {figures.partial} partial files"
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
