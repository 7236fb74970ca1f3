"""COCO annotation files: read within bounded memory, checked, grouped by image.

A file of train2017's size (450 MB) becomes a few arrays; segmentations and keypoints stay JSON
bytes, found by their position in the file, and are parsed by whoever needs them.
"""

import dataclasses
import gzip
import hashlib
import json
import os
import pathlib

import msgspec
import numpy as np

from tfrecords.errors import InputError

_SHOWN = 5  # ids named in one message


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    height: int
    width: int


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


_Number = float | None  # null stands for NaN, which JSON does not have


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[_Number, _Number, _Number, _Number]
    area: _Number
    iscrowd: int = 0


class _AnnotationWithMask(_Annotation, gc=False):
    segmentation: msgspec.Raw = msgspec.Raw(b"")


class _Keypoints(msgspec.Struct, gc=False):
    id: int
    image_id: int
    num_keypoints: int
    keypoints: msgspec.Raw


class Objects(msgspec.Struct):
    """The annotations of one image, in the file's order."""

    ids: list[int]
    category_ids: list[int]
    boxes_xywh_px: list[list[float]]
    areas_px: list[float]
    crowd: list[int]
    segmentations: list[bytes] | None = None  # JSON, where masks are asked for
    keypoints: list[tuple[int, bytes] | None] | None = None  # (num_keypoints, JSON) by annotation


class SourceImage(msgspec.Struct):
    """One image and its annotations: what a record is made of, apart from the image's bytes."""

    id: int
    file_name: str
    image_hw: tuple[int, int]
    objects: Objects


@dataclasses.dataclass
class Source:
    """An annotation file in memory; `image(index)` gives one image with its annotations.

    Attributes:
      annotations_file: its path.
      sha256: of the file as it lies on the disk.
      images: list of image entries (id, file_name, height, width), in the file's order.
      categories: dict of id to name.
      num_annotations: annotations in the file.
      num_crowd, num_crowd_unknown: those with iscrowd 1; those of them that are in `unknown`.
      unknown: list of (annotation id, image id, reason) of annotations that belong to no image or
        no category of the file, reason "unknown_image" or "unknown_category"; they are in no image.
    """

    annotations_file: str
    sha256: str
    images: list
    categories: dict
    num_annotations: int
    num_crowd: int
    num_crowd_unknown: int
    unknown: list
    _columns: dict
    _first: np.ndarray
    _segmentation_text: bytes | None = None
    _keypoints: dict | None = None
    _keypoint_text: bytes | None = None

    def image(self, index):
        """The image at `index` of the file, a `SourceImage`."""
        entry = self.images[index]
        rows = slice(self._first[index], self._first[index + 1])
        columns = {name: column[rows] for name, column in self._columns.items()}
        objects = Objects(
            ids=columns["id"].tolist(),
            category_ids=columns["category_id"].tolist(),
            boxes_xywh_px=columns["box"].tolist(),
            areas_px=columns["area"].tolist(),
            crowd=columns["crowd"].tolist(),
        )
        if self._segmentation_text is not None:
            objects.segmentations = [
                self._segmentation_text[start:stop] for start, stop in columns["span"].tolist()
            ]
        if self._keypoints is not None:
            objects.keypoints = [self._keypoints_of(entry.id, id_) for id_ in objects.ids]
        return SourceImage(entry.id, entry.file_name, (entry.height, entry.width), objects)

    def num_annotations_of(self, index):
        return int(self._first[index + 1] - self._first[index])

    def _keypoints_of(self, image_id, annotation_id):
        found = self._keypoints.get((image_id, annotation_id))
        if found is None:
            return None
        num_keypoints, start, stop = found
        return num_keypoints, self._keypoint_text[start:stop]


def load(annotations_file, *, segmentations=False, keypoints_file=None):
    """Reads and checks a COCO annotation file (.json or .json.gz).

    Args:
      annotations_file: its path.
      segmentations: whether annotations keep their segmentation.
      keypoints_file: a person_keypoints annotation file, whose keypoints are joined by annotation
        id (and image id), as the API's converter does.

    Raises:
      InputError: missing or cut-off file, not COCO, ids that repeat, image sizes below 1,
        iscrowd other than 0 and 1, a file name that leaves the image folder.
    """
    text, sha256 = _read(annotations_file)
    annotation_type = _AnnotationWithMask if segmentations else _Annotation
    text, document = _decode(text, annotation_type, annotations_file)
    _check_images(document.images, annotations_file)
    _check_unique("category", [c.id for c in document.categories], annotations_file)
    source = _grouped(document, annotations_file, sha256)
    if segmentations:
        # Raw is a view of the text; only where it lies there is kept.
        spans = _spans((a.segmentation for a in document.annotations), text)
        source._columns["span"] = spans[source._columns.pop("row")]
        source._segmentation_text = text
    else:
        del source._columns["row"]
    if keypoints_file:
        text, _ = _read(keypoints_file)
        source._keypoint_text, document = _decode(text, _Keypoints, keypoints_file)
        spans = _spans((k.keypoints for k in document.annotations), source._keypoint_text)
        source._keypoints = {
            (k.image_id, k.id): (k.num_keypoints, *span)
            for k, span in zip(document.annotations, spans.tolist(), strict=True)
        }
    return source


def load_categories(annotations_file):
    """The categories of a COCO annotation file: dict of id to name. Raises InputError."""
    text, _ = _read(annotations_file)
    _, document = _decode(text, msgspec.Raw, annotations_file)
    _check_unique("category", [c.id for c in document.categories], annotations_file)
    return {category.id: category.name for category in document.categories}


def file_sha256(path):
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path):
    """(JSON text as bytes, SHA-256 of the file)."""
    try:
        data = pathlib.Path(path).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        return (gzip.decompress(data) if str(path).endswith(".gz") else data), sha256
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file") from None
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _decode(text, annotation_type, path):
    """(text, document); the text is another one where NaN had to be replaced by null."""
    fields = [
        ("images", list[_Image]),
        ("categories", list[_Category]),
        ("annotations", list[annotation_type]),
    ]
    decoder = msgspec.json.Decoder(msgspec.defstruct("Document", fields, gc=False))
    try:
        return text, decoder.decode(text)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{path}: not COCO annotations: {_first_bad(text, fields, error)}"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = error
    if any(word in text for word in (b"NaN", b"Infinity")):
        try:  # Python's parser takes the NaN that Python's json.dump writes
            text = _with_nulls(text)
            return text, decoder.decode(text)
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            problem = error
    raise InputError(
        f"{path}: not JSON, or cut off ({len(text)} bytes): {problem}. Copy or download it again"
    )


def _with_nulls(text):
    return json.dumps(json.loads(text, parse_constant=lambda _: None)).encode()


def _first_bad(text, fields, error):
    """Names the first entry that is not as COCO has it; msgspec names the field alone."""
    try:
        document = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return "the file holds no object of images, annotations and categories"
    for name, entries_type in fields:
        if name not in document:
            return f"it has no {name!r}"
        try:
            entries = msgspec.json.decode(document[name], type=list[msgspec.Raw])
        except msgspec.ValidationError:
            return f"{name!r} is not a list"
        decoder = msgspec.json.Decoder(entries_type.__args__[0])
        for number, entry in enumerate(entries):
            try:
                decoder.decode(entry)
            except msgspec.ValidationError as entry_error:
                found = msgspec.json.decode(entry)
                identity = (
                    f", id {found['id']!r}" if isinstance(found, dict) and "id" in found else ""
                )
                return f"{name}[{number}]{identity}: {entry_error}"
    return str(error)


def _check_images(images, path):
    _check_unique("image", [image.id for image in images], path)
    for image in images:
        if image.height < 1 or image.width < 1:
            raise InputError(
                f"{path}: image {image.id} ({image.file_name}) is {image.width}x{image.height} "
                "pixels; correct its width and height"
            )
        name = image.file_name
        parts = name.replace("\\", "/").split("/")
        if not name or "\0" in name or os.path.isabs(name) or ".." in parts:
            raise InputError(
                f"{path}: image {image.id} has file_name {name!r}, which leaves the image folder; "
                "names must be relative, without '..'"
            )


def _check_unique(kind, ids, path):
    if len(set(ids)) == len(ids):
        return
    values, counts = np.unique(np.array(ids), return_counts=True)
    twice = values[counts > 1].tolist()
    raise InputError(
        f"{path}: {len(twice)} {kind} id(s) occur more than once: {_some(twice)}. Ids must be "
        "unique; give the repeated ones new numbers"
    )


def _grouped(document, path, sha256):
    """The annotations as columns sorted by image, stable in the file's order."""
    annotations = document.annotations
    count = len(annotations)

    def column(values, dtype):
        return np.fromiter(values, dtype, count)

    ids = column((a.id for a in annotations), np.int64)
    _check_unique("annotation", ids, path)
    crowd = column((a.iscrowd for a in annotations), np.int64)
    if count and not np.isin(crowd, (0, 1)).all():
        wrong = ids[~np.isin(crowd, (0, 1))].tolist()
        raise InputError(f"{path}: iscrowd is neither 0 nor 1 in annotation(s) {_some(wrong)}")
    boxes = np.array([a.bbox for a in annotations], np.float64).reshape(count, 4)
    areas = np.array([a.area for a in annotations], np.float64)  # None becomes NaN

    position = {image.id: index for index, image in enumerate(document.images)}
    image_index = column((position.get(a.image_id, -1) for a in annotations), np.int64)
    categories = {category.id: category.name for category in document.categories}
    category_ids = column((a.category_id for a in annotations), np.int64)
    known_category = np.isin(category_ids, list(categories))
    unknown = [
        (int(ids[row]), annotations[row].image_id, reason)
        for reason, rows in (
            ("unknown_image", image_index < 0),
            ("unknown_category", (image_index >= 0) & ~known_category),
        )
        for row in np.flatnonzero(rows).tolist()
    ]
    rows = np.argsort(image_index, kind="stable")
    rows = rows[(image_index[rows] >= 0) & known_category[rows]]
    num_crowd = int(crowd.sum())
    first = np.searchsorted(image_index[rows], np.arange(len(document.images) + 1))
    return Source(
        annotations_file=str(path),
        sha256=sha256,
        images=document.images,
        categories=categories,
        num_annotations=count,
        num_crowd=num_crowd,
        num_crowd_unknown=num_crowd - int(crowd[rows].sum()),
        unknown=unknown,
        _columns={
            "row": rows,
            "id": ids[rows],
            "category_id": category_ids[rows],
            "box": boxes[rows],
            "area": areas[rows],
            "crowd": crowd[rows],
        },
        _first=first,
    )


def _spans(raws, text):
    """Where each Raw lies in the text it was decoded from: int64 [n, 2] of start and stop."""
    base = np.frombuffer(text, np.uint8).ctypes.data
    spans = []
    for raw in raws:
        length = len(memoryview(raw))
        start = np.frombuffer(raw, np.uint8).ctypes.data - base if length else 0
        spans.append((start, start + length))
    return np.array(spans, np.int64).reshape(-1, 2)


def _some(ids):
    return ", ".join(map(str, ids[:_SHOWN])) + (", …" if len(ids) > _SHOWN else "")
