"""Several devices give the detections of one."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate.evaluate import detections
from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator
from replicate.run import RunDir, read_json
from replicate.score import text
from replicate.train import distribution, precision

PROJECT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = """
import json, sys
config, checkpoints, annotations, images, devices, batch = sys.argv[1:]
from replicate import config as configs, odapi
odapi.load()
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * int(devices))
from replicate.evaluate import detections
evaluation = detections.Evaluation(
    configs.read(config), annotations, images, batch_size=int(batch))
taken = set()


def watched(detector):
    call = type(detector).__call__

    class Watched(type(detector)):
        def __call__(self, images, true_shapes):
            taken.add((images.device, self.model.variables[0].device))
            return call(self, images, true_shapes)

    detector.__class__ = Watched
    return detector


evaluation._detectors = [watched(each) for each in evaluation._detectors]
found, _ = evaluation.detect(checkpoints, progress=False)
assert len(taken) == int(devices) and all(batch == model for batch, model in taken), taken
on = {detector.model.variables[0].device for detector in evaluation._detectors}
print(json.dumps([sorted(on), found]))
"""


def _detections(case, devices, batch):
    arguments = (case.config_path, case.checkpoint_dir, case.annotations_file, case.image_dir)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, (*arguments, devices, batch))],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(900)
def test_three_devices_give_what_one_gives(ssd):
    """Seven images in batches of two on three devices: the last round is not full."""
    (one_device,), expected = _detections(ssd, 1, 2)
    several, found = _detections(ssd, 3, 2)
    assert one_device.endswith("CPU:0")
    assert [name[-5:] for name in several] == ["CPU:0", "CPU:1", "CPU:2"]
    assert len(found) == len(expected) > 100
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours["image_id"], ours["category_id"]) == (
            theirs["image_id"],
            theirs["category_id"],
        )
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-5)
        assert ours["bbox"] == pytest.approx(theirs["bbox"], rel=1e-4, abs=1e-2)


@pytest.fixture
def tf32_as_before():
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


def test_tensorfloat32_is_recorded_and_switched_off(ssd, tmp_path, monkeypatch, tf32_as_before):
    """As on a GPU that has it; a run evaluated in it is evaluated again without, where asked."""
    monkeypatch.setattr(precision, "has_tf32", lambda: True)
    run = RunDir.at(tmp_path)
    ssd.save(7, run.checkpoints)

    def evaluated(**options):
        checkpoints = CheckpointEvaluator(
            run, ssd.config, ssd.annotations_file, ssd.image_dir, **options
        )
        checkpoints.evaluate_all()
        return read_json(run.eval_at(7) / "metrics.json")

    reduced = evaluated()
    assert reduced["inference"]["tf32"] is reduced["protocol"]["inference"]["tf32"] is True
    assert text.of_inference(reduced["inference"]).endswith("; float32 in TensorFloat-32")
    full = evaluated(tf32=False)
    assert "tf32" not in full["inference"] and "tf32" not in full["protocol"]["inference"]
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert full["protocol"]["sha256"] != reduced["protocol"]["sha256"]
    assert "TensorFloat" not in text.of_inference(full["inference"])


def test_an_evaluation_leaves_memory_of_the_gpu_to_a_training_beside_it(ssd, monkeypatch):
    order = []
    monkeypatch.setattr(distribution, "prepare", lambda: order.append("memory as needed"))
    devices = detections._devices
    monkeypatch.setattr(detections, "_devices", lambda: order.append("devices") or devices())
    ssd.evaluation()
    assert order == ["memory as needed", "devices"]
