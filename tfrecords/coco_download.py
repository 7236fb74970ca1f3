"""COCO 2017's archives: where they are, how big, and their checksums."""

import os
import pathlib
from dataclasses import dataclass
from typing import Any

from tfrecords import archives, fetch
from tfrecords.errors import InputError

# COCO's server speaks plain http, so the checksums are what vouches for the bytes.
BASE_URL = "http://images.cocodataset.org"


@dataclass(frozen=True)
class Split:
    """One archive.

    Attributes:
      archive: path below the server's root.
      size: bytes of the archive.
      checksum: "md5:…".
      folder: what it unpacks to.
      pattern, files: how many files of that pattern a complete folder holds.
    """

    archive: str
    size: int
    checksum: str
    folder: str
    pattern: str
    files: int


# Sizes as the server gives them; MD5 as several public projects pin them, all the same.
SPLITS = {
    "val2017": Split(
        "zips/val2017.zip",
        815585330,
        "md5:442b8da7639aecaf257c1dceb8ba8c80",
        "val2017",
        "*.jpg",
        5000,
    ),
    "train2017": Split(
        "zips/train2017.zip",
        19336861798,
        "md5:cced6f7f71b7629ddf16f17bbcfab6b2",
        "train2017",
        "*.jpg",
        118287,
    ),
    "annotations": Split(
        "annotations/annotations_trainval2017.zip",
        252907541,
        "md5:f4bbac642086de4f52a3fdda2de5fa2c",
        "annotations",
        "*_*2017.json",
        6,
    ),
}


def get(
    split: Split,
    folder: str | os.PathLike,
    *,
    base_url: str = BASE_URL,
    keep_archive: bool = False,
    progress: bool = True,
    **fetch_options: Any,
) -> pathlib.Path:
    """Downloads and unpacks one split, or finds it there.

    Args:
      folder: gets the split's folder; the archive lies beside it meanwhile.
      base_url: the server or a mirror with the same paths.
      keep_archive: whether the archive stays after unpacking.
      progress: show progress bars.
      fetch_options: further arguments of `fetch.fetch`.

    Returns:
      the split's folder.

    Raises:
      InputError: as `fetch.fetch` and `archives.extract`; or the archive lacked files.
    """
    folder = pathlib.Path(folder)
    unpacked = folder / split.folder
    if _is_complete(unpacked, split):
        return unpacked
    archive = folder / pathlib.PurePosixPath(split.archive).name
    if not archive.exists():
        # The archive's files together are about as big as the archive: JPEGs do not shrink.
        fetch.check_free_space(folder, 2 * split.size, f"{archive.name} and what is in it")
    fetch.fetch(
        f"{base_url.rstrip('/')}/{split.archive}",
        archive,
        size=split.size,
        checksum=split.checksum,
        progress=progress,
        **fetch_options,
    )
    archives.extract(archive, folder, progress=progress)
    if not _is_complete(unpacked, split):
        raise InputError(
            f"{archive}: {split.folder}/ does not hold {split.files} files {split.pattern} after "
            "unpacking; delete both and run the same command"
        )
    if not keep_archive:
        archive.unlink()
    return unpacked


def _is_complete(unpacked: pathlib.Path, split: Split) -> bool:
    return unpacked.is_dir() and sum(1 for _ in unpacked.glob(split.pattern)) == split.files
