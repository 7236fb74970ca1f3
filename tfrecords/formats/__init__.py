"""COCO annotations from and to other formats.

Each module has `read(...)`, which returns the content of a COCO JSON, and `write(...)`, which
returns how many images and annotations were written and how many of what were lost. Pascal VOC
and YOLO are hotcoco's own converters. docs/tfrecords.md says what survives in which format.
"""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from tfrecords import whole_files
from tfrecords.errors import InputError


@contextlib.contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A folder that appears under `path` only when the block ends without an error.

    Yields:
      the folder to write into.

    Raises:
      InputError: `path` exists already and is not an empty folder.
    """
    path = pathlib.Path(path)
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
    if path.exists() or not path.name:
        raise InputError(f"{path}: exists already; name a new folder, or remove it")
    whole_files.clean(path.parent, path.name)
    partial = whole_files.partial_of(path)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def document(images: list[dict], annotations: list[dict], categories: dict[int, str]) -> dict:
    """A COCO JSON's content from lists of entries; `categories` is a dict of id to name."""
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": key, "name": name} for key, name in categories.items()],
    }
