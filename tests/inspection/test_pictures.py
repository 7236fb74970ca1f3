"""Normalizations undone, and labels that keep apart."""

import numpy as np
import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate.inspection import pictures
from tests.inspection import making


@pytest.mark.parametrize(
    "family, black, white, swaps",
    [
        ("ssd", [-1, -1, -1], [1, 1, 1], False),
        # VGG's means, which Keras' ResNet subtracts; this one keeps the channels' order.
        ("faster_rcnn", [-123.68, -116.779, -103.939], [131.32, 138.221, 151.061], False),
    ],
)
def test_normalization_is_found_and_undone(family, black, white, swaps):
    model = odapi.build_model(making.config(family).model, is_training=True)
    found = pictures.Normalization(model)
    assert found.affine and found.swaps_channels == swaps
    np.testing.assert_allclose(found.low, black, atol=1e-3)
    np.testing.assert_allclose(found.high, white, atol=1e-3)
    image = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    normalized = model._feature_extractor.preprocess(tf.constant(image[None], tf.float32))
    np.testing.assert_array_equal(found.undone(normalized[0]), image)


class _Model:
    """A model of which the normalization alone is asked."""

    def __init__(self, preprocess):
        self._feature_extractor = self
        self.preprocess = preprocess


def test_swapped_channels_come_back():
    means, deviations = np.float32([104, 114, 120]), np.float32([73.6, 69.9, 70.9])
    found = pictures.Normalization(_Model(lambda x: (x[..., ::-1] - means) / deviations))
    assert found.affine and found.swaps_channels
    image = np.random.default_rng(2).integers(0, 256, (5, 4, 3), np.uint8)
    normalized = (image[..., ::-1].astype(np.float32) - means) / deviations
    np.testing.assert_array_equal(found.undone(normalized), image)


def test_what_cannot_be_undone_is_said():
    found = pictures.Normalization(_Model(lambda x: tf.square(x) / 255.0))
    assert not found.affine
    stretched = found.undone(np.float32([[[5, 10, 15]]]))
    assert stretched.tolist() == [[[0, 128, 255]]]


def test_labels_keep_apart():
    drawn = pictures.boxes(
        [(20, 10, 60, 90), (20, 10, 60, 90), (20, 10, 60, 90), (20, 10, 60, 90), (20, 10, 60, 90)],
        ["object"] * 5,
        ["dog"] * 5,
    )
    tags = pictures.tags(drawn, (260, 260))
    heights = sorted(tag["y"] for tag in tags["placed"])
    assert len(heights) == 4, "four places at a box, the fifth label has none"
    assert min(np.diff(heights)) > tags["size"]
