"""Detections scored image by image as they come, with the figures of a score of all at once."""

import collections
import contextlib
import io
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from replicate.errors import UserError
from replicate.score import evaluators
from replicate.score.detections import Detections
from replicate.score.groundtruth import Groundtruth
from replicate.score.scoring import Result, judged


class Stream:
    """Scores boxes image by image.

    Both evaluators match each image's detections when they are added; `result` accumulates.
    Of the detections, columns are kept, 56 bytes each. Unlike `score`, which reads files of any
    origin, it takes boxes, sizes and ids for what they should be.

        stream = Stream("instances_val2017.json")
        stream.add(139, category_ids, boxes_xywh_px, scores)   # for each image
        result = stream.result()

    Args:
      annotations_file: path of COCO instance annotations, `.json` or `.json.gz`.

    Raises:
      UserError: they are not what they should be.
    """

    def __init__(self, annotations_file: str | os.PathLike) -> None:
        from tfrecords.hotcoco_loaded import hotcoco

        self._groundtruth = Groundtruth.read(annotations_file)
        truth = self._groundtruth.as_coco()
        self._objects = collections.defaultdict(list)
        for annotation in truth["annotations"]:
            self._objects[annotation["image_id"]].append(annotation)
        self._hotcoco = hotcoco.StreamingEval(truth["categories"], iou_type="bbox")
        self._pycocotools = _Pycocotools(truth["categories"])
        self._rows: list[np.ndarray] = []
        self._added: set[int] = set()

    def add(
        self,
        image_id: int,
        category_ids: Sequence[int] | np.ndarray,
        boxes_xywh_px: np.ndarray,
        scores: Sequence[float] | np.ndarray,
    ) -> None:
        """Takes the detections of one image, all of them.

        Args:
          image_id: one of the annotation file's.
          category_ids: (N,), of the annotation file's.
          boxes_xywh_px: (N, 4).
          scores: (N,).

        Raises:
          UserError: a score or box that is no finite number; an image added before or unknown; a
            category that the file does not have.
        """
        if image_id in self._added or image_id not in self._groundtruth.image_hw:
            what = "was added before" if image_id in self._added else "is not in the file"
            raise UserError(f"{self._groundtruth.path}: image {image_id} {what}")
        rows = np.empty((len(scores), 7), np.float64)
        rows[:, 0], rows[:, 1:5], rows[:, 5], rows[:, 6] = (
            image_id,
            boxes_xywh_px,
            scores,
            category_ids,
        )
        if not math.isfinite(rows.sum()):
            raise UserError(
                f"image {image_id}: a detection has a score or box that is no finite number (NaN "
                "or infinite); are the weights finite? Evaluate an earlier checkpoint"
            )
        objects = self._objects.pop(image_id, [])
        try:
            self._hotcoco.update([{"id": image_id}], objects, rows)
        except KeyError as error:
            raise UserError(
                f"{self._groundtruth.path}: image {image_id}: {error.args[0]}; detections must be "
                "of the file's categories"
            ) from None
        self._pycocotools.update(image_id, objects, rows)
        self._added.add(image_id)
        self._rows.append(rows)

    def result(self, file: str | None = None, sha256: str = "") -> Result:
        """The metrics over all images of the file; those never added had no detections.

        Args:
          file, sha256: where the detections were written and the hash of that, for the record.

        Returns:
          Result, as `score` gives it for the same detections.

        Raises:
          UserError, EvaluatorsDisagree: as `score`.
        """
        truth = self._groundtruth
        for image_id in truth.image_hw:
            if image_id not in self._added:
                self.add(image_id, [], np.empty((0, 4)), [])
        rows = np.concatenate(self._rows)
        detections = Detections(
            image_ids=rows[:, 0].astype(np.int64),
            category_ids=rows[:, 6].astype(np.int64),
            scores=rows[:, 5].copy(),
            shapes=rows[:, 1:5].copy(),
            iou_type="bbox",
            file=file,
            sha256=sha256,
        )
        matched = {
            "hotcoco": self._hotcoco.finalize(),
            "pycocotools": self._pycocotools.finalize(),
        }
        evaluations = {
            name: evaluators.finished(name, handle, "bbox") for name, handle in matched.items()
        }
        return judged(truth, detections, sorted(truth.image_hw), evaluations)


class _Pycocotools:
    """pycocotools' own `evaluate`, called for one image at a time.

    It matches within an image and a category alone, so that its results for all images are those
    of each, in the order of the images' ids. Kept is what `accumulate` reads.
    """

    _READ = ("dtScores", "dtMatches", "dtIgnore", "gtIgnore")

    def __init__(self, categories: list[dict]) -> None:
        self._categories = categories
        self._matched: dict[int, list] = {}

    def update(self, image_id: int, objects: list[dict], rows: np.ndarray) -> None:
        """Matches `rows`, columns image_id, x, y, w, h, score, category_id."""
        detections = [
            {
                "id": number,
                "image_id": image_id,
                "category_id": int(category_id),
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
                "score": score,
            }
            for number, (_, x, y, w, h, score, category_id) in enumerate(rows.tolist(), 1)
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = self._evaluation(
                self._coco(image_id, objects), self._coco(image_id, detections)
            )
            evaluation.evaluate()
        self._matched[image_id] = [
            matched and {name: matched[name] for name in self._READ}
            for matched in evaluation.evalImgs
        ]

    def finalize(self) -> Any:
        """A COCOeval in which every image has been matched."""
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = self._evaluation(self._coco(0, []), self._coco(0, []))
            evaluation.evaluate()
        image_ids = sorted(self._matched)
        evaluation.params.imgIds = evaluation._paramsEval.imgIds = image_ids
        of_images = [self._matched.pop(image_id) for image_id in image_ids]
        # By category, then range of areas, then image, as `evaluate` leaves them.
        evaluation.evalImgs = [image for of_all in zip(*of_images, strict=True) for image in of_all]
        return evaluation

    @staticmethod
    def _evaluation(truth: Any, detections: Any) -> Any:
        from pycocotools.cocoeval import COCOeval

        return COCOeval(truth, detections, "bbox")

    def _coco(self, image_id: int, annotations: list[dict]) -> Any:
        from pycocotools.coco import COCO

        coco = COCO()
        coco.dataset = {
            "images": [{"id": image_id}],
            "annotations": annotations,
            "categories": self._categories,
        }
        coco.createIndex()
        return coco
