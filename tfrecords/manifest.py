"""The manifest: what a finished conversion consists of, and from what it was made.

    manifest-NAME.json and dropped-NAME.jsonl, the ledger: see `manifest_shape`

Their names begin otherwise than the shards', because patterns such as `val-*` and `val*`, by which
TF-Vision names its input, must match shards alone. Conversions of before have NAME-manifest.json
and NAME-dropped.jsonl; those are read where they lie.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING

from tfrecords import checked_json, whole_files
from tfrecords.errors import InputError
from tfrecords.whole_files import written_whole

if TYPE_CHECKING:
    from tfrecords import shards

FORMAT = 1
_opened = functools.partial(written_whole, mode="wb")
_COUNTS = (
    *("images", "images_without_annotations", "annotations_written", "crowd"),
    *("crowd_dropped", "boxes_clipped"),
)
# The kinds of file that lie beside a conversion's shards, see `beside`.
_BESIDE = ("manifest", "dropped", "progress", "annotations", "problems")
_COUNTS_BY_REASON = ("images_skipped", "dropped", "notes")


def path_of(output_path: str) -> str:
    """Where the manifest of a conversion lies, or will: under its older name, if it has that."""
    return _present(beside(output_path, "manifest", ".json"), f"{output_path}-manifest.json")


def ledger_path_of(output_path: str) -> str:
    """Where the ledger lies, or will, likewise."""
    return _present(beside(output_path, "dropped", ".jsonl"), f"{output_path}-dropped.jsonl")


def clean(output_path: str) -> None:
    """Removes what processes that died left of a conversion's files, half written."""
    whole_files.clean(*os.path.split(output_path))
    for what in _BESIDE:
        whole_files.clean(*os.path.split(beside(output_path, what, "")))


def beside(output_path: str, what: str, ending: str) -> str:
    """The path of a file that belongs to a conversion and that no pattern of its shards matches.

    Args:
      output_path: of the conversion, such as "data/val2017".
      what: the file's kind, the first word of its name.
      ending: of its name.

    Returns:
      such as "data/manifest-val2017.json".
    """
    folder, name = os.path.split(output_path)
    return os.path.join(folder, f"{what}-{name}{ending}")


def is_name(name: str) -> bool:
    """Whether a file of this name is a manifest."""
    return name.endswith("-manifest.json") or (
        name.startswith("manifest-") and name.endswith(".json")
    )


def in_folder(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
    """The manifests in a folder by the name of their shards ("train", "val"), sorted."""
    paths = {}
    for pattern, before, after in (
        ("*-manifest.json", "", "-manifest.json"),
        ("manifest-*.json", "manifest-", ".json"),  # if there are both, the newer name counts
    ):
        for path in pathlib.Path(folder).glob(pattern):
            paths[path.name.removeprefix(before).removesuffix(after)] = path
    return dict(sorted(paths.items()))


def settings_of(manifest: dict) -> dict:
    """A manifest's settings; what conversions of before could not be asked for is as it was."""
    return {"include_class_labels": False} | manifest["settings"]


def _present(path: str, older: str) -> str:
    return older if os.path.exists(older) and not os.path.exists(path) else path


def read(output_path: str) -> dict | None:
    """The manifest of a conversion, None where there is none yet; raises InputError if damaged."""
    from tfrecords.json_shapes import fault
    from tfrecords.manifest_shape import ManifestFile

    path = path_of(output_path)
    try:
        with open(path, encoding="utf-8") as file:
            manifest = checked_json.loads(file.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable manifest ({error}); remove it, and convert anew"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(
            f"{path}: not a manifest of format {FORMAT}; remove it, or name another output"
        )
    wrong = fault(manifest, ManifestFile)
    if wrong:
        raise InputError(
            f"{path}: not what a conversion writes there ({wrong}); remove it, and convert anew"
        )
    return manifest


def assemble(
    source: dict,
    settings: dict,
    results: "list[shards.WrittenShard]",
    unknown: Sequence[dict] = (),
    crowd_unknown: int = 0,
) -> dict:
    """The manifest of a conversion whose shards are all written.

    Args:
      source: dict, the manifest's "source".
      settings: dict, the manifest's "settings".
      results: list of `shards.WrittenShard`, in the shards' order.
      unknown: ledger entries of annotations of no known image or category.
      crowd_unknown: how many of those are crowd.

    Raises:
      AssertionError: what arrived and what did not do not add up to the source.
    """
    counter = Counter("dropped/" + entry["reason"] for entry in unknown)
    for result in results:
        counter.update(result.counts)
    counter["crowd_dropped"] += crowd_unknown
    made = {
        "format": FORMAT,
        "source": source,
        "settings": settings,
        "shards": [result.manifest_entry for result in results],
        "counts": counts_of(counter),
    }
    ledger = _ledger_bytes(ledger_of(made, unknown, results))
    made["ledger_sha256"] = hashlib.sha256(ledger).hexdigest()
    check_sums(made)
    return made


def write(
    output_path: str,
    manifest: dict,
    opened: Callable[[str], contextlib.AbstractContextManager[IO[bytes]]] = _opened,
) -> None:
    """Writes the manifest; `opened(path)` is a context manager of a binary file to write.

    Raises:
      AssertionError: it is not what `manifest_shape` says.
    """
    from tfrecords.json_shapes import fault
    from tfrecords.manifest_shape import ManifestFile

    wrong = fault(manifest, ManifestFile, as_written_now=True)
    assert wrong is None, wrong
    with opened(path_of(output_path)) as file:
        file.write(
            (
                json.dumps(checked_json.sealed(manifest), indent=1, ensure_ascii=False) + "\n"
            ).encode()
        )


def write_ledger(
    output_path: str,
    entries: Iterable[dict],
    opened: Callable[[str], contextlib.AbstractContextManager[IO[bytes]]] = _opened,
) -> None:
    """Writes the ledger, likewise."""
    with opened(ledger_path_of(output_path)) as file:
        file.write(_ledger_bytes(entries))


def ledger_is_whole(output_path: str, manifest: dict) -> bool:
    """Whether a conversion's ledger is there as its manifest knows it."""
    try:
        with open(ledger_path_of(output_path), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    return digest == manifest.get("ledger_sha256", digest)  # older manifests have none


def _ledger_bytes(entries: Iterable[dict]) -> bytes:
    return b"".join((json.dumps(entry, ensure_ascii=False) + "\n").encode() for entry in entries)


def ledger_of(
    manifest: dict, unknown: Sequence[dict], results: "Sequence[shards.WrittenShard]"
) -> list[dict]:
    """The ledger's entries: how the file was read, annotations of nothing, then by shard."""
    readings = [
        {"image_id": None, "annotation_id": None, "reason": "read_as", "detail": sentence}
        for sentence in manifest["source"].get("readings", [])
    ]
    return readings + [*unknown, *(entry for result in results for entry in result.ledger)]


def counts_of(counter: Mapping[str, int]) -> dict:
    """The manifest's counts; "dropped/box_empty" of the counter becomes dropped.box_empty."""
    counts: dict = {name: counter.get(name, 0) for name in _COUNTS}
    for group in _COUNTS_BY_REASON:
        prefix = group + "/"
        counts[group] = {
            key.removeprefix(prefix): number
            for key, number in sorted(counter.items())
            if key.startswith(prefix) and number
        }
    return counts


def check_sums(manifest: dict) -> None:
    """Raises AssertionError unless what arrived and what did not add up to the source."""
    source, counts = manifest["source"], manifest["counts"]
    for whole, arrived, lost in (
        ("images", counts["images"], sum(counts["images_skipped"].values())),
        ("annotations", counts["annotations_written"], sum(counts["dropped"].values())),
        ("crowd", counts["crowd"], counts["crowd_dropped"]),
    ):
        assert arrived + lost == source[whole], (whole, arrived, lost, source[whole])


def differing_shards(output_path: str, manifest: dict) -> list[int]:
    """Indices of shards that are missing or not of the manifest's size."""
    folder = os.path.dirname(output_path)
    indices = []
    for index, shard in enumerate(manifest["shards"]):
        try:
            size = os.path.getsize(os.path.join(folder, shard["name"]))
        except OSError:
            size = None
        if size != shard["bytes"]:
            indices.append(index)
    return indices
