#!/usr/bin/env python
"""Downloads COCO 2017: images of a split, or the annotations.

    python tools/download.py coco --split=val2017 --split=annotations --dest=data/coco

makes data/coco/val2017/*.jpg and data/coco/annotations/*.json. A download that was cut off
continues where it stopped when the same command runs again; size, MD5 and free space are checked,
and nothing in an archive can leave the folder. What is complete already is left as it is.

Sizes: val2017 0.8 GB, train2017 19.3 GB, annotations 0.25 GB (0.8 GB unpacked); twice that is
needed while unpacking.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from absl import flags

from tfrecords import coco_download
from tfrecords.errors import InputError
from tools import cli

_SPLIT = flags.DEFINE_multi_enum(
    "split", None, sorted(coco_download.SPLITS), "what to download; may be given several times"
)
_DEST = flags.DEFINE_string("dest", "data/coco", "folder that gets it")
_BASE_URL = flags.DEFINE_string("base_url", coco_download.BASE_URL, "COCO's server, or a mirror")
_KEEP_ARCHIVES = flags.DEFINE_bool("keep_archives", False, "keep the archives after unpacking")


def main(arguments):
    if arguments != ["coco"]:
        raise InputError(f"say what to download: coco; got {' '.join(arguments) or 'nothing'}")
    for name in _SPLIT.value:
        folder = coco_download.get(
            coco_download.SPLITS[name],
            _DEST.value,
            base_url=_BASE_URL.value,
            keep_archive=_KEEP_ARCHIVES.value,
        )
        print(folder)


if __name__ == "__main__":
    cli.run(main, required=["split"])
