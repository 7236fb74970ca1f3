"""Where training starts: what of a checkpoint is loaded, counted, and refused."""

import hashlib
import pathlib
import tarfile

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
    return _built(message), message.train_config


def _built(message):
    model = odapi.build_model(message.model, is_training=True)

    @tf.function
    def predict():
        model.predict(*model.preprocess(tf.zeros([1, 64, 64, 3])))

    predict()
    return model


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
    config = _config_for(train_config, checkpoints[kind], "detection")
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(UserError, match=told):
        starting_point.restore(model, config)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def _config_for(train_config, checkpoint, kind):
    config = type(train_config)()
    config.CopyFrom(train_config)
    config.fine_tune_checkpoint, config.fine_tune_checkpoint_type = checkpoint, kind
    return config


@pytest.fixture
def initial(model_and_config):
    """The model's values, which are put back afterwards."""
    model, _ = model_and_config
    before = [variable.numpy() for variable in model.variables]
    yield before
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)


def test_a_detection_checkpoint_loads_the_feature_extractor_alone(
    model_and_config, checkpoints, initial
):
    """The API's "detection" restores everything but the class and box heads ("full" is all)."""
    model, train_config = model_and_config
    start = starting_point.restore(
        model, _config_for(train_config, checkpoints["detection"], "detection")
    )
    said = start.sentence
    loaded = model._feature_extractor.variables
    kept = start.to_json()  # what start.json holds
    assert (kept["matched"], kept["variables"]) == (len(loaded), len(loaded))
    parts = sorted(pathlib.Path(checkpoints["detection"]).parent.glob("*"))
    parts = [part for part in parts if part.name.startswith(f"{start.path.rpartition('/')[2]}.")]
    assert kept["sha256"] == hashlib.sha256(b"".join(p.read_bytes() for p in parts)).hexdigest()
    for variable in loaded:
        assert set(np.unique(variable.numpy())) == {np.float32(0.25)}, variable.name
    heads = model._box_predictor.variables
    assert any(set(np.unique(v.numpy())) != {np.float32(0.25)} for v in heads)
    assert f"{len(loaded)} of {len(loaded)} variables matched, 0 missed" in said


def test_a_released_archive_is_taken_whole(model_and_config, checkpoints, initial, tmp_path):
    model, train_config = model_and_config
    released = tmp_path / "model_coco17_tpu-8.tar.gz"
    with tarfile.open(released, "w:gz") as packed:
        source = pathlib.Path(checkpoints["detection"])
        for part in source.parent.glob(f"{source.name}.*"):
            packed.add(part, f"model_coco17_tpu-8/checkpoint/ckpt-0{part.suffix}")
        (tmp_path / "pipeline.config").write_text("")
        packed.add(tmp_path / "pipeline.config", "model_coco17_tpu-8/pipeline.config")
    message = configs.render(MODEL, fine_tune_checkpoint=str(released))
    path = message.train_config.fine_tune_checkpoint
    assert path.endswith("model_coco17_tpu-8/checkpoint/ckpt-0")
    said = starting_point.restore(model, _config_for(train_config, path, "full")).sentence
    assert f"{len(model.variables)} of {len(model.variables)} variables matched" in said
    for variable in model.variables:
        assert set(np.unique(variable.numpy())) == {np.float32(0.25)}, variable.name


def test_what_the_checkpoint_lacks_is_counted_and_left(model_and_config, initial, tmp_path):
    """A checkpoint of the heads alone, which holds the values the model has already."""
    model, train_config = model_and_config
    heads = tf.train.Checkpoint(_box_predictor=model._box_predictor)
    path = tf.train.Checkpoint(model=heads).write(str(tmp_path / "heads"))
    said = starting_point.restore(model, _config_for(train_config, path, "full")).sentence
    held = len(model._box_predictor.variables)
    missed = len(model.variables) - held
    assert f"{held} of {len(model.variables)} variables matched, {missed} missed" in said
    for variable, value in zip(model.variables, initial, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_type_the_api_does_not_know(model_and_config, checkpoints):
    model, train_config = model_and_config
    with pytest.raises(UserError, match="fine_tune_checkpoint_type.*fine_tune.*full everything"):
        starting_point.restore(
            model, _config_for(train_config, checkpoints["detection"], "fine_tune")
        )


def test_another_number_of_classes_does_not_fit(model_and_config, tmp_path):
    path = tf.train.Checkpoint(model=model_and_config[0]).write(str(tmp_path / "whole"))
    other = configs.render(
        MODEL,
        overrides=[
            ("model.ssd.image_resizer.fixed_shape_resizer.height", "64"),
            ("model.ssd.image_resizer.fixed_shape_resizer.width", "64"),
            ("model.ssd.feature_extractor.depth_multiplier", "0.35"),
        ],
        num_classes=5,
    )
    larger = _built(other)
    before = [variable.numpy() for variable in larger.variables]
    with pytest.raises(UserError, match="does not fit this model"):
        starting_point.restore(larger, _config_for(other.train_config, path, "full"))
    for variable, value in zip(larger.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
