"""Every template builds its model, takes one training step and detects, on tiny input.

Each in a process of its own, one after the other: the largest (CenterNet, Mask R-CNN) need 5 GiB.
"""

import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

from replicate import config
from tests.conftest import PROJECT

ONE_STEP = pathlib.Path(__file__).with_name("one_step.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", config.template_names())
def test_one_training_step_and_one_prediction(name):
    done = subprocess.run(
        [sys.executable, str(ONE_STEP), name],
        cwd=PROJECT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])

    losses, facts = result["losses"], config.facts(config.template(name))
    assert all(math.isfinite(loss) for loss in losses.values())
    terms = sum(loss for term, loss in losses.items() if term != "Loss/total_loss")
    assert losses["Loss/total_loss"] == pytest.approx(terms, rel=1e-4)
    assert any("mask" in term for term in losses) == facts.predicts_masks
    assert any("keypoint" in term for term in losses) == facts.predicts_keypoints
    # EfficientNet's last layers are no part of the detector, and of Faster R-CNN's proposal heads,
    # one a level of the FPN, those without an object on their level have no gradient.
    assert 0.9 * result["kernels"] <= result["kernels_moved"] <= result["kernels"]
    assert result["kernels"] > 20

    detections = result["shapes"]["detection_boxes"][1]
    assert detections == (300 if "tpu-8" in name and facts.architecture == "faster_rcnn" else 100)
    assert result["shapes"]["detection_boxes"] == [1, detections, 4]
    assert result["shapes"]["detection_scores"] == [1, detections]
    assert ("detection_masks" in result["shapes"]) == facts.predicts_masks
    if facts.predicts_keypoints:
        assert result["shapes"]["detection_keypoints"] == [1, detections, 17, 2]
    assert result["finite"]
