"""Eight images learned by heart, once in one go and once killed three times on the way."""

import json
import signal

import pytest

from replicate.run import RunDir, read_json
from tests.tools.running import kill_when, outcome, replicate_command, run_tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

STEPS = 300
EVERY = 100
# Of the tiny set, those with several objects, none of them below 2 % of the image.
IMAGES = (24577, 57345, 221184, 286720, 425988, 483330, 499716, 294920)
_SSD = "model.ssd"
_PREDICTOR = f"{_SSD}.box_predictor.weight_shared_convolutional_box_predictor"
_SCHEDULE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"
OVERRIDES = {
    f"{_SSD}.image_resizer.fixed_shape_resizer.height": 160,
    f"{_SSD}.image_resizer.fixed_shape_resizer.width": 160,
    f"{_SSD}.feature_extractor.depth_multiplier": 0.5,
    f"{_SSD}.feature_extractor.fpn.additional_layer_depth": 64,
    f"{_PREDICTOR}.depth": 64,
    f"{_PREDICTOR}.num_layers_before_predictor": 1,
    # Averages that settle within the run.
    f"{_SSD}.feature_extractor.conv_hyperparams.batch_norm.decay": 0.9,
    f"{_PREDICTOR}.conv_hyperparams.batch_norm.decay": 0.9,
    "train_config.batch_size": 8,
    "train_config.data_augmentation_options": "[]",
    f"{_SCHEDULE}.learning_rate_base": 0.1,
    f"{_SCHEDULE}.total_steps": STEPS,
    f"{_SCHEDULE}.warmup_steps": 30,
}


@pytest.fixture(scope="module")
def command(shared, tmp_path_factory):
    tiny = shared / "coco" / "tiny"
    coco = json.loads((tiny / "annotations" / "instances_train2017.json").read_text())
    coco["images"] = [image for image in coco["images"] if image["id"] in IMAGES]
    coco["annotations"] = [each for each in coco["annotations"] if each["image_id"] in IMAGES]
    assert len(coco["images"]) == len(IMAGES)
    file = tmp_path_factory.mktemp("eight") / "annotations.json"
    file.write_text(json.dumps(coco))
    data = {"train": (file, tiny / "train2017"), "val": (file, tiny / "train2017")}

    def of(run_dir):
        return replicate_command(
            data, run_dir, OVERRIDES, num_steps=STEPS, checkpoint_every_n=EVERY
        )

    return of


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    done = run_tool(command(run_dir), timeout=3600)
    assert done.returncode == 0, done.stderr
    return run_dir


def test_it_learns_them_by_heart(uninterrupted):
    metrics = read_json(RunDir.existing(uninterrupted).eval_at(STEPS) / "metrics.json")
    assert metrics["annotations"]["images"] == len(IMAGES)
    assert metrics["metrics"]["AP"] > 0.5


def test_killed_three_times_it_ends_with_the_same_metrics(command, uninterrupted, tmp_path):
    run_dir = tmp_path / "killed"
    run = RunDir.at(run_dir)

    def logged(step):
        return lambda: run.metrics.is_file() and f'"step": {step},' in run.metrics.read_text()

    for step in (50, 150, 270):  # the last two between checkpoints, the first before one
        status = kill_when(command(run_dir), logged(step), timeout=3600)
        assert status == -signal.SIGKILL
    assert run_tool(command(run_dir), timeout=3600).returncode == 0
    assert outcome(run_dir) == outcome(uninterrupted)
