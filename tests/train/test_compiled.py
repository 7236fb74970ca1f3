"""Training steps that XLA compiles: the losses of those that it does not, and one compilation."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

import numpy as np
import pytest

from replicate import config as configs
from replicate import odapi
from replicate.errors import UserError
from replicate.execution import Execution
from replicate.gpu_check import small, ties
from replicate.odapi import xla
from replicate.parity import models

odapi.load()

import tensorflow as tf

from replicate.train.trainer import Trainer
from tests.train import compiled, in_float64

PROJECT = pathlib.Path(__file__).resolve().parents[2]
# Of a two-stage model, the loss that no sampled proposal has a part in.
_FIRST_STAGE = "Loss/RPNLoss/objectness_loss"
_REFUSED = [label for label in models.MODELS if "Inception" in label]


def _measured(label, folder, *options):
    """`compiled.measure` in a process of its own, with a cache of its own."""
    output = folder / "measured.json"
    command = [sys.executable, "-m", "tests.train.compiled", label, str(output), *options]
    surroundings = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, cwd=PROJECT, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(output.read_text())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("label", [each for each in models.MODELS if each not in _REFUSED])
def test_twenty_steps_with_xla_have_the_losses_of_those_without(label, tmp_path):
    _hold(label, _measured(label, tmp_path))


def _hold(label, found):
    after_first, after_all = found["compilations"]
    assert 0 < after_first == after_all, "nothing is compiled after the first step"
    assert found["losses"][0] != found["losses"][-1]
    ours, theirs = zip(*found["of_same_weights"], strict=True)
    # Batch norm is fixed there: what gradients differ by is not multiplied from step to step.
    whole = small.difference(found["compiled"], found["losses"])
    totals = compiled.of_totals(found)
    if label.startswith(("SSD", "EfficientDet")):
        assert small.difference(ours, theirs) < 1e-5 and whole < 1e-5
        return
    if "R-CNN" in label:
        # Proposals are sampled by the order of their scores. Steps in which rounding gives two of
        # them each other's place sample others: they are counted, and are no other than those of
        # weights that are moved by what rounding does to a sum.
        equal, nudged = (compiled.of_equal_proposals(found, side) for side in ("xla", "nudged"))
        assert len(equal) >= 6 and statistics.median(equal) < 1e-5 and max(equal) < 5e-5
        assert any(found["nudged_moved"]) and max(equal) < 5 * max(nudged)
        assert max(totals) < 10 * max(compiled.of_totals(found, "nudged"))
        first_stage = [[side[_FIRST_STAGE] for side in sides] for sides in found["of_same_weights"]]
        assert max(abs(one - other) / other for one, other in first_stage) < 1e-4
    else:
        # Through a hundred layers a small term has less of its own digits right; the total has.
        assert max(totals) < 1e-5 and small.difference(ours, theirs) < 1e-3


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("label", compiled.IN_FLOAT64)
def test_where_rounding_has_no_part_every_loss_is_that_of_no_xla(label, tmp_path):
    """Of layers in float64: what float32 differs by above is rounding, and no other program."""
    found = _measured(label, tmp_path, "--float64")
    assert found["dtypes"] == ["float64"]
    ours, theirs = zip(*found["of_same_weights"], strict=True)
    assert len(ours) == len(found["losses"]) == compiled.STEPS
    assert len({losses[compiled.TOTAL] for losses in ours}) == compiled.STEPS
    assert not any(found["moved"]), "the same proposals are sampled"
    assert max(compiled.of_totals(found)) < 1e-5
    assert small.difference(ours, theirs) < 1e-5
    assert len(found["gradients"]) == compiled.STEPS and min(found["gradients"]) < 1e-5
    # Proposals' boxes are float32 still, so that in some steps a ReLU's sign differs.
    exact = "R-CNN" not in label
    assert max(found["gradients"]) < (1e-5 if exact else 1e-2)
    # What gradients differ by is multiplied through a hundred layers of live batch statistics.
    if exact and "ResNet-101" not in label:
        assert small.difference(found["compiled"], found["losses"]) < 1e-5


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
def test_convolutions_as_products_are_those_convolutions(size, stride, padding):
    rng = np.random.default_rng(size)
    images, full, depthwise, pointwise = (
        tf.constant(rng.normal(size=shape))
        for shape in ([2, 17, 12, 3], [size, size, 3, 5], [size, size, 3, 1], [1, 1, 3, 5])
    )
    cases = {
        "convolution": ([full], stride),
        "depthwise_conv2d": ([depthwise], (1, stride, stride, 1)),
        "separable_conv2d": ([depthwise, pointwise], (1, stride, stride, 1)),
    }
    for name, (kernels, strides) in cases.items():
        sides = []
        for module in (in_float64, tf.nn):
            with tf.GradientTape() as tape:
                tape.watch([images, *kernels])
                values = getattr(module, name)(images, *kernels, strides, padding)
                total = tf.reduce_sum(tf.tanh(values))
            sides.append([values, *tape.gradient(total, [images, *kernels])])
        for one, other in zip(*sides, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_second_process_finds_what_was_compiled(tmp_path):
    label = "SSD MobileNet v2 FPNLite"
    first, second = (_measured(label, tmp_path) for _ in range(2))
    assert first["compilations"] == second["compilations"], "none is added"
    assert second["compiled"] == first["compiled"]


@pytest.mark.parametrize("label", _REFUSED)
def test_what_xla_cannot_compile_is_refused_before_anything_is_built(label, tmp_path):
    models.write_config(label, tmp_path, tmp_path / "pipeline.config")
    config = configs.read(tmp_path / "pipeline.config")
    assert xla.obstacle(config.model)
    with pytest.raises(UserError, match="--jit_compile.*use_static_shapes.*Leave it out"):
        Trainer(config, Execution(jit_compile=True))


def test_a_box_between_four_cells_is_tied_and_named():
    """A square of 8 px about a corner of the 8 px grid: four anchors overlap it equally, and less
    than the threshold. The other box has one best anchor on the grid's 32 px map."""
    annotations = {
        "images": [{"id": 7, "height": 320, "width": 320}],
        "annotations": [
            {"id": 1, "image_id": 7, "bbox": [60, 60, 8, 8]},
            {"id": 2, "image_id": 7, "bbox": [103, 97, 115, 121]},
            {"id": 3, "image_id": 7, "bbox": [60, 60, 8, 8], "iscrowd": 1},
        ],
    }
    config = configs.template("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8")
    found = ties.of_annotations(config, annotations)
    assert found == ties.Ties(boxes=2, tied=[(7, 1)], decisive=[(7, 1)])
    assert set(ties.taken_otherwise(config, annotations)) <= {(7, 1)}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_boxes_whose_tie_xla_decides_otherwise_are_named_and_move_the_loss(tmp_path, monkeypatch):
    """Three of many drawn boxes; in the other tests' boxes no tie decides, and losses agree."""
    label, rng = "SSD MobileNet v2 FPNLite", np.random.default_rng(0)
    small.write_records(tmp_path / "untied")
    config = small.config_of(label, tmp_path / "untied", compiled.STEPS)
    untied = json.loads((tmp_path / "untied" / "annotations.json").read_text())
    assert ties.of_annotations(config, untied).decisive == []

    drawn = [[*rng.uniform(2, 110, 2), *rng.uniform(3, 14, 2)] for _ in range(1000)]
    image = {"id": 1, "height": small.SIDE_PX, "width": small.SIDE_PX}
    annotations = {
        "images": [image],
        "annotations": [{"id": at, "image_id": 1, "bbox": box} for at, box in enumerate(drawn)],
    }
    otherwise = ties.taken_otherwise(config, annotations)
    assert len(otherwise) >= 3
    assert {*otherwise} <= {*ties.of_annotations(config, annotations).tied}

    boxes = [drawn[at] for _, at in otherwise[:3]]
    small.write_records(tmp_path / "tied", jitter_px=0, boxes_xywh_px=boxes)
    config = small.config_of(label, tmp_path / "tied", compiled.STEPS)
    tied = json.loads((tmp_path / "tied" / "annotations.json").read_text())
    named = [(each["image_id"], each["id"]) for each in tied["annotations"]]
    assert ties.of_annotations(config, tied) == ties.Ties(len(named), tied=named, decisive=named)
    assert ties.taken_otherwise(config, tied) == named
    monkeypatch.setattr(compiled, "STEPS", 2)
    trainer = small.trainer_of(config, Execution(seed=3, jit_compile=True))
    steps = list(compiled.beside_each_other(trainer, also_nudged=False))
    assert min(small.difference([step["xla"]], [step["plain"]]) for step in steps) > 1e-4


@pytest.mark.parametrize(
    ("model", "size_hw", "count"),
    [
        # Figures of the API's own anchors: two of aspect and two scales a place for FPN.
        ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", (320, 320), 12804),
        ("ssd_mobilenet_v2_320x320_coco17_tpu-8", (300, 300), 1917),
        ("ssd_resnet50_v1_fpn_640x640_coco17_tpu-8", (640, 640), 51150),
        ("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8", (640, 640), 40 * 40 * 12),
    ],
)
def test_anchors_are_as_many_as_the_model_has(model, size_hw, count):
    anchors = ties.anchors_yxyx_px(configs.template(model).model, size_hw)
    assert anchors.shape == (count, 4)
    middle = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert (middle >= 0).all() and (middle <= size_hw[0]).all()
    assert anchors.max() > size_hw[0] / 2


def test_the_table_tells_each_model():
    losses = [{compiled.TOTAL: 2.0}, {compiled.TOTAL: 1.0}]
    refused = {"label": "a", "losses": losses, "bfloat16": {compiled.TOTAL: 2.02}}
    assert compiled.row(refused, None) == "| a | refused | – | – | – | – | 2.02, 2 (1.0%) |"
    runs = refused | {"compiled": losses, "compile_s": 31.0, "plain_first_s": 1.0}
    runs |= {"of_same_weights": [[losses[0], losses[0]]], "moved": [0]}
    told = "| a | runs | 0e+00, 0e+00 | 0e+00 | not measured | 30 s | 2.02, 2 (1.0%) |"
    assert compiled.row(runs, None) == told
    strict = {"of_same_weights": [[losses[0], losses[0]], losses], "moved": [0, 2]}
    strict |= {"compiled": losses, "losses": losses, "gradients": [1e-7, 2e-6]}
    told = "| 1e+00 (1 steps sample other proposals), 2e-06, 0e+00 | 30 s |"
    assert told in compiled.row(runs, strict)
    runs |= {"of_same_weights": [[losses[0], losses[0]], losses], "moved": [0, 3]}
    runs |= {"nudged": [losses[0], losses[0]], "nudged_moved": [0, 1]}
    told = "1 steps sample other proposals, the total of the rest 0e+00; by weights moved by 2e-6 1"
    assert f"5e-01, 1e+00 ({told}, 0e+00)" in compiled.row(runs, None)
