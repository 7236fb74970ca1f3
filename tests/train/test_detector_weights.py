"""--restore=all_but_class_heads: a detector's weights for other classes, its class heads fresh."""

import copy

import numpy as np
import pytest

from replicate import config as configs
from replicate import odapi

odapi.load()

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from replicate.errors import UserError
from replicate.execution import ALL_BUT_CLASS_HEADS, Execution
from replicate.train import detector_weights, starting_point
from replicate.train.trainer import Trainer

SSD = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
_SMALL = (
    ("model.ssd.image_resizer.fixed_shape_resizer.height", "64"),
    ("model.ssd.image_resizer.fixed_shape_resizer.width", "64"),
    ("model.ssd.feature_extractor.depth_multiplier", "0.35"),
)


def _config(num_classes, model=SSD, overrides=_SMALL, checkpoint=""):
    message = configs.render(model, overrides=overrides, num_classes=num_classes)
    message.train_config.fine_tune_checkpoint = checkpoint
    return message


def _built(message, side_px=64, is_training=True):
    model = odapi.build_model(message.model, is_training=is_training)

    @tf.function
    def predict():
        model.predict(*model.preprocess(tf.zeros([1, side_px, side_px, 3])))

    predict()
    return model


def _values(model):
    return {id(variable): variable.numpy() for variable in model.variables}


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """Checkpoint of a detector of five classes, each variable with its place as its value."""
    model = _built(_config(5))
    for number, variable in enumerate(model.variables):
        variable.assign(tf.fill(variable.shape, tf.cast(number + 1, variable.dtype)))
    path = str(tmp_path_factory.mktemp("detector") / "ckpt")
    step = tf.Variable(7, dtype=tf.int64)
    return tf.train.Checkpoint(step=step, model=model).write(path)


@pytest.mark.parametrize("num_classes", [3, 5])
def test_all_but_what_depends_on_the_classes(detector, num_classes):
    """With as many classes too: that a head would fit does not make it of these classes."""
    config = _config(num_classes, checkpoint=detector)
    model = _built(config)
    before = _values(model)
    start = starting_point.of_config(model, config, ALL_BUT_CLASS_HEADS)
    # The head is a separable convolution; its depthwise half has a channel an input, not a class.
    heads = {v.name for v in model.variables if "ClassPredictor" in v.name}
    heads = {name for name in heads if "depthwise" not in name}
    assert len(heads) == 2 and set(start.fresh) == heads and start.missed == ()
    assert (start.matched, start.variables) == (len(model.variables) - len(heads),) * 2
    box_heads, towers = 0, 0
    for number, variable in enumerate(model.variables):  # the same order, other numbers in names
        if variable.name in heads:
            np.testing.assert_array_equal(variable.numpy(), before[id(variable)])
        else:
            assert set(np.unique(variable.numpy())) == {number + 1}, variable.name
            box_heads += "BoxPredictor/kernel" in variable.name or "BoxHead" in variable.name
            towers += "PredictionTower" in variable.name
    assert box_heads and towers
    said = start.sentence
    assert f"{start.matched} of {start.matched} variables restored, 0 missed" in said
    assert f"{len(heads)} of the class heads are fresh" in said and sorted(heads)[0] in said
    kept = start.to_json()
    assert kept["type"] == ALL_BUT_CLASS_HEADS and set(kept["fresh"]) == heads
    assert "missed" not in kept


def test_what_is_of_another_shape_is_named_and_left(detector):
    """A detector of a wider backbone: what does not fit keeps its first values."""
    wider = (*_SMALL[:2], (_SMALL[2][0], "0.5"))
    config = _config(3, overrides=wider, checkpoint=detector)
    model = _built(config)
    before = _values(model)
    start = starting_point.of_config(model, config, ALL_BUT_CLASS_HEADS)
    assert 0 < start.matched < start.variables == start.matched + len(start.missed)
    assert f"{len(start.missed)} missed ({start.missed[0]}" in start.sentence
    for variable in model.variables:
        if variable.name in start.missed:
            np.testing.assert_array_equal(variable.numpy(), before[id(variable)])


def test_a_checkpoint_that_is_no_detectors(tmp_path, detector):
    config = _config(3)
    model = _built(config)
    before = _values(model)
    for content, told in (
        ({"feature_extractor": tf.train.Checkpoint(x=tf.Variable(1.0))}, "holds no detector"),
        ({"model": tf.train.Checkpoint(x=tf.Variable(1.0))}, "has none of the model's"),
    ):
        path = tf.train.Checkpoint(**content).write(str(tmp_path / told[:5]))
        config.train_config.fine_tune_checkpoint = path
        with pytest.raises(UserError, match=told):
            starting_point.of_config(model, config, ALL_BUT_CLASS_HEADS)
    config.train_config.fine_tune_checkpoint = str(tmp_path / "none")
    with pytest.raises(UserError, match="no checkpoint at"):
        starting_point.of_config(model, config, ALL_BUT_CLASS_HEADS)
    for variable in model.variables:
        np.testing.assert_array_equal(variable.numpy(), before[id(variable)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "named"),
    [
        ("EfficientDet-D0", "ClassPredictor"),
        ("SSD MobileNet v2", "ClassPredictor"),
        ("Faster R-CNN ResNet-50 v1", "class_head/ClassPredictor"),  # its boxes are of no class
        ("CenterNet ResNet-101 v1 FPN", "conv2d"),  # its heads have no names; two variables
    ],
)
def test_the_class_heads_of_every_family(label, named, tmp_path):
    """By building alone: each has channels for the classes, and is the family's class head."""
    from replicate.gpu_check import small

    small.write_records(tmp_path / "r")
    config = small.config_of(label, tmp_path / "r", 1)
    # In training a Faster R-CNN needs groundtruth; its variables are the same.
    model = _built(config, 128, is_training=False)
    heads = detector_weights.class_heads(model, config.model)
    names = sorted(variable.name for variable in heads)
    assert 0 < len(heads) < len(model.variables) / 4 and all(named in name for name in names), names
    classes = configs.facts(config).num_classes
    without = ("CenterNet", "EfficientDet")  # a background column
    with_background = classes + (0 if label.startswith(without) else 1)
    assert all(variable.shape[-1] % with_background == 0 for variable in heads), names
    assert len(heads) == 2 or not label.startswith(("CenterNet", "Faster"))


@pytest.mark.parametrize(
    "how, freeze",
    [(ALL_BUT_CLASS_HEADS, "backbone"), (ALL_BUT_CLASS_HEADS, ""), ("full", ""), ("detection", "")],
)
def test_the_step_of_the_checkpoint_is_not_taken_over(how, freeze, even_config, tmp_path):
    """The API keeps the step in its model, and so in the checkpoint of a trained one."""
    config = copy.deepcopy(even_config)
    before = Trainer(config, Execution())
    before.build_variables()
    before.global_step.assign(600)
    config.train_config.fine_tune_checkpoint = before.checkpoint.write(str(tmp_path / "ckpt"))
    config.train_config.fine_tune_checkpoint_version = 2
    assert "model/_training_step" in _edges(config.train_config.fine_tune_checkpoint)
    if how != ALL_BUT_CLASS_HEADS:
        config.train_config.fine_tune_checkpoint_type = how
    restore = how if how == ALL_BUT_CLASS_HEADS else ""
    trainer = Trainer(config, Execution(restore=restore, freeze=freeze))
    start = trainer.first_weights()
    assert start.matched == start.variables > 100
    count = len(trainer.model.variables) - 1  # the step
    assert start.variables + start.others == count
    trainer.train(1)
    assert trainer.step == int(trainer.global_step) == 1


def _edges(path):
    """Names of what lies two below the root of a checkpoint's objects."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        tf.train.load_checkpoint(path).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    )
    return {
        f"{child.local_name}/{below.local_name}"
        for child in graph.nodes[0].children
        for below in graph.nodes[child.node_id].children
    }
