#!/usr/bin/env python
"""Downloads COCO 2017 (images of a split, annotations) and released zoo models.

    python tools/download.py coco --split=val2017 --split=annotations --dest=data/coco
    python tools/download.py zoo ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 --dest=data/zoo

The first makes data/coco/val2017/*.jpg and data/coco/annotations/*.json; size and MD5 are checked.
The second makes data/zoo/MODEL.tar.gz, MODEL.tar.gz.sha256 (the zoo publishes no checksums; the
first download's is recorded and holds from then on) and data/zoo/MODEL with the model's
pipeline.config, checkpoint/ and saved_model/.

A download that was cut off continues where it stopped when the same command runs again; free
space is checked, and nothing in an archive can leave the folder. What is complete already is left
as it is.

Sizes: val2017 0.8 GB, train2017 19.3 GB, annotations 0.25 GB (0.8 GB unpacked); twice that is
needed while unpacking.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from absl import flags

from replicate import archive, zoo
from tfrecords import coco_download
from tfrecords.errors import InputError
from tools import cli

_SPLIT = flags.DEFINE_multi_enum(
    "split", None, sorted(coco_download.SPLITS), "what to download; may be given several times"
)
_DEST = flags.DEFINE_string("dest", None, "folder that gets it (default: data/coco, data/zoo)")
_BASE_URL = flags.DEFINE_string("base_url", coco_download.BASE_URL, "COCO's server, or a mirror")
_KEEP_ARCHIVES = flags.DEFINE_bool("keep_archives", False, "keep COCO's archives after unpacking")


def main(arguments):
    match arguments:
        case ["coco"]:
            _coco(_DEST.value or "data/coco")
        case ["zoo", *models] if models:
            _zoo(models, _DEST.value or "data/zoo")
        case _:
            got = " ".join(arguments) or "nothing"
            raise InputError(f"say what to download: coco, or zoo MODEL; got {got}")


def _coco(folder):
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


def _zoo(models, folder):
    for row in [zoo.find(model) for model in models]:
        print(archive.unpack(archive.fetch(row, folder)))


if __name__ == "__main__":
    cli.run(main)
