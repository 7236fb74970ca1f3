"""Detections as columns: from a COCO results file or from a list of dicts."""

import collections
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec
import numpy as np

from replicate.errors import UserError
from replicate.score import not_results
from replicate.score.cut import lowest_cut
from replicate.score.groundtruth import FIELDS, read_bytes
from tfrecords import json_text
from tfrecords.not_coco import shown


class _Rle(msgspec.Struct, gc=False):
    size: tuple[int, int]
    counts: str

    def as_dict(self) -> dict:
        return {"size": list(self.size), "counts": self.counts}


_TYPES = {
    "bbox": tuple[float, float, float, float],
    "segm": _Rle,
    "keypoints": list[float],
}
_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_STRUCTS = {
    iou_type: msgspec.defstruct(
        f"Result_{iou_type}",
        [("image_id", _Id), ("category_id", _Id), ("score", float), (field, _TYPES[iou_type])],
        gc=False,
    )
    for iou_type, field in FIELDS.items()
}


@dataclasses.dataclass(frozen=True)
class Detections:
    """N detections as columns.

    Attributes:
      image_ids, category_ids: (N,) int64.
      scores: (N,) float64.
      shapes: what is located: of "bbox" a (N, 4) float64 array of boxes_xywh_px, of "segm" a
        list of N compressed RLEs ({"size": [h, w], "counts": …}), of "keypoints" a list of N
        flat lists x, y, v in px.
      iou_type: "bbox", "segm" or "keypoints".
      file: where they came from, or None.
      sha256: of the file's content, or of the columns where there is no file.
      places: (N,) where each stood among the detections as they were given; None: all, in order.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    scores: np.ndarray
    shapes: np.ndarray | list
    iou_type: str
    file: str | None = None
    sha256: str = ""
    places: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.image_ids)

    @classmethod
    def of(
        cls, detections: "Detections | str | os.PathLike | Iterable[dict]", iou_type: str
    ) -> "Detections":
        """From a path to COCO results JSON (`.json`, `.json.gz`), or a list of such dicts.

        Raises:
          UserError: not COCO results of this kind; the message names the first wrong record.
        """
        if isinstance(detections, cls):
            return detections
        if isinstance(detections, (str, os.PathLike)):
            return cls._from_file(detections, iou_type)
        return cls._from_dicts(list(detections), iou_type, "detections")

    @classmethod
    def _from_file(cls, path: str | os.PathLike, iou_type: str) -> "Detections":
        try:
            return cls._from_bytes(read_bytes(path), path, iou_type)
        except RecursionError:
            raise UserError(f"{path}: nested too deeply; COCO results are a flat list") from None

    @classmethod
    def _from_bytes(cls, raw: bytes, path: str | os.PathLike, iou_type: str) -> "Detections":
        origin = {"file": str(path), "sha256": hashlib.sha256(raw).hexdigest()}
        try:
            raw = json_text.utf8(raw)
        except json_text.OtherEncoding as error:
            raise UserError(f"{path}: {error}") from None
        try:
            records = msgspec.json.decode(raw, type=list[_STRUCTS[iou_type]])
        except msgspec.DecodeError:
            # NaN (which JSON does not have but Python writes) or a wrong record: say which.
            try:
                records = json.loads(raw)
            except ValueError as error:
                raise UserError(f"{path}: {not_results.of_text(raw, error)}") from None
            if not isinstance(records, list):
                raise UserError(f"{path}: {not_results.of_document(records)}") from None
            return dataclasses.replace(cls._from_dicts(records, iou_type, str(path)), **origin)
        count, field = len(records), FIELDS[iou_type]
        shapes = [getattr(record, field) for record in records]
        if iou_type == "segm":
            shapes = [rle.as_dict() for rle in shapes]
        return cls(
            image_ids=np.fromiter((record.image_id for record in records), np.int64, count),
            category_ids=np.fromiter((record.category_id for record in records), np.int64, count),
            scores=np.fromiter((record.score for record in records), np.float64, count),
            shapes=_as_boxes(shapes) if iou_type == "bbox" else shapes,
            iou_type=iou_type,
            **origin,
        )

    @classmethod
    def _from_dicts(cls, records: list, iou_type: str, name: str) -> "Detections":
        field = FIELDS[iou_type]

        def column(key: str, convert: Callable[[Any], Any]) -> list:
            values = []
            for index, record in enumerate(records):
                try:
                    values.append(convert(record[key]))
                except KeyError:
                    others = [_KIND_OF[key] for key in _KIND_OF if key in record]
                    kind = others[0] if others and key == field else None
                    raise UserError(
                        f"{name}: detection {index} has no '{key}'"
                        + (f", which a score of {iou_type} needs" if key == field else "")
                        + (f"; --iou_type={kind} scores what it has" if kind else "")
                    ) from None
                except (TypeError, ValueError):
                    if not isinstance(record, dict):
                        raise UserError(
                            f"{name}: detection {index} is {shown(record)}, expected "
                            f"an object of image_id, category_id, {field} and score"
                        ) from None
                    raise UserError(
                        f"{name}: detection {index}: '{key}' is {shown(record[key])}, "
                        f"expected {_EXPECTED[key]}" + not_results.way_on(key, record[key])
                    ) from None
            return values

        shapes = column(field, _CONVERT[field])
        columns = {
            "image_ids": np.array(column("image_id", _integer), np.int64),
            "category_ids": np.array(column("category_id", _integer), np.int64),
            "scores": np.array(column("score", _number), np.float64),
            "shapes": _as_boxes(shapes) if iou_type == "bbox" else shapes,
        }
        digest = hashlib.sha256()
        for key in ("image_ids", "category_ids", "scores"):
            digest.update(columns[key].tobytes())
        digest.update(columns["shapes"].tobytes() if iou_type == "bbox" else repr(shapes).encode())
        return cls(**columns, iou_type=iou_type, sha256=digest.hexdigest())

    def select(self, keep: np.ndarray) -> "Detections":
        """The detections where `keep` (a mask or indices) says so."""
        shapes = self.shapes
        places = np.arange(len(self)) if self.places is None else self.places
        if isinstance(shapes, np.ndarray):
            shapes = shapes[keep]
        else:
            shapes = [shapes[i] for i in np.arange(len(self))[keep]]
        return dataclasses.replace(
            self,
            image_ids=self.image_ids[keep],
            category_ids=self.category_ids[keep],
            scores=self.scores[keep],
            shapes=shapes,
            places=places[keep],
        )

    def as_dicts(self) -> list[dict]:
        """As a list of COCO results with the one field that this kind of score reads."""
        field = FIELDS[self.iou_type]
        shapes = self.shapes.tolist() if isinstance(self.shapes, np.ndarray) else self.shapes
        return [
            {"image_id": image, "category_id": category, field: shape, "score": score}
            for image, category, shape, score in zip(
                self.image_ids.tolist(),
                self.category_ids.tolist(),
                shapes,
                self.scores.tolist(),
                strict=True,
            )
        ]

    def facts(self, image_ids: Iterable[int]) -> dict:
        """Size and signs of post-processing, as `metrics.json` records them.

        Args:
          image_ids: ids of the images that are scored.
        """
        per_image = collections.Counter(self.image_ids.tolist())
        counts = np.array([per_image.get(image_id, 0) for image_id in image_ids])
        cap = _cap(counts)
        threshold = self._score_threshold(counts, cap or 100)
        return {
            "file": self.file,
            "sha256": self.sha256,
            "count": len(self),
            "images": int((counts > 0).sum()),
            "max_per_image": int(counts.max(initial=0)),
            "min_score": float(self.scores.min()) if len(self) else None,
            "score_threshold": threshold,
            "score_threshold_from": None if threshold is None else lowest_cut(self.scores),
            "cap_per_image": cap,
            "whole_pixels": self._whole_pixels(),
        }

    def _whole_pixels(self) -> bool:
        """Whether boxes were rounded: a detector's own do not all lie on whole pixels."""
        if self.iou_type != "bbox" or len(self) < 10:
            return False
        return bool((self.shapes == np.floor(self.shapes)).all())

    def _score_threshold(self, counts: np.ndarray, places: int) -> float | None:
        """The score that detections were cut below, at the most (`score.cut` has from where on);
        None where there is no sign of a cut.

        A detector's own post-processing fills its 100 places (or as many as it was capped at) with
        scores down to nearly zero. Cut at a threshold, images keep fewer and none of what is left
        scores low.
        """
        if len(self) < 10:
            return None
        lowest, highest = float(self.scores.min()), float(self.scores.max())
        if highest > 1 or lowest == highest:
            return None  # no probabilities, or no ranking: what is low cannot be told
        unfilled = float((counts < places).mean())
        return lowest if lowest >= LOW_SCORE and unfilled >= 0.1 else None


# Detections of the zoo's models go down to about 1e-8 (their `score_threshold`); the deployment
# thresholds that were met are 0.05 and above.
LOW_SCORE = 0.01
#: By how much the lowest score may lie above the threshold that detections were cut at.
CUT_TOLERANCE = 0.01


def _cap(counts: np.ndarray) -> int | None:
    """The number of detections an image was capped at, below COCO's 100, or None.

    A cap shows as a heap at the largest count: at least three images hold exactly as many, and
    more than twice as many images as hold one fewer.
    """
    most = counts.max(initial=0)
    at_most, one_fewer = int((counts == most).sum()), int((counts == most - 1).sum())
    heap = at_most >= max(3, 2 * (one_fewer + 1))
    return int(most) if 0 < most < 100 and heap else None


def _as_boxes(boxes: list) -> np.ndarray:
    return np.array(boxes, np.float64).reshape(len(boxes), 4)


def _number(value: Any) -> float:
    if isinstance(value, (bool, str, bytes)):
        raise TypeError
    return float(value)


def _integer(value: Any) -> int:
    if int(_number(value)) != value or not -(2**63) <= value < 2**63:
        raise ValueError
    return int(value)


def _box(value: Any) -> tuple[float, float, float, float]:
    x, y, width, height = (_number(number) for number in value)
    return x, y, width, height


def _rle(value: Any) -> dict:
    if not (isinstance(value, dict) and isinstance(value.get("counts"), (str, bytes))):
        raise TypeError
    height, width = (_integer(side) for side in value["size"])
    return {"size": [height, width], "counts": value["counts"]}


_CONVERT = {
    "bbox": _box,
    "segmentation": _rle,
    "keypoints": lambda value: [_number(number) for number in value],
}
_KIND_OF = {field: kind for kind, field in FIELDS.items()}
_EXPECTED = {
    "image_id": "a whole number",
    "category_id": "a whole number",
    "score": "a number",
    "bbox": "four numbers [x, y, width, height] in pixels",
    "segmentation": "a compressed RLE {'size': [height, width], 'counts': '…'}",
    "keypoints": "a flat list of numbers x, y, v for each keypoint",
}
