"""A COCO annotation file: what is in it, checked, and how its identity is told."""

import dataclasses
import functools
import gzip
import hashlib
import json
import pathlib

import msgspec
import numpy as np

from replicate.errors import UserError

#: The field of an annotation, and of a COCO result, that each kind of evaluation reads. Of a result
#: the others are left out, so that pycocotools takes the area of a mask from the mask and not from
#: a box that came with it.
FIELDS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}


class _Image(msgspec.Struct, gc=False):
    id: int
    width: int
    height: int
    file_name: str = ""


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    area: float
    iscrowd: int
    bbox: tuple[float, float, float, float] = ()


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclasses.dataclass(frozen=True)
class Groundtruth:
    """The images, annotations and categories of a COCO annotation file.

    Attributes:
      path: the file.
      raw: its content, decompressed.
      image_hw: dict image id -> (height, width) in px.
      file_names: dict image id -> file name.
      categories: dict category id -> name, in ascending order of id.
      annotation_image_ids, annotation_category_ids: (A,) int64.
      annotation_crowd: (A,) bool.
      annotation_areas: (A,) float64, square pixels.
      annotation_boxes_xywh_px: (A, 4) float64; NaN where an annotation has no box.
    """

    path: pathlib.Path
    raw: bytes = dataclasses.field(repr=False)
    image_hw: dict
    file_names: dict
    categories: dict
    annotation_image_ids: np.ndarray
    annotation_category_ids: np.ndarray
    annotation_crowd: np.ndarray
    annotation_areas: np.ndarray
    annotation_boxes_xywh_px: np.ndarray

    @classmethod
    def read(cls, path):
        """Reads COCO JSON (or `.json.gz`).

        Raises:
          UserError: no such file, not COCO JSON, or an annotation that refers to nothing.
        """
        path = pathlib.Path(path)
        raw = read_bytes(path)
        try:
            data = msgspec.json.decode(raw, type=_Instances)
        except msgspec.DecodeError as error:
            raise UserError(_what_is_wrong(path, raw, error)) from None
        if not data.images or not data.categories:
            empty = "images" if not data.images else "categories"
            raise UserError(f"{path}: '{empty}' is empty; there is nothing to score")
        annotations = data.annotations
        count = len(annotations)
        none = (float("nan"),) * 4
        groundtruth = cls(
            path=path,
            raw=raw,
            image_hw={each.id: (each.height, each.width) for each in data.images},
            file_names={each.id: each.file_name for each in data.images},
            categories={each.id: each.name for each in sorted(data.categories, key=_id)},
            annotation_image_ids=np.fromiter((a.image_id for a in annotations), np.int64, count),
            annotation_category_ids=np.fromiter(
                (a.category_id for a in annotations), np.int64, count
            ),
            annotation_crowd=np.fromiter((a.iscrowd != 0 for a in annotations), bool, count),
            annotation_areas=np.fromiter((a.area for a in annotations), float, count),
            annotation_boxes_xywh_px=np.array([a.bbox or none for a in annotations], float).reshape(
                count, 4
            ),
        )
        groundtruth._check(data)
        return groundtruth

    def _check(self, data):
        """Refuses what the evaluators would score silently wrong."""
        for name, records, distinct in (
            ("images", data.images, len(self.image_hw)),
            ("categories", data.categories, len(self.categories)),
            ("annotations", data.annotations, len({each.id for each in data.annotations})),
        ):
            if distinct != len(records):
                raise UserError(
                    f"{self.path}: {len(records) - distinct} of {len(records)} {name} repeat the "
                    "id of another; ids must be unique. Renumber them"
                )
        for annotation in data.annotations:
            if annotation.image_id not in self.image_hw:
                what = f"image {annotation.image_id}, which is not in 'images'"
            elif annotation.category_id not in self.categories:
                what = f"category {annotation.category_id}, which is not in 'categories'"
            elif annotation.id == 0:
                # pycocotools marks an unmatched detection with groundtruth id 0.
                what = "no id: 0 means 'unmatched' to pycocotools, so ids must start at 1"
            else:
                continue
            raise UserError(
                f"{self.path}: annotation {annotation.id} has {what}. Mend the annotation file"
            )

    @functools.cached_property
    def sha256(self):
        """SHA-256 of the file's content (of a .gz: of what it holds)."""
        return hashlib.sha256(self.raw).hexdigest()

    def as_coco(self):
        """The whole file as Python objects, for an evaluator's own `COCO` class."""
        return json.loads(self.raw)

    def figures(self):
        """The kinds of figure ("bbox", "segm", "keypoints") that the annotations are there for."""
        annotations = self.as_coco()["annotations"]
        return [
            kind for kind, field in FIELDS.items() if any(each.get(field) for each in annotations)
        ]

    def identity(self, image_ids=None):
        """What is scored against, as `metrics.json` records it (see docs/scoring.md).

        Args:
          image_ids: ids of the images that are scored; default all of the file.
        """
        image_ids = list(self.image_hw) if image_ids is None else image_ids
        scored = np.isin(self.annotation_image_ids, image_ids)
        return {
            "file": str(self.path),
            "sha256": self.sha256,
            "images": len(image_ids),
            "images_in_file": len(self.image_hw),
            "annotations": int(scored.sum()),
            "crowd_annotations": int((scored & self.annotation_crowd).sum()),
            "image_ids_sha256": ids_sha256(image_ids),
            "categories": len(self.categories),
        }


def ids_sha256(ids):
    """SHA-256 of a set of ids: the decimal ids, ascending, a newline after each."""
    return hashlib.sha256("".join(f"{each}\n" for each in sorted(ids)).encode()).hexdigest()


def read_bytes(path):
    """The content of a file; of a `.gz` what it holds.

    Raises:
      UserError: no such file, or not readable.
    """
    try:
        content = pathlib.Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: not readable ({error})") from None


def _id(record):
    return record.id


def _what_is_wrong(path, raw, error):
    try:
        data = json.loads(raw)
    except ValueError:
        return f"{path}: not JSON ({error}); is it a complete download?"
    if isinstance(data, list):
        return (
            f"{path}: a list, like COCO results; --annotations_file is the groundtruth, a JSON "
            "object with 'images', 'annotations' and 'categories'"
        )
    absent = [key for key in ("images", "annotations", "categories") if key not in data]
    if absent:
        return (
            f"{path}: no {' and no '.join(map(repr, absent))} in it; COCO instance annotations "
            "(instances_val2017.json) have 'images', 'annotations' and 'categories' "
            "(image_info files of the test sets have no annotations: they cannot be scored here)"
        )
    return f"{path}: not COCO instance annotations: {error}"
