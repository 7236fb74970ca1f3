#!/usr/bin/env python
"""Downloads COCO 2017, released zoo models, and the weights that their training starts from.

    python tools/download.py coco --split=val2017 --split=annotations --dest=data/coco
    python tools/download.py zoo ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 --dest=data/zoo
    python tools/download.py starting ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8

The first makes data/coco/val2017/*.jpg and data/coco/annotations/*.json; size and MD5 are checked.
The second makes data/zoo/MODEL.tar.gz, MODEL.tar.gz.sha256 (the zoo publishes no checksums; the
first download's is recorded and holds from then on) and data/zoo/MODEL with the model's
pipeline.config, checkpoint/ and saved_model/.
The third makes data/starting/BACKBONE.tar.gz, its .sha256 and data/starting/BACKBONE from the
TF2 classification zoo, and prints what to give as --fine_tune_checkpoint. Of the seven CenterNets
with a public config no such weights are in that zoo: it says what is known.

MODEL is a zoo model's name, its archive, a config of it or a run.

A download that was cut off continues where it stopped when the same command runs again; free
space is checked, and nothing in an archive can leave the folder. What is complete already is left
as it is.

Sizes: val2017 0.8 GB, train2017 19.3 GB, annotations 0.25 GB (0.8 GB unpacked); twice that is
needed while unpacking.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import dataclasses
import pathlib
from typing import Any

from absl import flags

from replicate import archive, config, zoo
from replicate.errors import UserError
from tfrecords import coco_download
from tfrecords.errors import InputError
from tools import cli

_SPLIT = flags.DEFINE_multi_enum(
    "split", None, sorted(coco_download.SPLITS), "what to download; may be given several times"
)
_DEST = flags.DEFINE_string(
    "dest", None, "folder that gets it (default: data/coco, data/zoo, data/starting)"
)
_BASE_URL = flags.DEFINE_string("base_url", coco_download.BASE_URL, "COCO's server, or a mirror")
_SERVER = "http://download.tensorflow.org"
_MIRROR = flags.DEFINE_string("mirror", None, f"zoo, starting: a server in place of {_SERVER}")
_KEEP_ARCHIVES = flags.DEFINE_bool("keep_archives", False, "keep COCO's archives after unpacking")


def main(arguments: list[str]) -> None:
    match arguments:
        case ["coco"]:
            _coco(_DEST.value or "data/coco")
        case ["zoo", *models] if models:
            _zoo(models, _DEST.value or "data/zoo", _MIRROR.value)
        case ["starting", *models] if models:
            _starting(models, _DEST.value or "data/starting", _MIRROR.value)
        case _:
            got = " ".join(arguments) or "nothing"
            raise InputError(f"say what to download: coco, zoo MODEL, or starting MODEL; got {got}")


def _coco(folder: str) -> None:
    if not _SPLIT.value:
        raise InputError(f"say which --split: {', '.join(sorted(coco_download.SPLITS))}")
    for name in _SPLIT.value:
        made = coco_download.get(
            coco_download.SPLITS[name],
            folder,
            base_url=_BASE_URL.value,
            keep_archive=_KEEP_ARCHIVES.value,
        )
        print(made)


def _zoo(models: list[str], folder: str, mirror: str | None = None) -> None:
    for row in [zoo.find(_name(model)) for model in models]:
        if not row.url:
            raise UserError(f"{row.archive}: no archive was released, its config alone is public")
        print(archive.unpack(archive.fetch(_from_mirror(row, mirror), folder)))


def _starting(models: list[str], folder: str, mirror: str | None = None) -> None:
    for point in [_published(model) for model in models]:
        unpacked = archive.unpack(
            archive.fetch(_from_mirror(point, mirror), folder), marker="*.index"
        )
        prefix = archive.starting_checkpoint(unpacked, point.checkpoint)
        print(f"--fine_tune_checkpoint={prefix}")


def _name(model: str) -> str:
    """The name of a zoo model: itself, or of what a config, an archive or a run is of."""
    if zoo.get(model) is None and pathlib.Path(model).exists():
        return config.recipe_of(model).model or model
    return model


def _published(model: str) -> zoo.StartingPoint:
    """The starting weights of a model, which must have been published."""
    model = _name(model)
    point = zoo.starting_point(model)
    if point is None and (row := zoo.get(model)) is not None:
        raise UserError(
            f"{row.archive} has no published training config, so what it started from is not "
            "known; the one in its archive (tools/download.py zoo) may name it"
        )
    if point is None:
        raise zoo.unknown(model, others=config.template_names())
    if not point.archive:
        raise UserError(f"{model}: no starting weights are published in the zoo: {point.note}")
    return point


def _from_mirror(row: Any, mirror: str | None) -> Any:
    """A row or starting point, fetched from the mirror where one is given."""
    if mirror is None:
        return row
    return dataclasses.replace(row, url=row.url.replace(_SERVER, mirror.rstrip("/"), 1))


if __name__ == "__main__":
    cli.run(main)
