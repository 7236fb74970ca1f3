"""Images stay the decoder's bytes until their values are asked for.

The API widens each decoded image to float32 before its first augmentation step, and flips, crops
and resizes it so. A flip and a crop only copy pixels, and a resizing kernel widens each pixel as it
reads it: on bytes they give the same values and move a quarter of the memory. Inside `kept()` the
API's functions are traced in this way; the steps behind the first one that computes with pixels get
float32, as in the API. A model that normalizes before it resizes (SSD) resizes what it normalized.
tests/train/test_input_bytes.py holds batches to the API's bits.
"""

import contextlib
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


@contextlib.contextmanager
def traced_on_bytes() -> Iterator[None]:
    """Inside, the API's `augment_input_data` and resizing are traced on bytes where they can be."""
    from object_detection import inputs
    from object_detection.utils import shape_utils

    augment, resize = inputs.augment_input_data, shape_utils.resize_images_and_return_shapes
    inputs.augment_input_data = _augmenting(augment)
    shape_utils.resize_images_and_return_shapes = _resizing(resize)
    try:
        yield
    finally:
        inputs.augment_input_data = augment
        shape_utils.resize_images_and_return_shapes = resize


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
        image = _before_widening(images)
        if image is None:
            return original(images, image_resizer_fn)
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
