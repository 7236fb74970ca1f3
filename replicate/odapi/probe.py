"""Fixed weights and fixed inputs for the Object Detection API's models, and what comes out.

The same code runs on the kit's TensorFlow and on the API's native one, so that two runs can be
compared number by number. It imports nothing of the kit; whoever calls it has made
`import object_detection` work.
"""

import zlib

import numpy as np

#: Three boxes (yxyx, normalized), their classes (0-based) and the half-size masks drawn in them.
GROUNDTRUTH_BOXES_YXYX_NORM = ((0.1, 0.1, 0.5, 0.6), (0.4, 0.3, 0.9, 0.8), (0.05, 0.6, 0.2, 0.9))
GROUNDTRUTH_CLASSES = (0, 16, 2)


def image(height, width):
    """One fixed picture of waves, float32 [1, height, width, 3] with values in 0..255."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = [127 + 100 * np.sin(x / 17), 127 + 100 * np.cos(y / 23 + x / 31), (x * y / 37) % 255]
    return np.stack(channels, axis=-1)[np.newaxis].astype(np.float32)


def fill_weights(model):
    """Gives each float variable values that depend on its place and shape alone.

    Kernels are drawn at the scale of one over the square root of the fan-in, so that
    activations keep their size through the network; batch norm stays near the identity.

    Args:
      model: a built DetectionModel (`predict` was called once, so its variables exist).
    """
    for index, variable in enumerate(model.variables):
        if not variable.dtype.is_floating:
            continue
        shape = tuple(variable.shape)
        generator = np.random.default_rng(zlib.crc32(f"{index}:{shape}".encode()))
        values = np.asarray(generator.standard_normal(shape), np.float32)
        name = variable.name
        if "gamma" in name:
            values = 1 + 0.1 * values
        elif "variance" in name:
            values = 1 + 0.1 * np.abs(values)
        elif "kernel" in name or "weights" in name:
            fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else 1
            if "depthwise" in name:
                fan_in = shape[0] * shape[1]
            values = values / np.sqrt(max(fan_in, 1))
        else:
            values = 0.01 * values
        variable.assign(values)


def num_classes(model_config):
    """The number of classes of a `DetectionModel` message, whatever its family."""
    return getattr(model_config, model_config.WhichOneof("model")).num_classes


def provide_groundtruth(model, model_config):
    """Gives the model the fixed boxes of one image as its groundtruth."""
    import tensorflow as tf

    classes = num_classes(model_config)
    boxes = tf.constant(GROUNDTRUTH_BOXES_YXYX_NORM, tf.float32)
    one_hot = tf.one_hot([min(label, classes - 1) for label in GROUNDTRUTH_CLASSES], classes)
    model.provide_groundtruth(
        [boxes],
        [one_hot],
        groundtruth_weights_list=[tf.ones(len(GROUNDTRUTH_CLASSES))],
        groundtruth_is_crowd_list=[tf.zeros(len(GROUNDTRUTH_CLASSES), tf.bool)],
    )


def flatten(tensors, prefix=""):
    """A dict of tensors and lists of tensors as one flat dict of numpy arrays, `key/index`."""
    arrays = {}
    for key, value in tensors.items():
        for suffix, item in (
            [(f"/{index}", item) for index, item in enumerate(value)]
            if isinstance(value, (list, tuple))
            else [("", value)]
        ):
            if hasattr(item, "numpy"):
                arrays[f"{prefix}{key}{suffix}"] = item.numpy()
    return arrays


def largest_relative_difference(values, reference):
    """The largest |value - reference| over the largest |reference| (over 1 if that is 0)."""
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if values.shape != reference.shape:
        raise ValueError(f"shapes differ: {values.shape} and {reference.shape}")
    if not reference.size:
        return 0.0
    return float(np.abs(values - reference).max() / (np.abs(reference).max() or 1.0))
