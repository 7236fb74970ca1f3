"""Backbones: their preprocessing, and weights that must fit as a whole."""

import numpy as np
import pytest

from replicate.errors import UserError
from replicate.recognition import backbones, model
from replicate.recognition.engine import tf

SIZE = 32
# One of each family that Keras has, at a size that it takes.
APPLICATIONS = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "RegNetX002": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "ResNetRS50": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
    "official/resnet-50": 32,
}


def _noise(shape=(2, SIZE, SIZE, 3), seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Blue, green, red, each less ImageNet's mean (the "caffe" mode of Keras).
        ("ResNet50", [30 - 103.939, 20 - 116.779, 10 - 123.68]),
        # To -1..1.
        ("MobileNet", [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1]),
        # ImageNet's mean and standard deviation of red, green, blue (tf-models-official).
        (
            "official/resnet-18",
            [
                (10 - 0.485 * 255) / (0.229 * 255),
                (20 - 0.456 * 255) / (0.224 * 255),
                (30 - 0.406 * 255) / (0.225 * 255),
            ],
        ),
    ],
)
def test_images_are_preprocessed_as_the_backbone_wants(name, expected):
    preprocess = backbones.build(name, SIZE).preprocess
    pixel = np.array([[[[10.0, 20.0, 30.0]]]], np.float32)
    np.testing.assert_allclose(np.asarray(preprocess(pixel)).ravel(), expected, rtol=1e-5)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """(network, weights without top, weights with top): Keras's files of one random MobileNet."""
    folder = tmp_path_factory.mktemp("weights")
    tf.keras.utils.set_random_seed(5)
    settings = {"weights": None, "input_shape": (SIZE, SIZE, 3)}
    network = tf.keras.applications.MobileNet(include_top=False, pooling="avg", **settings)
    network.save_weights(folder / "notop.h5")
    whole = tf.keras.applications.MobileNet(include_top=True, classes=7, **settings)
    body = [layer for layer in whole.layers if layer.name in {each.name for each in network.layers}]
    for layer in body:
        layer.set_weights(network.get_layer(layer.name).get_weights())
    whole.save_weights(folder / "top.h5")
    return network, str(folder / "notop.h5"), str(folder / "top.h5")


@pytest.mark.parametrize("file", [1, 2], ids=["without the top", "with the top"])
def test_the_weights_of_a_file_are_taken(pretrained, file):
    network, images = pretrained[0], _noise()
    ours = backbones.build("MobileNet", SIZE, weights=pretrained[file]).network
    np.testing.assert_array_equal(ours(images), network(images))
    random = backbones.build("MobileNet", SIZE).network
    assert not np.allclose(random(images), network(images), atol=0)


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("MobileNetV2", ["layers are not in it", "another network"]),
        ("official/resnet-18", ["layers are not in it"]),
    ],
)
def test_weights_of_another_network_are_refused(pretrained, backbone, words):
    with pytest.raises(UserError) as error:
        backbones.build(backbone, SIZE, weights=pretrained[1])
    assert all(word in str(error.value) for word in [*words, pretrained[1]])


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "weights.h5").write_text("hello")
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        backbones.build("MobileNet", SIZE, weights=str(tmp_path / "weights.h5"))


def test_a_checkpoint_of_tf_models_official_is_taken(tmp_path):
    tf.keras.utils.set_random_seed(6)
    theirs = backbones.build("official/resnet-18", SIZE)
    # The layout of tf-models-official's classification checkpoints.
    path = tf.train.Checkpoint(backbone=theirs.body, global_step=tf.Variable(3)).write(
        str(tmp_path / "ckpt-3")
    )
    ours = backbones.build("official/resnet-18", SIZE, weights=path)
    np.testing.assert_array_equal(ours.network(_noise()), theirs.network(_noise()))
    with pytest.raises(UserError, match="does not"):
        backbones.build("MobileNet", SIZE, weights=path)


def test_another_runs_checkpoint_is_taken(finished):
    path = model.find(finished.root)
    theirs, _ = model.load(path)
    ours = backbones.build("MobileNet", SIZE, weights=path)
    np.testing.assert_array_equal(ours.network(_noise()), theirs.backbone(_noise()))


def test_the_momentum_of_batch_norm_is_set_everywhere():
    network = backbones.build("MobileNet", SIZE, batch_norm_momentum=0.9).network
    layers = [each for each in network.layers if "BatchNormalization" in type(each).__name__]
    assert len(layers) == 27
    assert {layer.momentum for layer in layers} == {0.9}


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("ResNet51", 32, ["ResNet51", "did you mean ResNet50"]),
        ("official/resnet-51", 32, ["did you mean official/resnet-50"]),
        ("InceptionV3", 64, ["InceptionV3 at 64 px", "75"]),  # Keras's own words: at least 75
    ],
)
def test_an_impossible_backbone_is_told(name, size, words):
    with pytest.raises(UserError) as error:
        backbones.build(name, size)
    assert all(word in str(error.value) for word in words)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), APPLICATIONS.items())
def test_every_family_of_keras_trains_a_step(name, size, request_of):
    from replicate.recognition.trainer import RecognitionTrainer

    request = request_of(backbone=name, image_size=size, num_steps=1, batch_size=2)
    trainer = RecognitionTrainer(request, model.build(request, request.classes()), 1)
    assert np.isfinite(trainer.train(1)["losses"]["Loss/total_loss"])


def test_every_name_is_a_backbone_of_a_tested_family_or_its_sibling():
    """A new family in Keras must be added to APPLICATIONS."""
    module = {
        name: getattr(tf.keras.applications, name).__module__
        for name in backbones.names()
        if not name.startswith("official/")
    }
    tested = {module[name] for name in APPLICATIONS if name in module}
    assert {name for name in module if module[name] not in tested} == set()
