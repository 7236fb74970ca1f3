"""Real detections, and a second evaluation of each protocol: pycocotools on changed files."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest

from replicate.explain import from_model

#: Images that `measured` is measured on.
IMAGES = 24
MODELS = ("ssd_mobilenet_v2", "ssd_mobilenet_v2_fpnlite_640x640", "ssd_mobilenet_v3_small")


@pytest.fixture(scope="session")
def val128(shared):
    """Path of the annotations of 128 images."""
    return shared / "coco" / "val128" / "instances_val128.json"


@pytest.fixture(scope="session")
def real(shared, val128):
    """dict model -> its detections on the 128 images."""
    ids = {each["id"] for each in json.loads(val128.read_text())["images"]}
    folder = shared / "coco" / "results"
    return {
        name: [
            each
            for each in json.loads((folder / f"{name}.json").read_text())
            if each["image_id"] in ids
        ]
        for name in MODELS
    }


@pytest.fixture(scope="session")
def pooled(real, val128):
    """The three models' detections in one list, as a detector without a score threshold writes.

    The models' own files are cut at a score of 0.5 and hold few boxes an image. Here scores reach
    down to 0.004, and every third box is told a second time as another category.
    """
    ids = [each["id"] for each in json.loads(val128.read_text())["categories"]]
    detections = []
    for number, each in enumerate(each for name in MODELS for each in real[name]):
        detections.append(each | {"score": each["score"] ** 8})
        if number % 3 == 0:
            other = ids[(ids.index(each["category_id"]) + 1) % len(ids)]
            detections.append(each | {"category_id": other, "score": each["score"] ** 8 / 2})
    return detections


@pytest.fixture(scope="session")
def detector(shared, val128):
    """(model, annotations, images, labels) of a trained detector."""
    models, images = shared / "models", shared / "coco" / "val128" / "val2017"
    return str(models / "detect.tflite"), val128, images, str(models / "labelmap.txt")


@pytest.fixture(scope="session")
def measured(detector):
    """What some changes of its pipeline cost, as explain/model.json."""
    model, annotations, images, labels = detector
    return from_model(
        *(model, annotations, images),
        num_images=IMAGES,
        labels=labels,
        samples=0,
        only=["decoder", "EXIF orientation", "resize", "suppression", "score threshold"],
    )


class Pycocotools:
    """pycocotools' evaluation of detections against annotations, both free to be changed.

    Args:
      truth: COCO annotations as a dict; a copy is taken.
      detections: list of COCO results; a copy is taken.
    """

    def __init__(self, truth, detections, iou_type="bbox"):
        self.truth = copy.deepcopy(truth)
        self.detections = copy.deepcopy(detections)
        self.iou_type = iou_type

    def evaluation(self, **params):
        """The COCOeval after `accumulate`, with other parameters where given."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = self.truth
            coco.createIndex()
            field = "bbox" if self.iou_type == "bbox" else "segmentation"
            found = [
                {key: each[key] for key in ("image_id", "category_id", "score", field)}
                for each in self.detections
            ]
            evaluation = COCOeval(coco, coco.loadRes(found), self.iou_type)
            for name, value in params.items():
                setattr(evaluation.params, name, value)
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation

    def figures(self, **params):
        """AP, AP50, AR@100 (at the largest number of detections), and APs."""
        if not self.detections:
            return {"AP": 0.0, "AP50": 0.0, "AR@100": 0.0}
        evaluation = self.evaluation(**params)
        precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
        return {
            "AP": mean(precision[:, :, :, 0, -1]),
            "AP50": mean(precision[0, :, :, 0, -1]),
            "AR@100": mean(recall[:, :, 0, -1]),
            "APs": mean(precision[:, :, :, 1, -1]),
        }


def mean(values):
    """pycocotools' mean: of what is defined."""
    values = np.asarray(values)
    return float(values[values > -1].mean())
