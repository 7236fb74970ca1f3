"""Targets: against cases worked by hand, and against what the training loss is called with."""

import functools

import numpy as np
import pytest

from replicate import odapi
from replicate.execution import Execution

odapi.load()

import tensorflow as tf

from replicate.inspection.tracing import LossTargets
from replicate.train import input_stream, randomness
from replicate.train.trainer import Trainer
from tests.inspection import making

PADDED = 100
CLASSES = 90


def _batch(image_hw, *images):
    """A batch as the input pipeline pads it; each image is a list of (class from 0, yxyx px)."""
    height, width = image_hw
    boxes = np.zeros((len(images), PADDED, 4), np.float32)
    classes = np.zeros((len(images), PADDED, CLASSES), np.float32)
    weights = np.zeros((len(images), PADDED), np.float32)
    for number, objects in enumerate(images):
        for row, (category, box) in enumerate(objects):
            boxes[number, row] = np.array(box) / [height, width, height, width]
            classes[number, row, category] = weights[number, row] = 1
    features = {
        "image": np.zeros((len(images), height, width, 3), np.float32),
        "true_image_shape": np.array([[height, width, 3]] * len(images), np.int32),
    }
    labels = {
        "groundtruth_boxes": boxes,
        "groundtruth_classes": classes,
        "groundtruth_weights": weights,
        "num_groundtruth_boxes": np.array([len(objects) for objects in images], np.int32),
    }
    return features, labels


@functools.cache
def _of_plain_model(family, overrides=()):
    config = making.config(family, making.PLAIN_ANCHORS.get(family, {}) | dict(overrides))
    return LossTargets(config, odapi.build_model(config.model, is_training=True))


def _targets(family, batch, overrides=()):
    return _of_plain_model(family, tuple(dict(overrides).items())).of(*batch)


def test_ssd_by_hand():
    """Anchors of 4 strides' side on cells of 8, 16, … pixels of a 128 x 128 image.

    An object of 32 x 32 on the middle of cell (7, 7) of the first level is that cell's anchor. A
    cell beside it is 8 pixels off: IoU 24*32 / (2*1024 - 24*32) = 0.6, matched at 0.5; one
    diagonal: 24*24 / (2*1024 - 24*24) = 0.39, not. Anchors of 64 and more: at most 0.25. An object
    of 6 x 6 in the corner lies whole in anchors of 32 x 32, IoU 36/1024: none is matched above
    the threshold, one by force. The second image is empty.
    """
    found = _targets(
        "ssd",
        _batch((128, 128), [(0, (44, 44, 76, 76)), (1, (1, 1, 7, 7))], []),
    )
    cells = [256, 64, 16, 4, 1]
    assert [level.anchors for level in found.levels] == cells
    assert [level.feature_map_hw for level in found.levels] == [
        (16, 16), (8, 8), (4, 4), (2, 2), (1, 1),
    ]  # fmt: skip
    positive, negative, ignored = np.moveaxis(found.counts(), -1, 0)
    assert positive.tolist() == [[6, 0, 0, 0, 0], [0] * 5]
    assert negative.tolist() == [[250, 64, 16, 4, 1], cells]
    assert not ignored.any()
    assert found.counts(sampled=True).tolist() == found.counts().tolist()
    np.testing.assert_allclose(found.best_iou[0], [1, 36 / 1024], rtol=1e-5)
    assert found.best_iou[1].shape == (0,)
    assert found.assigned(0).tolist() == [True, True]
    own = found.anchors_yxyx_px[found.match[0] == 0]
    centres = (own[:, :2] + own[:, 2:]) / 2
    assert sorted(map(tuple, centres)) == [(52, 60), (60, 52), (60, 60), (60, 68), (68, 60)]


CROSS = {(0, 0): "positive"} | {
    offset: "ignored"
    for offset in [
        (0, 16), (0, -16), (16, 0), (-16, 0), (16, 16), (16, -16), (-16, 16), (-16, -16),
        (0, 32), (0, -32), (32, 0), (-32, 0),
    ]
}  # fmt: skip


@pytest.mark.parametrize("clip", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_first_stage_by_hand(clip):
    """Anchors of 64 x 64 every 16 pixels, matched from 0.7 and negative below 0.3.

    Beside an object that is the anchor at (96, 96): 16 off IoU 48*64/(2*4096 - 48*64) = 0.6,
    16 off both ways 0.39, 32 off 0.33, 32 and 16 off 0.23. Of the 12 x 12 anchors whose centre is
    at 0, 16, …, 176, those from 32 to 160 lie inside 192 x 192. Of 16 sampled anchors at most
    half are positive.
    """
    found = _targets(
        "faster_rcnn",
        _batch((192, 192), [(3, (64, 64, 128, 128))]),
        {
            "model.faster_rcnn.clip_anchors_to_image": str(clip).lower(),
            "model.faster_rcnn.use_static_shapes": str(clip).lower(),
            "model.faster_rcnn.use_static_balanced_label_sampler": str(clip).lower(),
        },
    )
    trained = 144 if clip else 81
    assert [(level.anchors, level.outside) for level in found.levels] == [(144, 144 - trained)]
    assert found.counts().tolist() == [[[1, trained - 13, 12]]]
    assert found.counts(sampled=True).tolist() == [[[1, 15, 0]]]
    centres = (found.anchors_yxyx_px[:, :2] + found.anchors_yxyx_px[:, 2:]) / 2
    for offset, role in CROSS.items():
        (anchor,) = np.flatnonzero((centres == np.add(offset, 96)).all(axis=1))
        assert found.match[0, anchor] == {"positive": 0, "ignored": -2}[role], offset


def test_heat_map_by_hand():
    """Two objects of one class whose centres share a cell of 4 pixels, and one of another class.

    Objects of 40 x 40 pixels are 10 x 10 cells. How far the corners of a box may be off for an
    IoU of 0.7, in the API (whose roots have the paper's code's slip: + and over 2): moved,
    (20 + sqrt(20^2 - 4*100*0.3/1.7)) / 2 = 19.1; smaller, (40 + sqrt(40^2 - 16*30)) / 2 = 36.7;
    larger, (-28 + sqrt(28^2 + 4*2.8*30)) / 2 = 2.73. The least counts: radius 2, sigma 5/6, so the
    next cell has exp(-1 / (2 * 25/36)) = exp(-0.72).
    """
    found = _targets(
        "centernet",
        _batch(
            (128, 128),
            [(5, (40, 40, 80, 80)), (5, (41, 41, 81, 81)), (6, (40, 40, 80, 80))],
            [],
        ),
    )
    assert found.stride == 4
    assert found.peaks_yxc[0].tolist() == [[15, 15, 5], [15, 15, 5], [15, 15, 6]]
    assert found.assigned(0).tolist() == [True, False, True]
    assert found.cells["peak"].tolist() == [2, 0]
    cells = 32 * 32 * CLASSES
    total = found.cells["peak"] + found.cells["gaussian"] + found.cells["background"]
    assert total.tolist() == [cells, cells]
    assert found.radius[0].tolist() == [2, 2, 2]
    assert found.heat[0, 15, 15] == 1
    assert found.heat[0, 15, 16] == pytest.approx(np.exp(-0.72), rel=1e-5)
    assert found.cells["gaussian"][1] == 0


def test_heat_map_leaves_padding_out():
    features, labels = _batch((128, 128), [(0, (40, 40, 60, 60))])
    features["true_image_shape"][0] = [64, 128, 3]
    found = _targets("centernet", (features, labels))
    assert sum(int(count[0]) for count in found.cells.values()) == 16 * 32 * CLASSES


# ---- the loss of a training step


class _Calls(list):
    """What the API's losses are called with, in order: (targets, weights) as arrays.

    In a traced step, a call is noted whenever the step runs.
    """

    def __init__(self, monkeypatch):
        super().__init__()
        from object_detection.core import losses

        original = losses.Loss.__call__

        def spy(loss, predictions, targets, weights=None, **more):
            tf.numpy_function(lambda *arrays: self.append(arrays), [targets, weights], [])
            return original(loss, predictions, targets, weights=weights, **more)

        monkeypatch.setattr(losses.Loss, "__call__", spy)


STATIC = {
    f"model.faster_rcnn.{name}": "false"
    for name in ("use_static_shapes", "clip_anchors_to_image", "use_static_balanced_label_sampler")
}
SAMPLER = {"model.ssd.loss.random_example_sampler.positive_sample_fraction": 0.25}
MINER = {
    "model.ssd.loss.classification_loss.weighted_softmax.logit_scale": 1.0,
    "model.ssd.loss.hard_example_miner.num_hard_examples": 200,
    "model.ssd.loss.hard_example_miner.max_negatives_per_positive": 3,
    "model.ssd.loss.hard_example_miner.loss_type": "CLASSIFICATION",
}


CASES = [
    pytest.param("ssd", {}, id="ssd"),
    pytest.param("ssd", SAMPLER, id="ssd, sampled"),
    pytest.param("faster_rcnn", {}, id="first stage, anchors clipped"),
    pytest.param("faster_rcnn", STATIC, id="first stage, anchors outside left out"),
    pytest.param("centernet", {}, id="centernet"),
]


@pytest.mark.parametrize(
    "family, overrides",
    [
        CASES[0],
        pytest.param("ssd", SAMPLER, id="ssd, sampled", marks=pytest.mark.slow),
        pytest.param("faster_rcnn", {}, id="anchors clipped", marks=pytest.mark.slow),
        pytest.param("faster_rcnn", STATIC, id="anchors left out", marks=pytest.mark.slow),
        CASES[4],
    ],
)
def test_the_targets_that_the_loss_gets(family, overrides, records, monkeypatch):
    """Anchor by anchor, with the same random numbers for what the loss samples."""
    from object_detection import model_lib, model_lib_v2

    config = making.config(family, overrides, **making.paths(records))
    model = odapi.build_model(config.model, is_training=True)
    features, labels = _batch_of_step(config, model, 0)
    found = LossTargets(config, model, seed=5).of(features, labels, step=2)
    calls = _Calls(monkeypatch)
    with randomness.drawn_from(randomness.of_step(5, tf.constant(2, tf.int64))):
        model_lib_v2._compute_losses_and_predictions_dicts(
            model,
            tf.nest.map_structure(tf.constant, features),
            model_lib.unstack_batch(
                tf.nest.map_structure(tf.constant, labels),
                unpad_groundtruth_tensors=config.train_config.unpad_groundtruth_tensors,
            ),
            training_step=0,
        )
    EQUAL[family](found, calls)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family, overrides", CASES)
def test_the_targets_that_a_training_step_gets(family, overrides, records, monkeypatch):
    """The same of the trainer's second step, as the trainer itself samples it."""
    config = making.config(family, overrides, **making.paths(records))
    calls = _Calls(monkeypatch)
    trainer = Trainer(config, Execution(seed=3))
    trainer.train(1)
    calls.clear()
    trainer.train(1)
    called = list(calls)
    model = odapi.build_model(config.model, is_training=True)
    features, labels = _batch_of_step(config, model, 1)
    found = LossTargets(config, model, seed=3).of(features, labels, step=1)
    EQUAL[family](found, called)


def _batch_of_step(config, model, step):
    first_example = step * config.train_config.batch_size
    batches = input_stream.train_dataset(config, model, seed=3, first_example=first_example)
    return next(batches.take(1).as_numpy_iterator())


def _equal_ssd(found, calls):
    (_, box_weights), (class_targets, class_weights) = calls
    in_loss = class_weights.max(axis=-1) > 0
    positive = class_targets[..., 1:].sum(axis=-1) > 0
    np.testing.assert_array_equal(found.counted, in_loss)
    np.testing.assert_array_equal((found.match >= 0) & found.counted, box_weights > 0)
    np.testing.assert_array_equal(found.match >= 0, positive)
    sums = found.counts(sampled=True).sum(axis=1)
    np.testing.assert_array_equal(sums[:, 0], (in_loss & positive).sum(axis=1))
    np.testing.assert_array_equal(sums[:, 1], (in_loss & ~positive).sum(axis=1))
    assert (sums[:, 0] > 0).all()


def _equal_first_stage(found, calls):
    (_, box_weights), (class_targets, class_weights) = calls[:2]
    sampled, positive = class_weights[..., 0] > 0, class_targets[..., 1] > 0
    np.testing.assert_array_equal(found.counted, sampled)
    np.testing.assert_array_equal(found.match >= 0, positive)
    np.testing.assert_array_equal((found.match >= 0) & found.counted, box_weights > 0)
    sums = found.counts(sampled=True).sum(axis=1)
    np.testing.assert_array_equal(sums[:, 0], (sampled & positive).sum(axis=1))
    np.testing.assert_array_equal(sums.sum(axis=1), sampled.sum(axis=1))
    assert (sums[:, 0] > 0).all()


def _equal_heat_map(found, calls):
    heat, weights = calls[0]
    batch, height, width = found.heat.shape
    expected = heat.max(axis=-1).reshape(batch, height, width)
    np.testing.assert_allclose(found.heat, expected, rtol=1e-4, atol=1e-30)
    weighed = np.broadcast_to(weights, heat.shape) > 0
    for role, of_role in (
        ("peak", heat == 1),
        ("gaussian", (heat > 0) & (heat < 1)),
        ("background", heat == 0),
    ):
        np.testing.assert_array_equal(found.cells[role], (of_role & weighed).sum(axis=(1, 2)))
    assert (found.cells["peak"] > 0).all()


EQUAL = {"ssd": _equal_ssd, "faster_rcnn": _equal_first_stage, "centernet": _equal_heat_map}


def test_mined_anchors_are_those_whose_loss_counts(records):
    """With three negatives a positive; which ones depends on the network's untrained weights."""
    config = making.config("ssd", MINER, **making.paths(records))
    model = odapi.build_model(config.model, is_training=True)
    found = LossTargets(config, model).of(*_batch_of_step(config, model, 0))
    positive, negative, _ = found.counts(sampled=True).sum(axis=1).T
    before = found.counts().sum(axis=1)
    assert (positive <= before[:, 0]).all() and (negative < before[:, 1]).all()
    assert (positive > 0).any()
    np.testing.assert_array_equal(negative, 3 * positive)
