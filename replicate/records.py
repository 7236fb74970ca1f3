"""The TFRecords that a config's reader names, and the manifest of the conversion that made them."""

import concurrent.futures
import dataclasses
import glob
import os
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from replicate import engine
from tfrecords import framing
from tfrecords import manifest as manifests
from tfrecords.errors import InputError

if TYPE_CHECKING:
    from google.protobuf.message import Message


_SHARD = re.compile(r"^(?P<output_path>.*)-\d{5}-of-(?P<shards>\d{5})(\.tfrecord)?$")

_READERS = 16  # shards counted at a time


@dataclasses.dataclass(frozen=True)
class Records:
    """The shards of a reader.

    Attributes:
      pattern: what the config names.
      paths: the files that match.
      output_path: the conversion's, read off the shards' names; "" where they do not tell.
      num_shards: how many the names say there are; 0 where they do not tell.
      manifest: the converter's, None where there is none.
      damaged: why the manifest that is there cannot be read, or "".
    """

    pattern: str
    paths: list[str]
    output_path: str
    num_shards: int
    manifest: dict | None
    damaged: str = ""

    def category_names(self) -> dict[int, str]:
        """Names by id of the categories that the conversion knew; {} where no manifest tells."""
        said = (self.manifest or {}).get("source", {}).get("category_names", {})
        return {int(id_): name for id_, name in said.items()}


def not_named(path: str, lacking: list[str], ids: Collection[str]) -> str:
    """The sentence on categories of the records that a label map does not name.

    Args:
      path: of the label map.
      lacking: names in the records.
      ids: the label map's names.
    """
    by_look = {name.strip().casefold(): name for name in ids}
    near = by_look.get(lacking[0].strip().casefold())
    return (
        f"{path}: no label names {', '.join(map(repr, lacking[:5]))}"
        + f" (and {len(lacking) - 5} more)" * (len(lacking) > 5)
        + ", which the records have; their objects would be trained on as background"
        + (f". It has {near!r}; names must be equal to the letter" if near else "")
    )


def of_patterns(patterns: Iterable[str]) -> Records:
    """The Records that patterns of files name."""
    patterns = list(patterns)
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern))
    match = _SHARD.match(paths[0]) if paths else None
    output_path = match["output_path"] if match else ""
    held, damaged = None, ""
    if output_path:
        try:
            held = manifests.read(output_path)
        except InputError as error:
            damaged = str(error)
    return Records(
        pattern=", ".join(patterns),
        paths=paths,
        output_path=output_path,
        num_shards=int(match["shards"]) if match else 0,
        manifest=held,
        damaged=damaged,
    )


def of_reader(reader: "Message | None") -> Records:
    """The Records of an InputReader message; None gives none."""
    return of_patterns(reader.tf_record_input_reader.input_path if reader is not None else ())


def miscounted(paths: Iterable[str]) -> tuple[str, int, int] | None:
    """The first shard that does not hold the records that its conversion's manifest counts.

    Args:
      paths: shards, of any conversions; those without a manifest are not looked at.

    Returns:
      (path, records the manifest counts, records it holds), or None.

    Raises:
      InputError: a manifest that cannot be read.
      CorruptRecord: a shard that ends in the middle of a record.
    """
    return counted(paths)[1]


def counted(paths: Iterable[str]) -> tuple[int, tuple[str, int, int] | None]:
    """The records in shards, each read through once, many at a time where a disk answers slowly.

    Args:
      paths: shards, of any conversions.

    Returns:
      (number of records, what `miscounted` gives).

    Raises:
      InputError, CorruptRecord: as `miscounted`.
    """
    paths = list(paths)
    with concurrent.futures.ThreadPoolExecutor(_READERS) as threads:
        counts = dict(zip(paths, threads.map(framing.count, paths), strict=True))
    return sum(counts.values()), _miscounted(counts)


def _miscounted(counts: dict[str, int]) -> tuple[str, int, int] | None:
    counted: dict[str, dict] = {}
    for path, there in counts.items():
        match = _SHARD.match(path)
        if match is None:
            continue
        output_path = match["output_path"]
        if output_path not in counted:
            held = manifests.read(output_path) or {"shards": []}
            counted[output_path] = {shard["name"]: shard["records"] for shard in held["shards"]}
        expected = counted[output_path].get(os.path.basename(path))
        if expected is not None and there != expected:
            return path, expected, there
    return None


def of_config(config: Any) -> dict[str, Records]:
    """The Records of a config, of either engine: dict "train", "val"."""
    held = engine.describe(config)
    return {"train": of_patterns(held.train_records), "val": of_patterns(held.val_records)}
