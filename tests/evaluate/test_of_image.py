"""One image's postprocessed detections as COCO results, against the API's own exporter."""

import numpy as np
import pytest

from replicate import odapi

odapi.load()

from replicate.evaluate import detections

OUTPUT = {
    "num_detections": np.float32(3),
    "detection_boxes": np.array(
        [[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0], [0.33, 0.1, 0.34, 0.9], [0, 0, 0, 0]],
        np.float32,
    ),
    "detection_scores": np.array([0.9, 0.5, 0.125, 0.0], np.float32),
    "detection_classes": np.array([2, 0, 1, 0], np.float32),
}


def test_equals_the_apis_own_coco_export():
    from object_detection.metrics import coco_tools

    image_hw = np.array([427, 640])
    ours = detections.of_image(139, image_hw, OUTPUT, [1, 2, 3])
    scale = np.array([427, 640, 427, 640], np.float32)
    theirs = coco_tools.ExportSingleImageDetectionBoxesToCoco(
        image_id=139,
        category_id_set={1, 2, 3},
        detection_boxes=OUTPUT["detection_boxes"][:3] * scale,
        detection_scores=OUTPUT["detection_scores"][:3],
        detection_classes=OUTPUT["detection_classes"][:3].astype(int) + 1,
    )
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        assert a["category_id"] == b["category_id"]
        assert a["bbox"] == pytest.approx(list(map(float, b["bbox"])), rel=0, abs=0)
        assert a["score"] == float(b["score"])


def test_by_hand():
    first = detections.of_image(7, np.array([100, 200]), OUTPUT, [10, 20, 30])[0]
    assert first["image_id"] == 7
    assert first["category_id"] == 30
    assert first["bbox"] == pytest.approx([40, 10, 80, 40], rel=1e-6)  # xywh


def test_classes_that_the_file_does_not_have_are_left_out():
    results = detections.of_image(7, np.array([100, 200]), OUTPUT, [None, 20, 30])
    assert [each["category_id"] for each in results] == [30, 20]


def test_masks_are_pasted_into_their_boxes():
    from pycocotools import mask as coco_mask

    masks = np.zeros((4, 8, 8), np.float32)
    masks[0], masks[1, :, :4], masks[2] = 0.9, 0.8, 0.4
    output = OUTPUT | {
        "detection_boxes": np.array(
            [[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1], [0, 0, 0, 0]], np.float32
        ),
        "detection_masks": masks,
    }
    results = detections.of_image(7, np.array([40, 80]), output, [1, 2, 3])
    first, second, third = (coco_mask.decode(each["segmentation"]) for each in results)
    assert first.shape == (40, 80)
    expected = np.zeros((40, 80), np.uint8)
    expected[10:30, 40:80] = 1
    assert (first != expected).mean() < 0.02, "the box's border may round"
    assert second[:, :38].all() and not second[:, 42:].any()
    assert not third.any(), "0.4 is below the cut of 0.5"


def test_keypoints_are_x_y_visibility_in_pixels():
    output = OUTPUT | {"detection_keypoints": np.full((4, 2, 2), [0.25, 0.5], np.float32)}
    results = detections.of_image(7, np.array([100, 200]), output, [1, 2, 3])
    assert results[0]["keypoints"] == [100, 25, 1, 100, 25, 1]
