"""Where training starts: what of a checkpoint is loaded, counted, and refused."""

import numpy as np
import pytest

from replicate import config as configs
from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate.errors import UserError
from replicate.train import starting_point

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


def _model():
    """A small SSD with its variables, and its train_config."""
    message = configs.render(
        MODEL,
        overrides=[
            ("model.ssd.image_resizer.fixed_shape_resizer.height", "64"),
            ("model.ssd.image_resizer.fixed_shape_resizer.width", "64"),
            ("model.ssd.feature_extractor.depth_multiplier", "0.35"),
        ],
        num_classes=3,
    )
    model = odapi.build_model(message.model, is_training=True)

    @tf.function
    def predict():
        model.predict(*model.preprocess(tf.zeros([1, 64, 64, 3])))

    predict()
    return model, message.train_config


@pytest.fixture(scope="module")
def model_and_config():
    return _model()


@pytest.fixture(scope="module")
def checkpoints(model_and_config, tmp_path_factory):
    """A detection checkpoint with 0.25 in every weight, and files that are none."""
    folder = tmp_path_factory.mktemp("starts")
    model, _ = model_and_config
    before = [variable.numpy() for variable in model.variables]
    for variable in model.variables:
        variable.assign(tf.fill(variable.shape, tf.cast(0.25, variable.dtype)))
    paths = {"detection": tf.train.Checkpoint(model=model).write(str(folder / "detection"))}
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    paths["unrelated"] = tf.train.Checkpoint(x=tf.Variable([1.0])).write(str(folder / "unrelated"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("w", [2])
        session.run(tf.compat.v1.global_variables_initializer())
        paths["name-based"] = tf.compat.v1.train.Saver().save(session, str(folder / "tf1"))
    paths["missing"] = str(folder / "none")
    return paths


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("missing", "no checkpoint at .*none.index is missing"),
        ("name-based", "TF1 name-based"),
        ("unrelated", "matches none of the model's"),
    ],
)
def test_what_is_no_starting_point_is_refused(model_and_config, checkpoints, kind, told):
    model, train_config = model_and_config
    config = type(train_config)()
    config.CopyFrom(train_config)
    config.fine_tune_checkpoint = checkpoints[kind]
    config.fine_tune_checkpoint_type = "detection"
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(UserError, match=told):
        starting_point.restore(model, config)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_detection_checkpoint_loads_the_feature_extractor_alone(model_and_config, checkpoints):
    """The API's "detection" restores everything but the class and box heads ("full" is all)."""
    model, train_config = model_and_config
    config = type(train_config)()
    config.CopyFrom(train_config)
    config.fine_tune_checkpoint = checkpoints["detection"]
    config.fine_tune_checkpoint_type = "detection"
    said = starting_point.restore(model, config)
    loaded = [v for v in model._feature_extractor.variables if v.dtype == tf.float32]
    for variable in loaded:
        assert set(np.unique(variable.numpy())) == {np.float32(0.25)}, variable.name
    heads = model._box_predictor.variables
    assert any(set(np.unique(v.numpy())) != {np.float32(0.25)} for v in heads)
    changed = int(said.split(": ")[1].split()[0])
    assert changed >= len(loaded)
    assert f"of {changed}" in said or changed > 100
