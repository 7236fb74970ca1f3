"""One shard, written by one process."""

import contextlib
import dataclasses
import functools
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO

from tfrecords import coco, features, framing
from tfrecords.errors import InputError
from tfrecords.whole_files import written_whole


@dataclasses.dataclass
class Task:
    """A shard to write: everything a worker needs, apart from the image files.

    Attributes:
      path: the shard's final path.
      image_dir: folder of the image files.
      categories: names by category id.
    """

    path: str
    images: list[coco.SourceImage]
    image_dir: str | os.PathLike
    categories: dict[int, str]
    settings: features.FeatureSettings


@dataclasses.dataclass
class WrittenShard:
    """A written shard: its entry in the manifest, its part of the counts and of the ledger."""

    name: str
    sha256: str
    records: int
    bytes: int
    counts: dict[str, int]
    ledger: list[dict]

    @property
    def manifest_entry(self) -> dict:
        return {key: getattr(self, key) for key in ("name", "sha256", "records", "bytes")}


# Not synced: that would make the disk's speed ours. What a power failure cuts, its size tells.
_open_shard = functools.partial(written_whole, mode="wb", sync=False)


@contextlib.contextmanager
def nowhere(path: str) -> Iterator[IO[bytes]]:
    """For `open_shard`, where only the ledger is wanted."""
    with open(os.devnull, "wb") as file:
        yield file


def write(
    task: Task,
    count_image: Callable[[], object] = lambda: None,
    open_shard: Callable[[str], contextlib.AbstractContextManager[IO[bytes]]] = _open_shard,
    read: Callable[[str], bytes | None] | None = None,
) -> WrittenShard:
    """Writes a shard; it appears under its final name only when complete.

    Args:
      count_image: called after each image.
      open_shard: context manager of a path that gives a file to write.
      read: function of a path that gives the bytes of an image file, as `read_image` does.
    """
    counts: Counter = Counter()
    ledger: list[dict] = []
    read = read or read_image
    with open_shard(task.path) as file:
        writer = framing.Writer(file)
        for image in task.images:
            path = os.path.join(task.image_dir, image.file_name)
            outcome = features.convert_image(
                image, read(path), path, task.categories, task.settings
            )
            if outcome.record is not None:
                writer.write(outcome.record)
            counts.update(outcome.counts)
            ledger.extend(outcome.ledger)
            count_image()
    name = os.path.basename(task.path)
    return WrittenShard(name, writer.sha256, writer.records, writer.bytes, dict(counts), ledger)


def read_image(path: str | os.PathLike) -> bytes | None:
    """The bytes of an image file, None where there is none. Raises InputError if unreadable."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None  # a folder; a pipe, which would be waited for without an end
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def path_of(output_path: str, index: int, num_shards: int) -> str:
    """Path of shard `index`, as the zoo's configs name shards."""
    return f"{output_path}-{index:05d}-of-{num_shards:05d}.tfrecord"
