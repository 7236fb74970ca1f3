"""The libraries' combinations held against the libraries themselves, in their own environment.

Needs REPLICATE_EXPLAIN_PYTHON, a Python that has requirements-explain.txt installed.
"""

import json
import os
import pathlib
import subprocess

import pytest

from replicate.explain import from_detections

_OTHERS = pathlib.Path(__file__).with_name("others.py")


def _printed(library, annotations, detections, tmp_path):
    python = os.environ.get("REPLICATE_EXPLAIN_PYTHON")
    if not python:
        pytest.skip("needs REPLICATE_EXPLAIN_PYTHON, with requirements-explain.txt installed")
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(detections))
    done = subprocess.run(
        [python, _OTHERS, library, annotations, path], capture_output=True, text=True, timeout=300
    )
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"{library} is not installed there")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


# Libraries that compute in float32 agree to its last bits. Ultralytics sorts equal scores in no
# fixed order, so it is held on detections that have none.
@pytest.mark.parametrize(
    ("library", "name", "near"),
    [
        ("torchmetrics", "ssd_mobilenet_v2", 1e-6),
        ("torchmetrics", "pooled", 1e-6),
        ("supervision", "ssd_mobilenet_v2", 1e-7),
        ("supervision", "pooled", 1e-7),
        ("ultralytics", "ssd_mobilenet_v3_small", 1e-9),
        ("ultralytics", "ssd_mobilenet_v2_fpnlite_640x640", 1e-9),
    ],
)
def test_as_the_library_prints(library, name, near, val128, real, pooled, tmp_path):
    detections = pooled if name == "pooled" else real[name]
    printed = _printed(library, val128, detections, tmp_path)
    answer = from_detections(val128, detections, pairs=False)
    ours = next(each for each in answer.libraries if each["name"].lower() == library)["figures"]
    for metric, value in printed.items():
        assert ours[metric] == pytest.approx(value, abs=near), metric


@pytest.mark.slow  # TensorFlow and the model garden are imported
def test_tf_vision(val128, real):
    """official.vision's own evaluator, fed with the detections as a model would give them."""
    evaluator = pytest.importorskip(
        "official.vision.evaluation.coco_evaluator", reason="needs tf-models-official"
    )
    import numpy as np

    detections = real["ssd_mobilenet_v2_fpnlite_640x640"]
    metric = evaluator.COCOEvaluator(str(val128), include_mask=False, need_rescale_bboxes=False)
    for image_id in sorted({each["image_id"] for each in detections}):
        mine = [each for each in detections if each["image_id"] == image_id]
        # Its detectors fill every image's 100 places, with scores of 0 behind the last.
        boxes, classes, scores = np.zeros((1, 100, 4)), np.zeros((1, 100), int), np.zeros((1, 100))
        x, y, width, height = np.array([each["bbox"] for each in mine]).T
        boxes[0, : len(mine)] = np.stack([y, x, y + height, x + width], axis=1)
        classes[0, : len(mine)] = [each["category_id"] for each in mine]
        scores[0, : len(mine)] = [each["score"] for each in mine]
        predictions = {
            "source_id": [image_id],
            "num_detections": [len(mine)],
            "detection_boxes": boxes,
            "detection_classes": classes,
            "detection_scores": scores,
        }
        metric.update_state({}, {key: _Tensor(value) for key, value in predictions.items()})
    printed = metric.result()
    answer = from_detections(val128, detections, pairs=False)
    ours = next(each for each in answer.libraries if each["name"] == "TF-Vision")["figures"]
    assert ours["AP"] == pytest.approx(printed["AP"], abs=1e-6)
    assert ours["AP50"] == pytest.approx(printed["AP50"], abs=1e-6)


class _Tensor:
    """What the evaluator asks of a tensor."""

    def __init__(self, value):
        self._value = value

    def numpy(self):
        import numpy as np

        return np.array(self._value)
