"""The pixels that an exported model is fed are the API's own."""

import numpy as np
import pytest

from replicate import odapi
from replicate.errors import UserError
from replicate.export.pixels import Pixels, resized

odapi.load()

import tensorflow as tf
from object_detection.core import preprocessor

SIZES_HW = [(480, 640), (427, 640), (640, 425), (97, 331), (320, 320), (100, 100), (1, 5)]


def _image(hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)


@pytest.mark.parametrize("hw", SIZES_HW)
@pytest.mark.parametrize("target", [(320, 320), (300, 200), (7, 3)])
def test_resized_as_the_api_resizes(hw, target):
    image = _image(hw)
    expected = tf.compat.v1.image.resize(tf.cast(image, tf.float32), target).numpy()
    assert np.abs(resized(image, target) - expected).max() < 1e-3


def test_half_pixel_centres_are_another_kernel():
    image = _image((480, 640))
    other = tf.image.resize(tf.cast(image, tf.float32), (320, 320)).numpy()
    assert np.abs(resized(image, (320, 320)) - other).mean() > 5


@pytest.mark.parametrize("hw", SIZES_HW[:-1])
def test_padded_as_the_api_pads(hw):
    image = _image(hw)
    expected, _ = preprocessor.resize_to_range(
        tf.cast(image, tf.float32),
        min_dimension=256,
        max_dimension=256,
        pad_to_max_dimension=True,
        per_channel_pad_value=(3.0, 4.0, 5.0),
    )
    given = Pixels((256, 256), (3.0, 4.0, 5.0), (1.0,) * 3, (0.0,) * 3, "api")
    assert np.abs(given.prepared(image) - expected.numpy()).max() < 1e-3


def test_the_image_s_part_of_the_input_for_every_aspect():
    given = Pixels((512, 512), (0.0,) * 3, (1.0,) * 3, (0.0,) * 3, "api")
    rng = np.random.default_rng(4)
    for height, width in rng.integers(20, 900, (60, 2)).tolist():
        image = tf.zeros((height, width, 1))
        expected = preprocessor.resize_to_range(image, min_dimension=512, max_dimension=512)[1]
        assert given.content_hw((height, width)) == tuple(expected.numpy()[:2]), (height, width)


def test_boxes_of_a_padded_input_are_boxes_of_the_image():
    given = Pixels((100, 100), (0.0,) * 3, (1.0,) * 3, (0.0,) * 3, "api")
    # The image of 200 × 400 takes the upper half of the input.
    boxes = np.array([[0.0, 0.0, 0.5, 1.0], [0.25, 0.5, 0.6, 1.1]])
    assert given.boxes_yxyx_px(boxes, (200, 400)).tolist() == [
        [0, 0, 200, 400],
        [100, 200, 200, 400],  # clipped
    ]


def test_scale_and_offset_of_each_channel():
    given = Pixels((4, 4), None, (0.5, 1.0, 2.0), (-1.0, 0.0, 1.0), "opencv")
    image = np.full((9, 9, 3), 10, np.uint8)
    assert given.prepared(image)[2, 3].tolist() == [4, 10, 21]


def test_an_unknown_resizer():
    with pytest.raises(UserError, match="there are: api, opencv"):
        Pixels((4, 4), None, (1.0,) * 3, (0.0,) * 3, "pil")
