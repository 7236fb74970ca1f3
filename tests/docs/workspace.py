"""A folder in which the documents' commands run: their paths, filled with tiny data."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import numpy as np
from PIL import Image

import tfrecords
from replicate import benchmark, config, score
from replicate.demo import drawing
from replicate.run import write_json
from tests.conftest import PROJECT
from tests.report import making

MODEL = making.MODEL
# A detector that two steps of training take seconds for.
_SSD = "model.ssd"
SMALL = {
    f"{_SSD}.image_resizer.fixed_shape_resizer.height": 96,
    f"{_SSD}.image_resizer.fixed_shape_resizer.width": 96,
    f"{_SSD}.feature_extractor.depth_multiplier": 0.35,
    "train_config.batch_size": 2,
}
_OF_THE_CHECKOUT = ("tools", "tests", "configs", "requirements-trackers.txt")


@dataclasses.dataclass(frozen=True)
class Done:
    """A command that ended: its text, its exit status, what it printed."""

    command: str
    status: int
    output: str


class Workspace:
    """The folder and its environment.

    Args:
      root: pathlib.Path, empty.
    """

    def __init__(self, root):
        self.root = root
        _like_the_checkout(root)
        self._data()
        self._scores()
        self._runs()

    def run(self, command, timeout=900):
        """Runs a line of shell, or Python where it has several lines: Done."""
        return shell(self.root, command, timeout)

    def _data(self):
        """COCO's files under their names: annotations/instances_train2017.json, train2017/ …"""
        drawn = drawing.draw(self.root / "drawn", train_images=8, val_images=4)
        (self.root / "annotations").mkdir()
        for split, (annotations, images) in drawn.items():
            named = self.root / "annotations" / f"instances_{split}2017.json"
            named.symlink_to(annotations)
            (self.root / f"{split}2017").symlink_to(images)
        (self.root / "instances_val2017.json").symlink_to(drawn["val"][0])
        export = json.loads(pathlib.Path(drawn["val"][0]).read_text(encoding="utf-8"))
        for annotation in export["annotations"]:  # as an annotation tool may write it
            annotation["category_id"] = str(annotation["category_id"])
            del annotation["area"]
        write_json(self.root / "export.json", export)
        for name in ("cat.jpg", "dog.jpg"):
            Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(self.root / name)
        for split, (annotations, images) in drawn.items():
            target = str(self.root / "data" / split)
            tfrecords.convert(annotations, images, target, 1, progress=False)
        tfrecords.write_label_map(drawn["train"][0], str(self.root / "data" / "label_map.pbtxt"))

    def _scores(self):
        """Detections and their scores, as tools/score.py writes them; a record of a benchmark."""
        annotations = str(self.root / "instances_val2017.json")
        write_json(self.root / "detections.json", making.detections(annotations, 0.8))
        write_json(self.root / "detections.json.gz", making.detections(annotations, 0.8))
        write_json(self.root / "tflite_dt.json.gz", making.detections(annotations, 0.5))
        result = score.score(annotations, str(self.root / "detections.json.gz"))
        write_json(self.root / "boxes.json", result.to_json())
        dataset = annotations, str(self.root / "val2017")
        record = benchmark(str(self.root / "tflite_dt.json.gz"), dataset, cache_dir=None)
        record.write(str(self.root / "tflite.json"))

    def _runs(self):
        """Run directories with evaluations; first and its archive have the small model's config."""
        annotations, images = (str(self.root / n) for n in ("instances_val2017.json", "val2017"))
        for number, name in enumerate(("first", "second", "seed0", "seed1", "seed2")):
            making.run_directory(
                self.root / "runs" / name, annotations, images, seed=number, skill=0.8
            )
        message = config.render(MODEL, overrides=[(path, str(v)) for path, v in SMALL.items()])
        lone = self.root / "released.config"
        lone.write_text(config.to_text(message))
        with tarfile.open(self.root / f"{MODEL}.tar.gz", "w:gz") as packed:
            packed.add(lone, arcname=f"{MODEL}/pipeline.config")


def _like_the_checkout(root):
    """Links and a `python`, so that a document's commands run in `root` as they stand."""
    for name in _OF_THE_CHECKOUT:
        (root / name).symlink_to(PROJECT / name)
    for place in (root / "bin" / "python", root / ".venv" / "bin" / "python"):
        place.parent.mkdir(parents=True)
        # A link would not find its virtual environment.
        place.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        place.chmod(0o755)


def shell(root, command, timeout=900):
    """Runs a line of shell in `root`, or Python where it has several lines: Done."""
    if not (root / "bin").is_dir():
        _like_the_checkout(root)
    program = ["bash", "-o", "pipefail", "-c", command]
    if "\n" in command:
        program = [sys.executable, "-c", command]
    surroundings = {
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "COLUMNS": "100",
        "XDG_CACHE_HOME": str(root / "cache"),
    }
    done = subprocess.run(
        program,
        cwd=root,
        env=os.environ | surroundings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return Done(command, done.returncode, done.stdout)


def small():
    """The flags that make a config the small detector's."""
    return " ".join(f"--set {path}={value}" for path, value in SMALL.items())
