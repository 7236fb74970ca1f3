"""The same checkpoint through the API's own evaluation: the same detections, the same metrics."""

import json
import operator
import pathlib

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate import score
from replicate.evaluate import events, results
from tests.evaluate.conftest import STEP, Case


def theirs(case, folder, monkeypatch):
    """Metrics, detections and groundtruth of the API's loop; the same of masks as `mask_…`."""
    from object_detection import inputs, model_lib_v2
    from object_detection.metrics import coco_evaluation

    kept = {}
    evaluate = coco_evaluation.CocoDetectionEvaluator.evaluate
    evaluate_masks = coco_evaluation.CocoMaskEvaluator.evaluate

    def keeping(self):
        kept["detections"] = list(self._detection_boxes_list)
        kept["groundtruth"] = list(self._groundtruth_list)
        kept["metrics"] = evaluate(self)
        return kept["metrics"]

    def keeping_masks(self):
        kept["mask_detections"] = list(self._detection_masks_list)
        kept["mask_groundtruth"] = list(self._groundtruth_list)
        kept["mask_metrics"] = evaluate_masks(self)
        return kept["mask_metrics"]

    monkeypatch.setattr(coco_evaluation.CocoDetectionEvaluator, "evaluate", keeping)
    monkeypatch.setattr(coco_evaluation.CocoMaskEvaluator, "evaluate", keeping_masks)
    model_lib_v2.eval_continuously(
        pipeline_config_path=str(case.config_path),
        model_dir=str(folder),
        checkpoint_dir=str(case.checkpoint_dir),
        train_steps=STEP,
        wait_interval=0,
        timeout=1,
    )
    ids = score.Groundtruth.read(case.annotations_file).image_hw
    hashes = tf.strings.to_hash_bucket_fast([str(each) for each in ids], inputs.HASH_BINS)
    id_of = dict(zip(hashes.numpy().tolist(), ids, strict=True))
    for name in kept:
        if not name.endswith("metrics"):
            kept[name] = [each | {"image_id": id_of[each["image_id"]]} for each in kept[name]]
    return kept


def same_detections(ours, theirs):
    """Asserts that each detection of one has its like in the other."""
    assert len(ours) == len(theirs) > 20
    columns = [
        np.array(
            [[each["image_id"], each["category_id"], each["score"], *each["bbox"]] for each in side]
        )
        for side in (ours, theirs)
    ]
    # What is compared lies on scales of one: an image's or class's number, a score, a pixel.
    for a, b in (columns, columns[::-1]):
        apart = np.abs(a[:, np.newaxis] - b) / [1, 1, 1e-2, 1, 1, 1, 1]
        assert apart.max(axis=2).min(axis=1).max() < 1e-3


def same_masks(ours, theirs):
    """Asserts that each mask of one is that of the same image's same score in the other."""
    for image_id in {each["image_id"] for each in ours}:
        one, other = (
            sorted(
                (each for each in side if each["image_id"] == image_id),
                key=operator.itemgetter("score"),
            )
            for side in (ours, theirs)
        )
        for a, b in zip(one, other, strict=True):
            assert a["score"] == pytest.approx(b["score"], rel=1e-5)
            overlap = coco_mask.iou([a["segmentation"]], [b["segmentation"]], [0]).item()
            assert overlap > 0.999 or not coco_mask.area(a["segmentation"])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "family",
    [
        "ssd",
        pytest.param("faster_rcnn", marks=pytest.mark.slow),
        pytest.param("centernet", marks=pytest.mark.slow),
        pytest.param("mask_rcnn", marks=pytest.mark.slow),
    ],
)
def test_the_same_detections_and_the_same_metrics(family, request, tmp_path, monkeypatch):
    if family == "ssd":
        case = request.getfixturevalue("ssd")
    else:
        # With per-category metrics the API's evaluator wants a pycocotools of its own.
        without = [("eval_config.include_metrics_per_category", "false")]
        case = Case(tmp_path / "case", family, without)
        case.make_objects()
    evaluation = case.evaluation(batch_size=4)
    evaluation.restore(str(case.checkpoint_dir))
    ours = [each for found in evaluation.by_image(progress=False) for each in found.as_results()]
    path = tmp_path / "detections.json.gz"
    _, result = results.write(evaluation, path, progress=False)
    api = theirs(case, tmp_path / "theirs", monkeypatch)
    same_detections(ours, api["detections"])

    assert any(each["iscrowd"] for each in api["groundtruth"])
    assert len(api["groundtruth"]) == len(result.groundtruth.annotation_areas)
    assert 0.05 < result.metrics["AP"] < 0.95
    same_metrics(result, api["metrics"])
    if family == "mask_rcnn":
        same_masks(ours, api["mask_detections"])
        # The API's groundtruth is resized to the model's input and back, ours is the file's.
        document = json.loads(pathlib.Path(case.annotations_file).read_text())
        resized = tmp_path / "resized.json"
        document["annotations"] = [
            each | {"iscrowd": int(each["iscrowd"])} for each in api["mask_groundtruth"]
        ]
        resized.write_text(json.dumps(document, default=lambda value: value.item()))
        (masks,) = results.beside_boxes(case.config, resized, path)
        same_metrics(masks, api["mask_metrics"])
        (masks,) = results.beside_boxes(case.config, case.annotations_file, path)
        assert masks.metrics["AP"] > api["mask_metrics"]["DetectionMasks_Precision/mAP"] > 0


def same_metrics(ours, theirs):
    """Asserts that a `score.Result` says what the API's evaluator says."""
    for name, tag in events.TAGS[ours.iou_type].items():
        value = -1 if ours.metrics[name] is None else ours.metrics[name]
        assert value == pytest.approx(theirs[tag], abs=1e-6), name
