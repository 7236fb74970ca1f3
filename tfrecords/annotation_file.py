"""The one reader of COCO annotation files: conversion, preflight, scoring and the report go by it.

A file of train2017's size (450 MB) becomes a few arrays within seconds. A process reads a file
once: what was read of it last is kept, and given again as long as the file is the same one (path,
inode, size, time of change). Segmentations and keypoints stay JSON, found by their place in the
text, and are parsed by whoever needs them.
"""

import collections
import dataclasses
import gzip
import hashlib
import json
import os
import pathlib
import time
import zlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from tfrecords import json_text, not_coco
from tfrecords.errors import InputError
from tfrecords.whole_files import refuse_special

# The names of COCO's keypoints, in their order (cocodataset.org/#format-data).
COCO_KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
_SHOWN = 5  # ids named in one message
_FILES_KEPT = 4
_TEXT_KEPT_BYTES = 2**26  # val2017's is 20 MB; of train2017's the arrays are kept alone
# A file that was written just now may be written again within the clock's tick, and look the same.
_SETTLED_S = 0.05


# Arrays keep ids in 64 bits; no image has a side of a million pixels.
_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Side = Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)]


class Image(msgspec.Struct, gc=False):
    """An image entry; `file_name` is None where the file has none."""

    id: _Id
    height: _Side
    width: _Side
    file_name: str | None = None

    @property
    def known_file_name(self) -> str:
        """Of an image that has been seen to have one."""
        assert self.file_name is not None
        return self.file_name


class Category(msgspec.Struct, gc=False):
    """A category entry."""

    id: _Id
    name: str


_Number = float | None  # null stands for NaN, which JSON does not have


class _Annotation(msgspec.Struct, gc=False):
    id: _Id
    image_id: _Id
    category_id: _Id
    area: _Number
    bbox: tuple[_Number, _Number, _Number, _Number] | msgspec.UnsetType = msgspec.UNSET
    iscrowd: _Id | msgspec.UnsetType = msgspec.UNSET


class _AnnotationWithMask(_Annotation, gc=False):
    segmentation: msgspec.Raw = msgspec.Raw(b"")


class _Keypoints(msgspec.Struct, gc=False):
    id: int
    image_id: int
    num_keypoints: int
    keypoints: msgspec.Raw


@dataclasses.dataclass(eq=False)
class AnnotationFile:
    """What a COCO annotation file holds; arrays have one row an annotation, in the file's order.

    Attributes:
      path: of the file.
      sha256: of the file as it lies on the disk.
      content_sha256: of what it holds: of a `.gz`, decompressed.
      images: in the file's order.
      categories: in the file's order.
      has_annotations: whether it has the list at all; that of a test set has none.
      has_nan: whether NaN or Infinity stand in it, which JSON does not have.
      ids, image_ids, category_ids: int64 (A,).
      crowd: int64 (A,); `NOT_SAID` where an annotation has no iscrowd.
      areas_px: float64 (A,); NaN where it is null.
      boxes_xywh_px: float64 (A, 4); NaN where an annotation has no box, or null in it.
      has_box: bool (A,).
      segmentation_spans: int64 (A, 2), where in `text` each segmentation starts and stops; None
        where they were not asked for.
      mended: what `mending` changed in it, in sentences.
    """

    NOT_SAID = -1

    path: str
    sha256: str
    content_sha256: str
    images: list[Image]
    categories: list[Category]
    has_annotations: bool
    has_nan: bool
    ids: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    crowd: np.ndarray
    areas_px: np.ndarray
    boxes_xywh_px: np.ndarray
    has_box: np.ndarray
    segmentation_spans: np.ndarray | None = None
    mended: list[str] = dataclasses.field(default_factory=list)
    _text: bytes | None = dataclasses.field(default=None, repr=False)

    @property
    def text(self) -> bytes:
        """The JSON (bytes), decompressed; where NaN stood, null. A large one is read again."""
        if self._text is not None:
            return self._text
        text, sha256, _ = _content(self.path)
        if sha256 != self.sha256:
            raise InputError(f"{self.path}: has changed while it was in use; start again")
        return _with_nulls(text) if self.has_nan else text

    def need_annotations(self) -> None:
        """Raises InputError where the file has no list of annotations."""
        if not self.has_annotations:
            raise InputError(
                f"{self.path}: not COCO annotations: it has no 'annotations' (image_info files of "
                "the test sets have none); instances_val2017.json has them"
            )

    def check_ids(self) -> None:
        """Raises InputError where an id of an image, category or annotation occurs twice."""
        self.check_category_ids()
        check_unique("image", [image.id for image in self.images], self.path)
        check_unique("annotation", self.ids, self.path)

    def check_category_ids(self) -> None:
        """Raises InputError where a category's id occurs twice."""
        check_unique("category", [category.id for category in self.categories], self.path)

    def lacks(self, name: str, index: int, field: str) -> InputError:
        """The InputError that says which entry of a list has not a field that is needed."""
        entry_id = int(self.ids[index]) if name == "annotations" else getattr(self, name)[index].id
        offered = f". {not_coco.offer('crowds', 'writes 0 there')}" if field == "iscrowd" else ""
        if field == "file_name" and b'"coco_url"' in self.text:
            offered = not_coco.LVIS
        return InputError(
            f"{self.path}: not COCO annotations: {name}[{index}], id {entry_id}: Object missing "
            f"required field `{field}`{offered}"
        )


_cache: collections.OrderedDict = collections.OrderedDict()  # path -> (its state, AnnotationFile)
_hashes: dict = {}  # path -> (its state, SHA-256)


def read(path: str | os.PathLike, *, segmentations: bool = False) -> AnnotationFile:
    """Reads a COCO annotation file (.json or .json.gz), or gives what this process read of it.

    Args:
      path: of the file.
      segmentations: whether the annotations' segmentations are found.

    Raises:
      InputError: a missing or cut-off file, or not COCO: which entry, which field.
    """
    key, state = os.path.abspath(path), _state(path)
    if state is not None and key in _cache:
        before, file = _cache[key]
        if before == state and (file.segmentation_spans is not None or not segmentations):
            _cache.move_to_end(key)
            return file
    forget(path)
    file = _read(path, segmentations)
    if state is not None and state == _state(path) and time.time() - state[-1] / 1e9 > _SETTLED_S:
        _cache[key] = state, file
        while len(_cache) > _FILES_KEPT:
            _cache.popitem(last=False)
    return file


def forget(path: str | os.PathLike) -> None:
    """Lets go of what was kept of a file: of one that will not be asked for again."""
    _cache.pop(os.path.abspath(path), None)


def sha256_of(path: str | os.PathLike) -> str:
    """The SHA-256 of an annotation file on the disk, without reading it again where it was.

    Raises:
      OSError: it cannot be read.
    """
    key, state = os.path.abspath(path), _state(path)
    if key in _cache and _cache[key][0] == state:
        return _cache[key][1].sha256
    if key not in _hashes or _hashes[key][0] != state:
        _hashes[key] = state, file_sha256(path)
    return _hashes[key][1]


def know_sha256(path: str | os.PathLike, sha256: str) -> None:
    """Takes the hash of an annotation file from who has it, instead of reading the file for it."""
    _hashes[os.path.abspath(path)] = _state(path), sha256


def file_sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of any file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_keypoints(
    path: str | os.PathLike,
) -> tuple[bytes, str, dict[tuple[int, int], tuple[int, int, int]]]:
    """The keypoints of a person_keypoints annotation file.

    Returns:
      (text, SHA-256 of the file, {(image id, annotation id): (num_keypoints, start, stop)}): where
      in the text (bytes) their JSON stands.

    Raises:
      InputError: as `read`.
    """
    text, sha256, _ = _content(path)
    text, _, document = _decoded(text, _Keypoints, path)
    _check_skeletons(text, path)
    if document.annotations is msgspec.UNSET:
        raise InputError(f"{path}: not COCO annotations: it has no 'annotations'")
    annotations = document.annotations
    spans = _spans((annotation.keypoints for annotation in annotations), text)
    places = {
        (annotation.image_id, annotation.id): (annotation.num_keypoints, *span)
        for annotation, span in zip(annotations, spans.tolist(), strict=True)
    }
    return text, sha256, places


def content(path: str | os.PathLike) -> bytes:
    """The bytes of an annotation file; of a `.gz`, decompressed; without a byte-order mark.

    Raises:
      InputError: it is not there, or cannot be read.
    """
    return _content(path)[0]


def _check_skeletons(text: bytes, path: str | os.PathLike) -> None:
    """Raises InputError where a category's keypoints are not those of COCO's person."""
    fields: list[tuple] = [("name", str), ("keypoints", list[str], [])]
    skeleton = msgspec.defstruct("Skeleton", fields)
    skeletons: Any = list[skeleton]  # type: ignore[valid-type]
    document: Any = msgspec.json.decode(
        text, type=msgspec.defstruct("Skeletons", [("categories", skeletons)])
    )
    expected = [_plain(name) for name in COCO_KEYPOINTS]
    for category in document.categories:
        if category.keypoints and [_plain(name) for name in category.keypoints] != expected:
            raise InputError(
                f"{path}: category {not_coco.shown(category.name)} has a skeleton of its own, "
                f"{len(category.keypoints)} keypoints ({', '.join(category.keypoints[:5])}, …); "
                "records hold COCO's person alone, 17 from nose to right_ankle. Convert without "
                "--keypoints_file"
            )


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def ids_sha256(ids: Iterable[int]) -> str:
    """SHA-256 of a set of ids: the decimal ids, ascending, a newline after each."""
    return hashlib.sha256("".join(f"{id_}\n" for id_ in sorted(ids)).encode()).hexdigest()


def check_unique(kind: str, ids: Sequence[int] | np.ndarray, path: str | os.PathLike) -> None:
    """Raises InputError where one of `ids` occurs twice."""
    values, counts = np.unique(np.asarray(ids), return_counts=True)
    twice = values[counts > 1].tolist()
    if twice:
        raise InputError(
            f"{path}: {len(twice)} {kind} id(s) occur more than once: {some(twice)}. "
            + (
                "Ids must be unique; give the repeated ones new numbers: "
                + not_coco.offer("ids", "does it")
                if kind == "annotation"
                else f"Annotations name their {kind} by its id, and nothing tells which is meant: "
                "give each a number of its own, there and in its annotations. Where the entries "
                f"are the same, {not_coco.offer('ids', 'keeps one of them')}"
            )
        )


def some(ids: Sequence[int]) -> str:
    """The first few of some ids, for a message."""
    return ", ".join(map(str, ids[:_SHOWN])) + (", …" if len(ids) > _SHOWN else "")


def _state(path: str | os.PathLike) -> tuple[int, ...] | None:
    """What tells whether a file is still the same one; None where it cannot be told."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns


def _read(path: str | os.PathLike, segmentations: bool) -> AnnotationFile:
    text, sha256, content_sha256 = _content(path)
    annotation_type = _AnnotationWithMask if segmentations else _Annotation
    text, has_nan, document = _decoded(text, annotation_type, path)
    has_annotations = document.annotations is not msgspec.UNSET
    annotations = document.annotations if has_annotations else []
    count, unset, nan = len(annotations), msgspec.UNSET, float("nan")

    def column(values: Iterable, dtype: type = np.int64) -> np.ndarray:
        return np.fromiter(values, dtype, count)

    ids, image_ids, category_ids = (
        column(getattr(a, name) for a in annotations) for name in ("id", "image_id", "category_id")
    )
    boxes = [(nan,) * 4 if a.bbox is unset else a.bbox for a in annotations]
    spans = _spans((a.segmentation for a in annotations), text) if segmentations else None
    return AnnotationFile(
        path=str(path),
        sha256=sha256,
        content_sha256=content_sha256,
        images=document.images,
        categories=document.categories,
        has_annotations=has_annotations,
        has_nan=has_nan,
        ids=ids,
        image_ids=image_ids,
        category_ids=category_ids,
        crowd=column(
            AnnotationFile.NOT_SAID if a.iscrowd is unset else a.iscrowd for a in annotations
        ),
        areas_px=np.array([a.area for a in annotations], np.float64),  # None becomes NaN
        boxes_xywh_px=np.array(boxes, np.float64).reshape(count, 4),
        has_box=column((a.bbox is not unset for a in annotations), bool),
        segmentation_spans=spans,
        mended=_mended(document.info),
        _text=text if segmentations or len(text) <= _TEXT_KEPT_BYTES else None,
    )


def _mended(info: msgspec.Raw) -> list[str]:
    said = msgspec.json.decode(info)
    said = said.get("mended") if isinstance(said, dict) else None
    return [str(value) for value in said] if isinstance(said, list) else []


def for_library(path: str | os.PathLike) -> str | dict:
    """What a library that reads plain UTF-8 alone takes: the path, or of other files the document.

    Raises:
      InputError: the file cannot be read.
    """
    return str(path) if json_text.is_plain(path) else json.loads(_content(path)[0])


def _content(path: str | os.PathLike) -> tuple[bytes, str, str]:
    """(JSON text without a byte-order mark, SHA-256 of the file, SHA-256 of what it holds)."""
    try:
        refuse_special(path)
        data = pathlib.Path(path).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        if data[:2] != b"\x1f\x8b" and not str(path).endswith(".gz"):
            text = json_text.utf8(data)
        else:
            text = json_text.utf8(gzip.decompress(data))
        same = len(text) == len(data)  # neither packed nor with a mark
        return text, sha256, sha256 if same else hashlib.sha256(text).hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file") from None
    except json_text.OtherEncoding as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _decoded(
    text: bytes, annotation_type: type[_Annotation] | type[_Keypoints], path: str | os.PathLike
) -> tuple[bytes, bool, Any]:
    """(text, whether NaN was in it, document); the text has null where NaN had to be replaced."""
    annotations: Any = list[annotation_type]  # type: ignore[valid-type]
    fields: list[tuple] = [
        ("images", list[Image]),
        ("categories", list[Category]),
        ("annotations", annotations | msgspec.UnsetType, msgspec.UNSET),
        ("info", msgspec.Raw, msgspec.Raw(b"null")),
    ]
    decoder = msgspec.json.Decoder(msgspec.defstruct("Document", fields, gc=False))
    try:
        return text, False, decoder.decode(text)
    except msgspec.ValidationError as error:
        types: dict[str, type[msgspec.Struct]] = {
            "images": Image,
            "categories": Category,
            "annotations": annotation_type,
        }
        try:
            first = not_coco.first_bad(text, types, error)
        except (msgspec.DecodeError, RecursionError) as worse:  # further on it is no JSON at all
            first = f"{error}; {worse}"
        raise InputError(f"{path}: not COCO annotations: {first}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem: Exception = error
    if any(word in text for word in (b"NaN", b"Infinity")):
        try:  # Python's parser takes the NaN that Python's json.dump writes
            text = _with_nulls(text)
            return text, True, decoder.decode(text)
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            problem = error
    raise InputError(f"{path}: {not_coco.no_json(text, problem)}")


def _with_nulls(text: bytes) -> bytes:
    return json.dumps(json.loads(text, parse_constant=lambda _: None)).encode()


def _spans(raws: Iterable[msgspec.Raw], text: bytes) -> np.ndarray:
    """Where in `text` each Raw stands, or the same bytes before it: int64 [n, 2], start and stop.

    Args:
      raws: in the order in which they stand in `text`, of which they are parts.
      text: bytes.
    """
    spans, stop = [], 0
    for raw in raws:
        start = text.find(raw, stop)
        stop = start + len(memoryview(raw))
        spans.append((start, stop))
    return np.array(spans, np.int64).reshape(-1, 2)
