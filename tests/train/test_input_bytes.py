"""Augmentation and resizing of the decoder's bytes give the API's own bits."""

import contextlib
import functools

import numpy as np
import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate.train import input_bytes
from tests.train import drawn_input

_RECIPES = (
    "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
    "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8",
)
_SLOW = (
    "ssd_mobilenet_v2_320x320_coco17_tpu-8",
    "centernet_resnet101_v1_fpn_512x512_coco17_tpu-8",
    "ssd_efficientdet_d0_512x512_coco17_tpu-8",
    "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8",
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return drawn_input.records(tmp_path_factory.mktemp("records"), shards=1)


def _config(recipe, records, *steps):
    message = drawn_input.config(recipe, records, batch_size=4)
    if steps:
        del message.train_config.data_augmentation_options[:]
    for step in steps:
        getattr(message.train_config.data_augmentation_options.add(), step).SetInParent()
    return message


def _batches(message, model, count=6):
    return drawn_input.batches(message, model, count)


def _assert_equal_bits(message, monkeypatch):
    model = odapi.build_model(message.model, is_training=True)
    chosen = []
    leading = input_bytes._leading
    monkeypatch.setattr(
        input_bytes, "_leading", lambda options: chosen.append(leading(options)) or chosen[-1]
    )
    ours = _batches(message, model)
    assert chosen and chosen[0] > 0, "some step works on bytes"
    monkeypatch.setattr(input_bytes, "traced_on_bytes", contextlib.nullcontext)
    theirs = _batches(message, model)
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)
    assert any(not np.array_equal(ours[0], other) for other in ours[1:])


@pytest.mark.parametrize(
    "recipe", [*_RECIPES, *(pytest.param(each, marks=pytest.mark.slow) for each in _SLOW)]
)
def test_a_recipe_s_batches_have_the_api_s_bits(recipe, records, monkeypatch):
    _assert_equal_bits(_config(recipe, records), monkeypatch)


@pytest.mark.parametrize(
    "steps",
    [
        ("random_vertical_flip", "random_rotation90", "random_image_scale"),
        ("random_horizontal_flip", "random_scale_crop_and_pad_to_square", "random_adjust_hue"),
        pytest.param(
            ("random_horizontal_flip", "random_adjust_hue", "ssd_random_crop"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=", ".join,
)
def test_steps_that_compute_with_pixels_get_float32(steps, records, monkeypatch):
    _assert_equal_bits(_config(_RECIPES[0], records, *steps), monkeypatch)


def test_a_recipe_that_computes_first_is_left_as_it_is(records, monkeypatch):
    message = _config(_RECIPES[0], records, "random_adjust_hue", "random_horizontal_flip")
    model = odapi.build_model(message.model, is_training=True)
    ours = _batches(message, model, 2)
    monkeypatch.setattr(input_bytes, "traced_on_bytes", contextlib.nullcontext)
    for mine, other in zip(ours, _batches(message, model, 2), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("size_hw", [(320, 300), (31, 257), (60, 80)])
def test_bytes_are_resized_to_the_bits_of_floats(size_hw):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)

    def resizer(image):
        resized = tf.compat.v1.image.resize_images(image, size_hw)
        return [resized, tf.shape(resized)]

    from object_detection.utils import shape_utils

    @tf.function
    def resized(image):
        return shape_utils.resize_images_and_return_shapes(
            tf.expand_dims(tf.cast(image, tf.float32), axis=0), resizer
        )

    theirs = [each.numpy() for each in resized(image)]
    with input_bytes.traced_on_bytes():
        graph = tf.function(resized.python_function).get_concrete_function(
            tf.TensorSpec([60, 80, 3], tf.uint8)
        )
    ours = [each.numpy() for each in graph(tf.constant(image))]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype and mine.shape == other.shape
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("size_hw", [(60, 80), (80, 60), (64, 64)])
@pytest.mark.parametrize("pad", [(0, 0, 0), (123.675, 116.28, 103.53)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_image_is_padded_to_the_api_s_bits(size_hw, pad, dtype):
    from object_detection.core import preprocessor
    from object_detection.utils import shape_utils

    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3)).astype(dtype)
    resizer = functools.partial(
        preprocessor.resize_to_range,
        min_dimension=48,
        max_dimension=56,
        pad_to_max_dimension=True,
        per_channel_pad_value=pad,
    )

    def resized(image):
        return shape_utils.resize_images_and_return_shapes(
            tf.expand_dims(tf.cast(image, tf.float32), axis=0), resizer
        )

    spec = tf.TensorSpec([None, None, 3], dtype)
    theirs = tf.function(resized).get_concrete_function(spec)
    with input_bytes.traced_on_bytes():
        ours = tf.function(resized).get_concrete_function(spec)
    kinds = [
        {operation.type for operation in function.graph.get_operations()}
        for function in (theirs, ours)
    ]
    assert kinds[0] & {"Pad", "PadV2"} and not kinds[1] & {"Pad", "PadV2"}
    for mine, other in zip(ours(image), theirs(image), strict=True):
        assert mine.dtype == other.dtype and mine.shape == other.shape
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    "normalize",
    [
        lambda images: (images / 255 - [[[0.485, 0.456, 0.406]]]) / [[[0.229, 0.224, 0.225]]],
        lambda images: images - [[[123.68, 116.779, 103.939]]],
        lambda images: [1.5, 2.5, 3.5] - images * 0.1,
        lambda images: images / tf.constant([[[[255.0]]]]) + [0.1, 0.2, 0.3],
    ],
)
def test_channels_are_normalized_to_the_api_s_bits(normalize):
    from object_detection.utils import shape_utils

    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)

    def resizer(image):
        resized = tf.compat.v1.image.resize_images(image, (33, 47))
        return [resized, tf.shape(resized)]

    def resized(image):
        images = tf.expand_dims(tf.cast(image, tf.float32), axis=0)
        return shape_utils.resize_images_and_return_shapes(normalize(images), resizer)

    # In tf.data, as the training does it; elsewhere TensorFlow may put such operations together.
    images = tf.data.Dataset.from_generator(
        lambda: [image], output_signature=tf.TensorSpec([None, None, 3], tf.uint8)
    )
    theirs = images.map(resized, num_parallel_calls=1)
    with input_bytes.traced_on_bytes():
        ours = images.map(resized, num_parallel_calls=1)
        graph = tf.function(resized).get_concrete_function(images.element_spec).graph
    assert "Tile" in {operation.type for operation in graph.get_operations()}
    for mine, other in zip(*(next(iter(each)) for each in (ours, theirs)), strict=True):
        assert mine.dtype == other.dtype and mine.shape == other.shape
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("size_hw", [(64, 80), (40, 80), (64, 33), (20, 31)])
@pytest.mark.parametrize("offset_hw", [(0, 0), (3, 5)])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_what_was_padded_first_is_padded_last_to_the_same_bits(size_hw, offset_hw, dtype):
    side_h, side_w = size_hw[0] + 11 * bool(offset_hw[0]), size_hw[1] + 9 * bool(offset_hw[1])
    whole_hw = max(64, side_h), max(80, side_w)
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3)).astype(np.float32)

    def padded_first(image):
        padded = tf.image.pad_to_bounding_box(image, *offset_hw, *whole_hw)
        images = tf.expand_dims(padded, 0) / 255
        images = (images - [[[0.485, 0.456, 0.406]]]) / [[[0.229, 0.224, 0.225]]]
        return tf.cast(tf.squeeze(tf.stack([tf.unstack(images, 1)[0]]), 0), dtype)

    images = tf.data.Dataset.from_generator(
        lambda: [image], output_signature=tf.TensorSpec([None, None, 3], tf.float32)
    )
    theirs, ours = (
        next(iter(images.map(tf.autograph.experimental.do_not_convert(function))))
        for function in (
            padded_first,
            lambda image: input_bytes._padded_last(padded_first(image)),
        )
    )
    last = input_bytes._padded_last
    function = tf.function(lambda image: last(padded_first(image)), autograph=False)
    graph = function.get_concrete_function(images.element_spec).graph
    assert {operation.type for operation in graph.get_operations()} & {"If", "StatelessIf"}
    assert ours.dtype == theirs.dtype == dtype and ours.shape == theirs.shape == (*whole_hw, 3)
    np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(tf.cast(ours, tf.float32))) > 100
