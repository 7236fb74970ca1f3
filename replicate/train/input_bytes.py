"""Images stay the decoder's bytes until their values are asked for.

The API widens each decoded image to float32 before its first augmentation step, and flips, crops
and resizes it so. A flip and a crop only copy pixels, and a resizing kernel widens each pixel as it
reads it: on bytes they give the same values and move a quarter of the memory. Inside
`traced_on_bytes()` the API's functions are traced in this way; the steps behind the first one that
computes with pixels get float32, as in the API. A model that normalizes before it resizes (SSD)
resizes what it normalized.

Two things that the API does pixel by pixel are done row by row: where it pads a resized image to a
square, it takes its channels apart, pads each and puts them together again; and where it normalizes
each channel by numbers of its own, TensorFlow looks up which one for each value.
tests/train/test_input_bytes.py holds batches to the API's bits.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

#: Augmentation steps that choose pixels and compute with none.
_CHOOSING = (
    "random_horizontal_flip",
    "random_vertical_flip",
    "random_rotation90",
    "random_crop_image",
    "ssd_random_crop",
)
#: Operations on each value, with which models normalize.
_BY_VALUE = ("Sub", "Mul", "RealDiv", "AddV2")


@contextlib.contextmanager
def traced_on_bytes() -> Iterator[None]:
    """Inside, the API's input is traced on bytes where it can be, and row by row."""
    from object_detection import inputs
    from object_detection.utils import shape_utils

    augment, resize = inputs.augment_input_data, shape_utils.resize_images_and_return_shapes
    transform = inputs.transform_input_data
    inputs.augment_input_data = _augmenting(augment)
    inputs.transform_input_data = _transforming(transform)
    shape_utils.resize_images_and_return_shapes = _resizing(resize)
    try:
        yield
    finally:
        inputs.augment_input_data = augment
        inputs.transform_input_data = transform
        shape_utils.resize_images_and_return_shapes = resize


def _transforming(original: Callable) -> Callable:
    """The API's `transform_input_data`, whose model normalizes row by row behind its resizing."""

    def transform_input_data(
        tensor_dict: dict, model_preprocess_fn: Callable, **given: Any
    ) -> dict:
        def preprocess(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            preprocessed, true_shapes = model_preprocess_fn(images)
            return _normalized_in_rows(preprocessed), true_shapes

        return original(tensor_dict, model_preprocess_fn=preprocess, **given)

    return transform_input_data


def _augmenting(original: Callable) -> Callable:
    """The API's `augment_input_data`, whose first steps get the image as it was decoded."""
    from object_detection.core import preprocessor, standard_fields

    key = standard_fields.InputDataFields.image

    def augment_input_data(tensor_dict: dict, data_augmentation_options: list) -> dict:
        decoded = tensor_dict[key]
        choosing = _leading(data_augmentation_options)
        if decoded.dtype != tf.uint8 or not choosing:
            return original(tensor_dict, data_augmentation_options)
        preprocess = preprocessor.preprocess

        def in_two(tensor_dict: dict, options: list, func_arg_map: Any = None) -> dict:
            tensor_dict[key] = decoded[tf.newaxis]
            tensor_dict = preprocess(tensor_dict, options[:choosing], func_arg_map=func_arg_map)
            if not options[choosing:]:
                return tensor_dict
            tensor_dict[key] = tf.cast(tensor_dict[key], tf.float32)
            return preprocess(tensor_dict, options[choosing:], func_arg_map=func_arg_map)

        preprocessor.preprocess = in_two
        try:
            return original(tensor_dict, data_augmentation_options)
        finally:
            preprocessor.preprocess = preprocess

    return augment_input_data


def _leading(options: list) -> int:
    """How many of the first augmentation steps [(function, arguments)] only choose pixels."""
    count = 0
    while count < len(options) and options[count][0].__name__ in _CHOOSING:
        count += 1
    return count


def _resizing(original: Callable) -> Callable:
    """The API's `resize_images_and_return_shapes`, which reads bytes where they were widened."""

    def resize_images_and_return_shapes(images: tf.Tensor, image_resizer_fn: Callable) -> Any:
        image_resizer_fn = _padding_rows(image_resizer_fn)
        image = _before_widening(images)
        if image is None:
            return original(_normalized_in_rows(images), image_resizer_fn)
        resized, true_shape = image_resizer_fn(image)
        return [tf.cast(resized, tf.float32)[tf.newaxis], true_shape[tf.newaxis]]

    return resize_images_and_return_shapes


def _before_widening(images: tf.Tensor) -> tf.Tensor | None:
    """The image of bytes that `images` [1, h, w, 3] is a cast and an added dimension of."""
    if tf.executing_eagerly() or images.op.type != "ExpandDims":
        return None
    (cast, *_) = images.op.inputs
    if cast.op.type != "Cast" or cast.op.inputs[0].dtype != tf.uint8:
        return None
    return cast.op.inputs[0]


def _padding_rows(image_resizer_fn: Any) -> Callable:
    """The API's function that resizes an image and pads it; here with rows and columns."""
    from object_detection.core import preprocessor

    settings = getattr(image_resizer_fn, "keywords", {})
    if (
        getattr(image_resizer_fn, "func", None) is not preprocessor.resize_to_range
        or not settings.get("pad_to_max_dimension")
        or len(settings["per_channel_pad_value"]) != 3
    ):
        return image_resizer_fn
    without_padding = functools.partial(image_resizer_fn, pad_to_max_dimension=False)
    side, values = settings["max_dimension"], settings["per_channel_pad_value"]

    def resized_and_padded(image: tf.Tensor) -> list[tf.Tensor]:
        resized, size = without_padding(image)
        if resized.dtype != tf.float32 or resized.shape[2] != 3:
            return image_resizer_fn(image)
        pad = tf.constant(values, tf.float32)
        right = tf.broadcast_to(pad, [size[0], side - size[1], 3])
        below = tf.broadcast_to(pad, [side - size[0], side, 3])
        padded = tf.concat([tf.concat([resized, right], axis=1), below], axis=0)
        padded.set_shape([side, side, 3])
        return [padded, size]

    return resized_and_padded


def _normalized_in_rows(images: tf.Tensor) -> tf.Tensor:
    """`images` [1, h, w, 3], their last operations with a number for each channel done on rows."""
    if tf.executing_eagerly() or images.shape.rank != 4 or images.shape[-1] != 3:
        return images
    chain: list[tuple[str, Any, bool]] = []
    before = images
    while before.op.type in _BY_VALUE:
        left, right = before.op.inputs
        held = tf.get_static_value(right), tf.get_static_value(left)
        at = next((at for at in (0, 1) if held[at] is not None), None)
        if at is None or (left, right)[at].shape != images.shape:
            break
        if held[at].size != 1 and (held[at].size, held[at].shape[-1]) != (3, 3):
            break
        chain.append((before.op.type, held[at].ravel(), at == 0))
        before = (left, right)[at]
    if not any(numbers.size == 3 for _, numbers, _ in chain):
        return images
    shape = tf.shape(before)
    rows = tf.reshape(before, [-1, shape[2] * 3])
    for operation, numbers, on_the_right in reversed(chain):
        numbers = tf.tile(numbers, [shape[2]]) if numbers.size == 3 else tf.constant(numbers[0])
        x, y = (rows, numbers) if on_the_right else (numbers, rows)
        rows = getattr(tf.raw_ops, operation)(x=x, y=y)
    normalized = tf.reshape(rows, shape)
    normalized.set_shape(images.shape)
    return normalized
