"""A COCO annotation file grouped by image and checked: what records are made of."""

import dataclasses
import os

import msgspec
import numpy as np

from tfrecords import annotation_file, plausible
from tfrecords.annotation_file import some
from tfrecords.errors import InputError
from tfrecords.not_coco import offer


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
      categories: names by id.
      num_annotations: annotations in the file.
      num_crowd, num_crowd_unknown: those with iscrowd 1; those of them that are in `unknown`.
      keypoints_sha256: of the keypoints' file, where one was joined.
      unknown: list of (annotation id, image id, reason) of annotations that belong to no image or
        no category of the file, reason "unknown_image" or "unknown_category"; they are in no image.
      readings: what was taken in another way than it is written, or is odd: sentences.
    """

    annotations_file: str
    sha256: str
    images: list[annotation_file.Image]
    categories: dict[int, str]
    num_annotations: int
    num_crowd: int
    num_crowd_unknown: int
    unknown: list[tuple[int, int, str]]
    readings: list[str]
    _columns: dict[str, np.ndarray]
    _first: np.ndarray
    keypoints_sha256: str | None = None
    _segmentation_text: bytes | None = None
    _keypoints: dict[tuple[int, int], tuple[int, int, int]] | None = None
    _keypoint_text: bytes | None = None

    def image(self, index: int) -> SourceImage:
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
        return SourceImage(entry.id, entry.known_file_name, (entry.height, entry.width), objects)

    def num_annotations_of(self, index: int) -> int:
        return int(self._first[index + 1] - self._first[index])

    def _keypoints_of(self, image_id: int, annotation_id: int) -> tuple[int, bytes] | None:
        assert self._keypoints is not None and self._keypoint_text is not None
        place = self._keypoints.get((image_id, annotation_id))
        if place is None:
            return None
        num_keypoints, start, stop = place
        return num_keypoints, self._keypoint_text[start:stop]


def load(
    annotations_file: str | os.PathLike,
    *,
    segmentations: bool = False,
    keypoints_file: str | os.PathLike | None = None,
) -> Source:
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
    file = annotation_file.read(annotations_file, segmentations=segmentations)
    file.need_annotations()
    file.check_ids()
    plausible.check_categories(file)
    _check_images(file)
    if not file.has_box.all():
        raise file.lacks("annotations", int(np.argmin(file.has_box)), "bbox")
    plausible.check(file)
    plausible.check_areas(file)
    source = _grouped(file, segmentations)
    if keypoints_file:
        source._keypoint_text, source.keypoints_sha256, source._keypoints = (
            annotation_file.read_keypoints(keypoints_file)
        )
    return source


def load_categories(annotations_file: str | os.PathLike) -> dict[int, str]:
    """The categories of a COCO annotation file that a label map can hold: names by id.

    Raises:
      InputError: as `load`.
    """
    file = annotation_file.read(annotations_file)
    file.check_category_ids()
    plausible.check_categories(file)
    return _categories(file)


def _categories(file: annotation_file.AnnotationFile) -> dict[int, str]:
    """Names by id; an id below 1, which nothing uses, is a root of others or the background."""
    used = set(file.category_ids.tolist())
    return {
        category.id: category.name
        for category in file.categories
        if category.id >= 1 or category.id in used
    }


def _check_images(file: annotation_file.AnnotationFile) -> None:
    for index, image in enumerate(file.images):
        if image.file_name is None:
            raise file.lacks("images", index, "file_name")
        if image.height < 1 or image.width < 1:
            raise InputError(
                f"{file.path}: image {image.id} ({image.file_name}) is {image.width}x"
                f"{image.height} pixels; correct its width and height. "
                + offer("sizes", "reads them from the image files")
            )
        if not image.file_name.strip():
            raise InputError(
                f"{file.path}: image {image.id} has an empty file_name ({image.file_name!r}); "
                "write the name of its file in the image folder"
            )
        name = image.file_name
        parts = name.replace("\\", "/").split("/")
        if "\0" in name or os.path.isabs(name) or ".." in parts:
            raise InputError(
                f"{file.path}: image {image.id} has file_name {name!r}, which leaves the image "
                "folder; names must be relative, without '..'. "
                + offer("file_names", "finds them in the image folder by their last part")
            )


def _grouped(file: annotation_file.AnnotationFile, segmentations: bool) -> Source:
    """The annotations as columns sorted by image, stable in the file's order."""
    crowd = np.where(file.crowd == file.NOT_SAID, 0, file.crowd)
    if not np.isin(crowd, (0, 1)).all():
        wrong = file.ids[~np.isin(crowd, (0, 1))].tolist()
        raise InputError(
            f"{file.path}: iscrowd is neither 0 nor 1 in annotation(s) {some(wrong)}; write 0 for "
            "an object, 1 for a group of them"
        )
    position = {image.id: index for index, image in enumerate(file.images)}
    image_index = np.array(
        [position.get(image_id, -1) for image_id in file.image_ids.tolist()], np.int64
    )
    categories = _categories(file)
    known_category = np.isin(file.category_ids, list(categories))
    unknown = [
        (int(file.ids[row]), int(file.image_ids[row]), reason)
        for reason, rows in (
            ("unknown_image", image_index < 0),
            ("unknown_category", (image_index >= 0) & ~known_category),
        )
        for row in np.flatnonzero(rows).tolist()
    ]
    rows = np.argsort(image_index, kind="stable")
    rows = rows[(image_index[rows] >= 0) & known_category[rows]]
    num_crowd = int(crowd.sum())
    columns = {
        "id": file.ids[rows],
        "category_id": file.category_ids[rows],
        "box": file.boxes_xywh_px[rows],
        "area": file.areas_px[rows],
        "crowd": crowd[rows],
    }
    if segmentations:
        assert file.segmentation_spans is not None
        columns["span"] = file.segmentation_spans[rows]
    return Source(
        annotations_file=file.path,
        sha256=file.sha256,
        images=file.images,
        categories=categories,
        num_annotations=len(file.ids),
        num_crowd=num_crowd,
        num_crowd_unknown=num_crowd - int(crowd[rows].sum()),
        unknown=unknown,
        readings=plausible.readings(file),
        _columns=columns,
        _first=np.searchsorted(image_index[rows], np.arange(len(file.images) + 1)),
        _segmentation_text=file.text if segmentations else None,
    )
