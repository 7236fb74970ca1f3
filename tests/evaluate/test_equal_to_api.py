"""The same checkpoint through the API's own evaluation: the same detections, the same metrics."""

import numpy as np
import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate import score
from replicate.evaluate import events, results
from tests.evaluate.conftest import STEP, Case


def theirs(case, folder, monkeypatch):
    """Metrics, {image id: (classes, boxes_xywh_px, scores)} and groundtruth of the API's loop."""
    from object_detection import inputs, model_lib_v2
    from object_detection.metrics import coco_evaluation

    kept = {}
    evaluate = coco_evaluation.CocoDetectionEvaluator.evaluate

    def keeping(self):
        kept["detections"] = list(self._detection_boxes_list)
        kept["groundtruth"] = list(self._groundtruth_list)
        kept["metrics"] = evaluate(self)
        return kept["metrics"]

    monkeypatch.setattr(coco_evaluation.CocoDetectionEvaluator, "evaluate", keeping)
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
    for name in ("detections", "groundtruth"):
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


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "family",
    [
        "ssd",
        pytest.param("faster_rcnn", marks=pytest.mark.slow),
        pytest.param("centernet", marks=pytest.mark.slow),
    ],
)
def test_the_same_detections_and_the_same_metrics(family, request, tmp_path, monkeypatch):
    if family == "ssd":
        case = request.getfixturevalue("ssd")
    else:
        case = Case(tmp_path / "case", family)
        case.make_objects()
    evaluation = case.evaluation(batch_size=4)
    evaluation.restore(str(case.checkpoint_dir))
    ours = [each for found in evaluation.found(progress=False) for each in found.as_results()]
    _, result = results.write(evaluation, tmp_path / "detections.json.gz", progress=False)
    api = theirs(case, tmp_path / "theirs", monkeypatch)
    same_detections(ours, api["detections"])

    assert any(each["iscrowd"] for each in api["groundtruth"])
    assert len(api["groundtruth"]) == len(result.groundtruth.annotation_areas)
    assert 0.05 < result.metrics["AP"] < 0.95
    for name, tag in events.TAGS.items():
        value = -1 if result.metrics[name] is None else result.metrics[name]
        assert value == pytest.approx(api["metrics"][tag], abs=1e-6), name
