"""Trainers whose layers compute in float64, where rounding decides no order of scores.

Decoding and losses stay float32, as in mixed precision. XLA has no fast convolution of float64 on
a CPU: a kernel of 3 x 3 takes 500 times as long as one of float32. Under XLA a convolution is
traced as products instead, of the windows of the image by the kernel; without it, convolutions stay
TensorFlow's.
"""

import contextlib
import sys
from unittest import mock

import tensorflow as tf

from replicate.gpu_check import small
from replicate.parity import runs
from replicate.train import precision


def made(config, execution):
    """`small.made`, nothing traced."""
    with mock.patch.dict(precision._POLICIES, float32="float64"):
        trainer = small.made(config, execution)
    # What the losses are made of, as the API's own loop has it of bfloat16.
    model = trainer.model
    model.predict = _in_float32(model.predict)
    model.regularization_losses = _in_float32(model.regularization_losses)
    if execution.jit_compile:
        replica = trainer._replica
        replica.op_by_op = replica.gradients.python_function

        def with_products(*batch):
            with _convolutions_as_products():
                return replica.op_by_op(*batch)

        replica.gradients = tf.function(with_products, jit_compile=True)
    return trainer


def beside_each_other(trainer, steps):
    """Yields {"xla", "plain": losses, "gradients"} of steps, each of both with the same weights.

    "gradients" is the norm of what XLA's are apart from the others, relative to the others'.
    """
    replica, stream = trainer._replica, trainer._input()

    def step(features, labels):
        sides = {
            "plain": replica.on_each(replica.op_by_op, features, labels),
            "xla": replica.on_each(replica.gradients, features, labels),
        }
        losses = {side: of_side[0] for side, of_side in sides.items()}
        plain, ours = (_together(sides[side][1]) for side in ("plain", "xla"))
        replica.apply(sides["xla"][1])
        replica.global_step.assign_add(1)
        return losses, tf.norm(ours - plain) / tf.norm(plain)

    step = tf.function(step)
    for _ in range(steps):
        features, labels, _ = stream.next()
        losses, apart = step(features, labels)
        values = tf.nest.map_structure(lambda loss: loss.numpy().tolist(), losses)
        print(f"gradients {float(apart):.0e} apart", file=sys.stderr)
        yield values | {"gradients": float(apart)}


def _together(gradients):
    return tf.concat([tf.reshape(each, [-1]) for each in gradients if each is not None], axis=0)


def _in_float32(function):
    return lambda *args, **kwargs: runs.as_float32(function(*args, **kwargs))


@contextlib.contextmanager
def _convolutions_as_products():
    """Inside, Keras's convolutions of images are traced as products, but for dilated ones."""
    originals = {name: getattr(tf.nn, name) for name in _OURS}

    def of(name):
        def convolution(*args, **kwargs):
            try:
                return _OURS[name](*args, **kwargs)
            except _Other:
                return originals[name](*args, **kwargs)

        return convolution

    with contextlib.ExitStack() as patches:
        for module in (tf.nn, tf.compat.v2.nn):
            for name in _OURS:
                patches.enter_context(mock.patch.object(module, name, of(name)))
        yield


class _Other(Exception):
    """A convolution that these functions do not know."""


def convolution(inputs, kernel, strides, padding, data_format="NHWC", dilations=1, name=None):
    """`tf.nn.convolution` of images [n, h, w, c] of a known size."""
    if len(kernel.shape) != 4 or kernel.shape[2] != inputs.shape[-1]:
        raise _Other
    height, width, channels, filters = kernel.shape
    windows = _windows(inputs, kernel, _pair(strides), padding, data_format, dilations)
    products = tf.matmul(
        tf.reshape(tf.concat(windows, axis=-1), [-1, height * width * channels]),
        tf.reshape(kernel, [-1, filters]),
    )
    return tf.reshape(products, [-1, *windows[0].shape[1:3], filters])


def depthwise_conv2d(inputs, kernel, strides, padding, data_format="NHWC", dilations=None):
    """`tf.nn.depthwise_conv2d` of images of a known size, with one filter a channel."""
    if kernel.shape[3] != 1:
        raise _Other
    windows = _windows(inputs, kernel, strides[1:3], padding, data_format, dilations)
    filters = tf.unstack(tf.reshape(kernel, [-1, kernel.shape[2]]))
    return tf.add_n([one * factor for one, factor in zip(windows, filters, strict=True)])


def separable_conv2d(
    inputs, depthwise, pointwise, strides, padding, data_format="NHWC", dilations=None
):
    """`tf.nn.separable_conv2d` of images of a known size."""
    images = depthwise_conv2d(inputs, depthwise, strides, padding, data_format, dilations)
    return convolution(images, pointwise, 1, "VALID")


def _windows(images, kernel, strides, padding, data_format, dilations):
    """What each element of a kernel is multiplied by: tensors [n, rows, columns, c]."""
    if data_format not in (None, "NHWC") or {*_pair(dilations or 1)} != {1}:
        raise _Other
    sides, (height, width) = images.shape[1:3], kernel.shape[:2]
    if padding == "SAME":
        around = [
            max((-(-side // stride) - 1) * stride + size - side, 0)
            for side, stride, size in zip(sides, strides, (height, width), strict=True)
        ]
        images = tf.pad(
            images, [[0, 0], *([each // 2, each - each // 2] for each in around), [0, 0]]
        )
    rows, columns = (
        (side - size) // stride + 1
        for side, stride, size in zip(images.shape[1:3], strides, (height, width), strict=True)
    )
    return [
        images[
            :,
            y : y + (rows - 1) * strides[0] + 1 : strides[0],
            x : x + (columns - 1) * strides[1] + 1 : strides[1],
        ]
        for y in range(height)
        for x in range(width)
    ]


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


_OURS = {
    "convolution": convolution,
    "depthwise_conv2d": depthwise_conv2d,
    "separable_conv2d": separable_conv2d,
}
