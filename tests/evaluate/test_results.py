"""Detections written and scored while they are made."""

import contextlib
import gzip
import io
import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from replicate import config, odapi, score
from replicate.errors import UserError

odapi.load()

import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from replicate.evaluate import detections, events, results
from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator
from replicate.run import RunDir, read_json, write_json
from tests.evaluate.conftest import Case


def test_the_file_holds_what_was_scored(ssd, tmp_path):
    evaluation = ssd.evaluation(batch_size=3)
    expected, prefix = evaluation.detect(str(ssd.checkpoint_dir), progress=False)
    assert prefix.endswith("ckpt-7")
    path = tmp_path / "detections.json.gz"
    count, result = results.write(evaluation, path, progress=False)
    written = read_json(path)
    assert count == len(written) == len(expected) > 100
    assert written == expected
    again = score.score(ssd.annotations_file, str(path))
    assert result.metrics == again.metrics
    assert result.to_json() == again.to_json()
    first = path.read_bytes()
    results.write(evaluation, path, progress=False)
    assert path.read_bytes() == first, "the same detections, the same bytes"
    plain = tmp_path / "detections.json"
    assert results.write(evaluation, plain, scored=False, progress=False) == (count, None)
    assert json.loads(plain.read_text()) == expected


@pytest.mark.parametrize("empty", [(), (1,), (1, 2, 3)])
def test_images_without_detections(empty, tmp_path):
    class Evaluation:
        def by_image(self, progress):
            for image_id in (1, 2, 3):
                number = 0 if image_id in empty else 2
                yield detections.ImageDetections(
                    image_id, [5] * number, np.ones((number, 4), np.float32), np.ones(number)
                )

    count, _ = results.write(Evaluation(), tmp_path / "a.json.gz", scored=False)
    assert count == len(read_json(tmp_path / "a.json.gz")) == 2 * (3 - len(empty))


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path):
    class Evaluation:
        def by_image(self, progress):
            yield detections.ImageDetections(1, [5], np.ones((1, 4), np.float32), np.ones(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.write(Evaluation(), tmp_path / "a.json.gz", scored=False)
    assert not list(tmp_path.iterdir())


def test_an_image_that_cannot_be_decoded_is_named(ssd, tmp_path):
    document = read_json(ssd.annotations_file)
    broken = document["images"][4]
    for image in document["images"]:
        (tmp_path / image["file_name"]).write_bytes(
            (ssd.folder / "val" / image["file_name"]).read_bytes()
        )
    (tmp_path / broken["file_name"]).write_bytes(b"no picture")
    evaluation = detections.Evaluation(ssd.config, ssd.annotations_file, tmp_path, batch_size=2)
    evaluation.restore(str(ssd.checkpoint_dir))
    with pytest.raises(UserError, match=rf"{broken['file_name']} \(image id {broken['id']}\)"):
        results.write(evaluation, tmp_path / "a.json", progress=False)


def test_a_checkpoint_has_one_score_beside_a_training_in_bfloat16(ssd):
    """What a training of this process computes in is no matter, and stays."""
    checkpoint = str(ssd.checkpoint_dir)
    expected, _ = ssd.evaluation().detect(checkpoint, progress=False)
    policies = tf.keras.mixed_precision
    policies.set_global_policy("mixed_bfloat16")
    try:
        found, _ = ssd.evaluation().detect(checkpoint, progress=False)
        assert policies.global_policy().name == "mixed_bfloat16"
    finally:
        policies.set_global_policy("float32")
    assert found == expected and len(found) > 10


def test_weights_that_are_no_numbers_are_told(ssd, tmp_path):
    class Evaluation:
        annotations_file = ssd.annotations_file

        def by_image(self, progress):
            image_id = read_json(ssd.annotations_file)["images"][0]["id"]
            yield detections.ImageDetections(image_id, [1], np.full((1, 4), np.nan), np.ones(1))

    with pytest.raises(UserError, match="no finite number"):
        results.write(Evaluation(), tmp_path / "a.json.gz")
    assert not list(tmp_path.iterdir())


def test_compressed_content_is_what_was_hashed(ssd, tmp_path):
    import hashlib

    evaluation = ssd.evaluation()
    evaluation.restore(str(ssd.checkpoint_dir))
    _, result = results.write(evaluation, tmp_path / "a.json.gz", progress=False)
    content = gzip.decompress((tmp_path / "a.json.gz").read_bytes())
    assert result.detections.sha256 == hashlib.sha256(content).hexdigest()


@pytest.fixture
def beside_boxes(tmp_path):
    """(annotation file, results file) of persons with boxes, masks and keypoints, and a detection
    near each, with all three."""
    generator = np.random.default_rng(4)
    annotations, found = [], []
    for index in range(24):
        x, y = generator.integers(5, 100, 2).tolist()
        width, height = generator.integers(30, 90, 2).tolist()
        points = generator.uniform([x, y], [x + width, y + height], (17, 2)).round(1)
        annotations.append(
            {
                "id": index + 1,
                "image_id": index // 3 + 1,
                "category_id": 1,
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
                "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
                "keypoints": np.column_stack([points, np.full(17, 2)]).ravel().tolist(),
                "num_keypoints": 17,
            }
        )
        mask = np.zeros((200, 200), np.uint8, order="F")
        mask[y + 6 : y + height + generator.integers(8), x : x + width] = 1
        encoded = coco_mask.encode(mask)
        points += generator.normal(0, 4, points.shape)
        found.append(
            {
                "image_id": index // 3 + 1,
                "category_id": 1,
                "bbox": [x + 1.0, y + 2.0, width - 1.0, height + 1.0],
                "segmentation": {"size": [200, 200], "counts": encoded["counts"].decode()},
                "keypoints": np.column_stack([points, np.ones(17)]).ravel().tolist(),
                "score": float(generator.random()),
            }
        )
    images = [{"id": i + 1, "height": 200, "width": 200} for i in range(8)]
    categories = [{"id": 1, "name": "person"}]
    annotations_file, path = tmp_path / "truth.json", tmp_path / "detections.json.gz"
    write_json(
        annotations_file, {"images": images, "annotations": annotations, "categories": categories}
    )
    write_json(path, found)
    return annotations_file, path


def _official(annotations_file, path, kind):
    """pycocotools' figures; it would take the area of a mask from a box that came with it."""
    kept = ("image_id", "category_id", "score", score.FIELDS[kind])
    found = [{name: each[name] for name in kept} for each in read_json(path)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(annotations_file)
        evaluation = COCOeval(truth, truth.loadRes(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [None if value < 0 else value for value in evaluation.stats]


@pytest.mark.parametrize(
    "model, kind",
    [
        ("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8", "segm"),
        ("centernet_resnet50_v1_fpn_512x512_kpts_coco17_tpu-8", "keypoints"),
    ],
)
def test_what_a_model_detects_beside_boxes_is_scored(model, kind, beside_boxes):
    annotations_file, path = beside_boxes
    (result,) = results.beside_boxes(config.template(model), annotations_file, path)
    assert result.iou_type == kind
    assert 0.1 < result.metrics["AP"] < 0.95
    expected = _official(annotations_file, path, kind)
    assert list(result.metrics.values()) == pytest.approx(expected, abs=1e-12)


def test_what_model_or_annotations_do_not_have_is_not_scored(beside_boxes):
    annotations_file, path = beside_boxes
    boxes = config.template("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8")
    assert results.beside_boxes(boxes, annotations_file, path) == []
    two_stages = config.template("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8")
    two_stages.model.faster_rcnn.number_of_stages = 2
    assert results.beside_boxes(two_stages, annotations_file, path) == []
    truth = read_json(annotations_file)
    for annotation in truth["annotations"]:
        del annotation["segmentation"]
    write_json(annotations_file, truth)
    masks = config.template("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8")
    assert results.beside_boxes(masks, annotations_file, path) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_masks_of_a_run_are_scored_with_its_boxes(tmp_path):
    """Of a Mask R-CNN; the objects are some of what it detects."""
    case = Case(tmp_path / "case", "mask_rcnn")
    evaluation = case.evaluation()
    evaluation.restore(str(case.checkpoint_dir))
    truth, objects = read_json(case.annotations_file), []
    for found in evaluation.by_image(progress=False):
        for index in range(0, len(found.scores), 2):
            box, mask = found.boxes_xywh_px[index].tolist(), found.masks[index]
            area = float(coco_mask.area(mask))
            if min(*box[2:], area) > 2:
                of = {"image_id": found.image_id, "category_id": found.category_ids[index]}
                shape = {"bbox": box, "segmentation": mask, "area": area, "iscrowd": 0}
                objects.append({"id": len(objects) + 1} | of | shape)
    write_json(case.annotations_file, truth | {"annotations": objects})
    run = RunDir.at(tmp_path / "run")
    arguments = case.config, case.annotations_file, case.image_dir
    CheckpointEvaluator(run, *arguments, directory=case.checkpoint_dir).evaluate_all()
    boxes, masks = run.scores_at(7)
    assert (boxes["iou_type"], masks["iou_type"]) == ("bbox", "segm")
    for scores in (boxes, masks):
        path = run.eval_at(7) / "detections.json.gz"
        expected = _official(case.annotations_file, path, scores["iou_type"])
        assert list(scores["metrics"].values()) == pytest.approx(expected, abs=1e-12)
        assert scores["metrics"]["AP"] > 0.1
        assert scores["agree"]
    (file,) = run.eval_events.rglob("events.*")
    written = event_accumulator.EventAccumulator(str(file)).Reload().Tags()["tensors"]
    assert set(events.TAGS["segm"].values()) <= set(written)
