"""The API's input, traced so that it moves less memory; its values keep their bits.

The API widens each decoded image to float32 before its first augmentation step, and flips, crops
and resizes it so. A flip and a crop only copy pixels, and a resizing kernel widens each pixel as it
reads it: on the decoder's bytes they give the same values and move a quarter of the memory. Inside
`traced_on_bytes()` the API's functions are traced in this way; the steps behind the first one that
computes with pixels get float32, as in the API. A model that normalizes before it resizes (SSD)
resizes what it normalized. Where an image becomes larger, each pixel is read several times, and it
is widened first.

Two things that the API does pixel by pixel are done row by row: where it pads a resized image to a
square, it takes its channels apart, pads each and puts them together again; and where it normalizes
each channel by numbers of its own, TensorFlow looks up which one for each value. An image that has
the size which is asked for is neither resized nor padded, and one that was padded by its
augmentation (EfficientDet) is normalized, and narrowed to bfloat16, before it is padded, with what
that makes of the padding.
tests/train/test_input_bytes.py holds batches to the API's bits.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import gen_image_ops

#: Augmentation steps that choose pixels and compute with none.
_CHOOSING = (
    "random_horizontal_flip",
    "random_vertical_flip",
    "random_rotation90",
    "random_crop_image",
    "ssd_random_crop",
)
#: Steps that begin with a resizing and go on with its float32.
_RESIZING_FIRST = ("random_scale_crop_and_pad_to_square",)
#: Operations on each value, with which models normalize.
_BY_VALUE = ("Sub", "Mul", "RealDiv", "AddV2")
#: Operations that add dimensions of 1 and take them away; a stack of one and its parts do so too.
_LAYOUT, _STACKED = ("ExpandDims", "Squeeze", "Identity"), ("Pack", "Unpack")


@contextlib.contextmanager
def traced_on_bytes() -> Iterator[None]:
    """Inside, the API's input is traced on bytes where it can be, and row by row."""
    from object_detection import inputs
    from object_detection.utils import shape_utils

    augment, resize = inputs.augment_input_data, shape_utils.resize_images_and_return_shapes
    transform, kernel = inputs.transform_input_data, gen_image_ops.resize_bilinear
    inputs.augment_input_data = _augmenting(augment)
    inputs.transform_input_data = _transforming(transform)
    shape_utils.resize_images_and_return_shapes = _resizing(resize)
    gen_image_ops.resize_bilinear = _enlarging(kernel)
    try:
        yield
    finally:
        inputs.augment_input_data = augment
        inputs.transform_input_data = transform
        shape_utils.resize_images_and_return_shapes = resize
        gen_image_ops.resize_bilinear = kernel


def _transforming(original: Callable) -> Callable:
    """The API's `transform_input_data`, whose model normalizes row by row behind its resizing."""
    from object_detection.core import standard_fields

    key = standard_fields.InputDataFields.image

    def transform_input_data(
        tensor_dict: dict, model_preprocess_fn: Callable, **given: Any
    ) -> dict:
        def preprocess(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            preprocessed, true_shapes = model_preprocess_fn(images)
            return _normalized_in_rows(preprocessed), true_shapes

        transformed = original(tensor_dict, model_preprocess_fn=preprocess, **given)
        transformed[key] = _padded_last(transformed[key])
        return transformed

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
    return count + (count < len(options) and options[count][0].__name__ in _RESIZING_FIRST)


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


def _enlarging(original: Callable) -> Callable:
    """The operation ResizeBilinear, before which bytes that it makes more of are widened."""

    def resize_bilinear(images: tf.Tensor, size: tf.Tensor, **given: Any) -> tf.Tensor:
        if images.dtype != tf.uint8:
            return original(images, size, **given)
        return tf.cond(
            tf.reduce_prod(size) > tf.reduce_prod(tf.shape(images)[1:3]),
            lambda: original(tf.cast(images, tf.float32), size, **given),
            lambda: original(images, size, **given),
        )

    return resize_bilinear


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
        if settings["min_dimension"] == side and image.shape == [side, side, 3]:
            return [tf.cast(image, tf.float32), tf.constant([side, side, 3])]
        resized, size = without_padding(image)
        if resized.dtype != tf.float32 or resized.shape[2] != 3:
            return image_resizer_fn(image)
        padding, missing = tf.constant(values, tf.float32), side - size
        rows = tf.reshape(resized, [size[0], size[1] * 3])
        padded = _with_margins(rows, padding, (0, missing[0]), (0, missing[1]), side)
        return [tf.reshape(padded, [side, side, 3]), size]

    return resized_and_padded


@dataclasses.dataclass(frozen=True)
class _Step:
    """An operation on each value of an image, with a number of its own for each channel, or one.

    Attributes:
      type: of `_BY_VALUE`, or "Cast".
      numbers: float32 [1] or [3]; None of a cast.
      numbers_first: whether they are the operation's first operand.
      dtype: of the result.
    """

    type: str
    numbers: Any
    numbers_first: bool
    dtype: tf.DType

    def of_rows(self, rows: tf.Tensor, width: tf.Tensor | int) -> tf.Tensor:
        """The step on `rows` [..., width x 3]."""
        if self.numbers is None:
            return tf.cast(rows, self.dtype)
        numbers = self.numbers
        numbers = tf.tile(numbers, [width]) if len(numbers) == 3 else tf.constant(numbers[0])
        x, y = (numbers, rows) if self.numbers_first else (rows, numbers)
        return getattr(tf.raw_ops, self.type)(x=x, y=y)


def _taken_back(tensor: tf.Tensor) -> tuple[_Step, tf.Tensor] | None:
    """The step on each value that `tensor` [..., 3] is the result of, and what it was done to."""
    operation = tensor.op
    if operation.type == "Cast":
        return _Step("Cast", None, False, tensor.dtype), operation.inputs[0]
    if operation.type not in _BY_VALUE or tensor.dtype != tf.float32:
        return None
    for at, before in enumerate(operation.inputs):
        numbers = tf.get_static_value(operation.inputs[1 - at])
        if numbers is None or before.shape != tensor.shape:
            continue
        if numbers.size == 1 or (numbers.size == 3 and numbers.shape[-1] == 3):
            return _Step(operation.type, numbers.ravel(), at == 1, tf.float32), before
    return None


def _normalized_in_rows(images: tf.Tensor) -> tf.Tensor:
    """`images` [1, h, w, 3], their last operations with a number for each channel done on rows."""
    if tf.executing_eagerly() or images.shape.rank != 4 or images.shape[-1] != 3:
        return images
    steps: list[_Step] = []
    before = images
    while (found := _taken_back(before)) and found[0].numbers is not None:
        steps.insert(0, found[0])
        before = found[1]
    if (
        not any(len(step.numbers) == 3 for step in steps)
        or _without_layout(before).op.type == "Pad"
    ):
        return images
    shape = tf.shape(before)
    rows = tf.reshape(before, [-1, shape[2] * 3])
    for step in steps:
        rows = step.of_rows(rows, shape[2])
    normalized = tf.reshape(rows, shape)
    normalized.set_shape(images.shape)
    return normalized


def _without_layout(tensor: tf.Tensor) -> tf.Tensor:
    """What `tensor` is, before dimensions of 1 were added to it and taken from it."""
    while (operation := tensor.op).type in _LAYOUT or (
        operation.type in _STACKED and len(operation.inputs) == len(operation.outputs) == 1
    ):
        tensor = operation.inputs[0]
    return tensor


def _padded_last(image: tf.Tensor) -> tf.Tensor:
    """`image` [..., h, w, 3], padded with zeros behind its last steps and not before them."""
    if tf.executing_eagerly() or not image.shape.is_fully_defined() or image.shape[-1] != 3:
        return image
    steps: list[_Step] = []
    before = _without_layout(image)
    while found := _taken_back(before):
        steps.insert(0, found[0])
        before = _without_layout(found[1])
    if before.op.type != "Pad" or before.dtype != tf.float32 or before.shape.rank != 4:
        return image
    content, paddings = before.op.inputs
    if not steps or before.shape[0] != 1 or before.shape[1:] != image.shape[-3:]:
        return image
    if content.shape[0] != 1 or content.shape[3] != 3:
        return image
    width = tf.shape(content)[2]
    rows, padding = tf.reshape(content, [-1, width * 3]), tf.zeros([3])
    for step in steps:
        rows, padding = step.of_rows(rows, width), step.of_rows(padding, 1)

    whole = _with_margins(
        rows, padding, tf.unstack(paddings[1]), tf.unstack(paddings[2]), before.shape[2]
    )
    return tf.reshape(whole, image.shape)


def _with_margins(
    rows: tf.Tensor,
    padding: tf.Tensor,
    rows_about: Sequence[tf.Tensor | int],
    columns_about: Sequence[tf.Tensor | int],
    width: int,
) -> tf.Tensor:
    """`rows` [h, w x 3] with so many rows and columns of `padding` [3] before and behind them.

    Args:
      width: of an image with its margins; the result is [all rows, width x 3].
    """
    whole_row = tf.tile(padding, [width])

    def margin(height: tf.Tensor | int, columns: tf.Tensor | int) -> tf.Tensor:
        return tf.broadcast_to(whole_row[: columns * 3], [height, columns * 3])

    def widened() -> tf.Tensor:
        height = tf.shape(rows)[0]
        left, right = (margin(height, columns) for columns in columns_about)
        return tf.concat([left, rows, right], axis=1)

    wide = tf.cond(sum(columns_about) > 0, widened, lambda: rows)

    def heightened() -> tf.Tensor:
        above, below = (margin(height, width) for height in rows_about)
        return tf.concat([above, wide, below], axis=0)

    return tf.cond(sum(rows_about) > 0, heightened, lambda: wide)
