"""Annotation files as the rooms of `replicate` meet them, and what a run keeps of them.

A run directory's annotations.json holds, by the file's SHA-256, what several stages need of it, so
that a run that is continued or reported does not read train2017's annotations again.
"""

import collections
import dataclasses
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from replicate.run import read_json_or_none, write_json
from tfrecords import annotation_file

if TYPE_CHECKING:
    from replicate.run import RunDir


_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class AnnotationFacts:
    """What several stages need of an annotation file.

    Attributes:
      sha256: of the file on the disk.
      images, annotations, crowd: how many it has.
      image_ids_sha256: see `annotation_file.ids_sha256`.
      categories: dict id -> name.
      objects: dict category id -> annotations that are no crowd; categories without any left out.
    """

    sha256: str
    images: int
    annotations: int
    crowd: int
    image_ids_sha256: str
    categories: dict[int, str]
    objects: dict[int, int]

    @classmethod
    def of(cls, file: annotation_file.AnnotationFile) -> "AnnotationFacts":
        """The facts of an `AnnotationFile`.

        Raises:
          UserError: a category's id occurs twice.
        """
        file.check_category_ids()
        crowd = file.crowd > 0
        return cls(
            sha256=file.sha256,
            images=len(file.images),
            annotations=len(file.ids),
            crowd=int(crowd.sum()),
            image_ids_sha256=annotation_file.ids_sha256(image.id for image in file.images),
            categories={category.id: category.name for category in file.categories},
            objects=dict(sorted(collections.Counter(file.category_ids[~crowd].tolist()).items())),
        )

    def to_json(self) -> dict:
        """The facts without the hash, under which they stand."""
        entries = dataclasses.asdict(self)
        del entries["sha256"]
        return entries

    @classmethod
    def from_json(cls, sha256: str, entries: dict) -> "AnnotationFacts":
        """What `to_json` gave."""
        by_id = {
            name: {int(id_): value for id_, value in entries[name].items()}
            for name in ("categories", "objects")
        }
        return cls(sha256=sha256, **(entries | by_id))


def facts(
    run: "RunDir", path: str | os.PathLike, *, segmentations: bool = False
) -> AnnotationFacts:
    """The facts of an annotation file: those that the run keeps, if the file is as it was.

    That is told by its size and its time of change: hashing 450 MB takes a while.

    Args:
      path: of the file.
      segmentations: as of `read`, where it has to be read: for who comes after.

    Raises:
      UserError: as `annotation_file.read`.
    """
    there = read(run)
    state = there["files"].get(os.path.abspath(path))
    if state is not None and state == _state_of(path, state["sha256"]):
        annotation_file.know_sha256(path, state["sha256"])
        return AnnotationFacts.from_json(state["sha256"], there["facts"][state["sha256"]])
    return AnnotationFacts.of(annotation_file.read(path, segmentations=segmentations))


def facts_of(run: "RunDir", sha256: str) -> AnnotationFacts | None:
    """The facts that a run keeps of the file with this SHA-256, or None."""
    entries = read(run)["facts"].get(sha256)
    return None if entries is None else AnnotationFacts.from_json(sha256, entries)


def keep(run: "RunDir", paths: Iterable[str | os.PathLike]) -> None:
    """Writes the facts of these files into the run directory; reads none that it has already."""
    there, before = read(run), read(run)
    for path in paths:
        file_facts = facts(run, path)
        there["files"][os.path.abspath(path)] = _state_of(path, file_facts.sha256)
        there["facts"][file_facts.sha256] = file_facts.to_json()
    if there != before:
        write_json(run.annotations, there, kind="annotations")


def read(run: "RunDir") -> dict:
    """annotations.json of a run; empty where there is none yet, or a damaged one."""
    there = read_json_or_none(run.annotations, kind="annotations")
    if there is not None and there["format"] == _FORMAT:
        return there
    return {"format": _FORMAT, "files": {}, "facts": {}}


def _state_of(path: str | os.PathLike, sha256: str) -> dict | None:
    """What tells that a file is as it was when it had this hash."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256}
