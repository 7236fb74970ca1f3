"""Detections scored image by image as they come, with the figures of a score of all at once."""

import collections
import math

import numpy as np

from replicate.errors import UserError
from replicate.score import evaluators
from replicate.score.detections import Detections
from replicate.score.groundtruth import Groundtruth
from replicate.score.scoring import judged


class Stream:
    """Scores boxes image by image.

    hotcoco matches each image's detections when they are added. pycocotools, the official word,
    has no such way; its turn comes in `result`. Until then detections are held as columns, 56
    bytes each. Unlike `score`, which reads files of any origin, it takes boxes, sizes and ids for
    what they should be.

        stream = Stream("instances_val2017.json")
        stream.add(139, category_ids, boxes_xywh_px, scores)   # for each image
        result = stream.result()

    Args:
      annotations_file: path of COCO instance annotations, `.json` or `.json.gz`.

    Raises:
      UserError: they are not what they should be.
    """

    def __init__(self, annotations_file):
        from hotcoco import StreamingEval

        self._groundtruth = Groundtruth.read(annotations_file)
        truth = self._groundtruth.as_coco()
        self._objects = collections.defaultdict(list)
        for annotation in truth["annotations"]:
            self._objects[annotation["image_id"]].append(annotation)
        self._matching = StreamingEval(truth["categories"], iou_type="bbox")
        self._rows = []
        self._added = set()

    def add(self, image_id, category_ids, boxes_xywh_px, scores):
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
        try:
            self._matching.update([{"id": image_id}], self._objects.pop(image_id, []), rows)
        except KeyError as error:
            raise UserError(
                f"{self._groundtruth.path}: image {image_id}: {error.args[0]}; detections must be "
                "of the file's categories"
            ) from None
        self._added.add(image_id)
        self._rows.append(rows)

    def result(self, file=None, sha256=""):
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
        image_ids = sorted(truth.image_hw)
        streamed = evaluators.finished("hotcoco", self._matching.finalize(), "bbox")
        official = evaluators.evaluate("pycocotools", truth, detections, image_ids)
        evaluations = {"hotcoco": streamed, "pycocotools": official}
        return judged(truth, detections, [], image_ids, evaluations)
