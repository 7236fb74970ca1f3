"""A COCO annotation file: what is in it, checked, and how its identity is told."""

import dataclasses
import gzip
import hashlib
import json
import os
import pathlib
import zlib

import numpy as np

from replicate.errors import UserError
from tfrecords import annotation_file, plausible
from tfrecords.annotation_file import ids_sha256
from tfrecords.not_coco import offer
from tfrecords.whole_files import refuse_special

#: The field of an annotation, and of a COCO result, that each kind of evaluation reads. Of a result
#: the others are left out, so that pycocotools takes the area of a mask from the mask and not from
#: a box that came with it.
FIELDS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}
_ID_0 = "no id: 0 means 'unmatched' to pycocotools, so ids must start at 1"
_RENUMBER = offer("ids", "gives annotations numbers from 1")

#: Of an identity: how many of the lowest image ids are hashed by themselves.
FIRST_IDS = 128


@dataclasses.dataclass(frozen=True)
class Groundtruth:
    """The images, annotations and categories of a COCO annotation file.

    Attributes:
      path: the file.
      file: what was read of it, an `AnnotationFile`.
      image_hw: dict image id -> (height, width) in px.
      file_names: dict image id -> file name.
      categories: dict category id -> name, in ascending order of id.
      annotation_image_ids, annotation_category_ids: (A,) int64.
      annotation_crowd: (A,) bool.
      annotation_areas: (A,) float64, square pixels.
      annotation_boxes_xywh_px: (A, 4) float64; NaN where an annotation has no box.
    """

    path: pathlib.Path
    file: annotation_file.AnnotationFile = dataclasses.field(repr=False)
    image_hw: dict[int, tuple[int, int]]
    file_names: dict[int, str]
    categories: dict[int, str]
    annotation_image_ids: np.ndarray
    annotation_category_ids: np.ndarray
    annotation_crowd: np.ndarray
    annotation_areas: np.ndarray
    annotation_boxes_xywh_px: np.ndarray

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Groundtruth":
        """Reads COCO JSON (or `.json.gz`).

        Raises:
          UserError: no such file, not COCO JSON, or an annotation that refers to nothing.
        """
        path = pathlib.Path(path)
        file = annotation_file.read(path)
        file.need_annotations()
        file.check_ids()
        if (file.crowd == file.NOT_SAID).any():
            raise file.lacks("annotations", int(np.argmin(file.crowd)), "iscrowd")
        if not file.images or not file.categories:
            empty = "images" if not file.images else "categories"
            raise UserError(f"{path}: '{empty}' is empty; there is nothing to score")
        groundtruth = cls(
            path=path,
            file=file,
            image_hw={image.id: (image.height, image.width) for image in file.images},
            file_names={image.id: image.file_name or "" for image in file.images},
            categories={
                category.id: category.name for category in sorted(file.categories, key=_id)
            },
            annotation_image_ids=file.image_ids,
            annotation_category_ids=file.category_ids,
            annotation_crowd=file.crowd != 0,
            annotation_areas=file.areas_px,
            annotation_boxes_xywh_px=file.boxes_xywh_px,
        )
        groundtruth._check()
        return groundtruth

    def _check(self) -> None:
        """Refuses what the evaluators would score silently wrong."""
        file = self.file
        plausible.check(file)
        no_number = np.isnan(file.areas_px) | (
            file.has_box & np.isnan(file.boxes_xywh_px).any(axis=1)
        )
        # pycocotools marks an unmatched detection with groundtruth id 0.
        problems = (
            (~np.isin(file.image_ids, list(self.image_hw)), self._unknown_image),
            (~np.isin(file.category_ids, list(self.categories)), self._unknown_category),
            (file.ids == 0, lambda _: f"{_ID_0}. {_RENUMBER}"),
            (no_number, lambda _: "a box or area that is no number (null, NaN or Infinity)"),
        )
        for bad, what in problems:
            if bad.any():
                row = int(np.argmax(bad))
                raise UserError(
                    f"{self.path}: annotation {file.ids[row]} has {what(row)}. Mend the annotation "
                    "file"
                )
        if file.has_nan:
            raise UserError(
                f"{self.path}: has NaN or Infinity, which JSON does not have and the evaluators do "
                "not read. Mend the annotation file"
            )

    def _unknown_image(self, row: int) -> str:
        return f"image {self.file.image_ids[row]}, which is not in 'images'"

    def _unknown_category(self, row: int) -> str:
        return f"category {self.file.category_ids[row]}, which is not in 'categories'"

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's content (of a .gz: of what it holds)."""
        return self.file.content_sha256

    def as_coco(self) -> dict:
        """The whole file as Python objects, for an evaluator's own `COCO` class."""
        return json.loads(self.file.text)

    def figures(self) -> list[str]:
        """The kinds of figure ("bbox", "segm", "keypoints") that the annotations are there for."""
        annotations = self.as_coco()["annotations"]
        return [
            kind
            for kind, field in FIELDS.items()
            if any(annotation.get(field) for annotation in annotations)
        ]

    def identity(self, image_ids: list[int] | None = None) -> dict:
        """What is scored against, as `metrics.json` records it (see docs/scoring.md).

        Args:
          image_ids: ids of the images that are scored; default all of the file.
        """
        image_ids = list(self.image_hw) if image_ids is None else image_ids
        scored = np.isin(self.annotation_image_ids, image_ids)
        sizes = self.annotation_boxes_xywh_px[:, 2] * self.annotation_boxes_xywh_px[:, 3]
        box_areas = scored & np.isclose(self.annotation_areas, sizes, rtol=1e-4)
        return {
            "file": str(self.path),
            "sha256": self.sha256,
            "images": len(image_ids),
            "images_in_file": len(self.image_hw),
            "annotations": int(scored.sum()),
            "crowd_annotations": int((scored & self.annotation_crowd).sum()),
            "image_ids_sha256": ids_sha256(image_ids),
            "first_ids_sha256": ids_sha256(sorted(image_ids)[:FIRST_IDS]),
            "categories": len(self.categories),
            # Annotations whose area is width × height; COCO's areas are those of masks.
            "box_areas": int(box_areas.sum()),
            "content": self._content(scored),
        }

    def _content(self, scored: np.ndarray) -> dict[str, str]:
        """SHA-256 of each column of the scored annotations, in an order that is their own."""
        columns = {
            "boxes": self.annotation_boxes_xywh_px,
            "areas": self.annotation_areas,
            "crowds": self.annotation_crowd,
            "categories": self.annotation_category_ids,
        }
        keys = (*self.annotation_boxes_xywh_px.T, self.annotation_image_ids)
        order = np.lexsort(keys)
        order = order[scored[order]]
        return {
            name: hashlib.sha256(np.ascontiguousarray(column[order]).tobytes()).hexdigest()
            for name, column in columns.items()
        }


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a file; of a `.gz` what it holds.

    Raises:
      UserError: no such file, or not readable.
    """
    try:
        refuse_special(path)
        content = pathlib.Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not readable ({error})") from None


def _id(record: annotation_file.Category) -> int:
    return record.id
