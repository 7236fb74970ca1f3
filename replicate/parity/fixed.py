"""Fixed weights and fixed inputs for the Object Detection API's models, and what comes out.

The same code runs on the kit's TensorFlow and on the API's native one, so that two runs can be
compared number by number. It imports nothing of the kit; whoever calls it has made
`import object_detection` work.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Three boxes and their classes (0-based; the first, 0, is COCO's person).
GROUNDTRUTH_BOXES_YXYX_NORM = ((0.1, 0.1, 0.5, 0.6), (0.4, 0.3, 0.9, 0.8), (0.05, 0.6, 0.2, 0.9))
GROUNDTRUTH_CLASSES = (0, 16, 2)


def image(height: int, width: int, frequency: int = 1) -> np.ndarray:
    """One fixed picture of waves, float32 [1, height, width, 3] with values in 0..255."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y * frequency, x * frequency
    channels = [127 + 100 * np.sin(x / 17), 127 + 100 * np.cos(y / 23 + x / 31), (x * y / 37) % 255]
    return np.stack(channels, axis=-1)[np.newaxis].astype(np.float32)


def normal(key: str, shape: Sequence[int]) -> np.ndarray:
    """Standard normal values, float32 of `shape`, drawn from a generator seeded by `key`."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    return np.asarray(generator.standard_normal(tuple(shape)), np.float32)


def fill_weights(model: Any) -> None:
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
        drawn = normal(f"{index}:{shape}", shape)
        name = variable.name
        if "gamma" in name:
            values = 1 + 0.1 * drawn
        elif "variance" in name:
            values = 1 + 0.1 * np.abs(drawn)
        elif "kernel" in name or "weights" in name:
            fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else 1
            if "depthwise" in name:
                fan_in = shape[0] * shape[1]
            # In float32, whatever the version of numpy: from 2.0 on a float64 scalar widens.
            values = drawn / np.float32(np.sqrt(max(fan_in, 1)))
        else:
            values = 0.01 * drawn
        variable.assign(values)


def num_classes(model_config: Any) -> int:
    """The number of classes of a `DetectionModel` message, whatever its family."""
    return getattr(model_config, model_config.WhichOneof("model")).num_classes


def groundtruth(
    model_config: Any,
    batch_size: int = 1,
    image_hw: tuple[int, int] | None = None,
    keypoints: int = 0,
) -> dict[str, list]:
    """Arguments for the model's `provide_groundtruth`: the fixed boxes for each image.

    Args:
      model_config: the `DetectionModel` message.
      batch_size: how often the same boxes are given.
      image_hw: size in pixels of instance masks to give too (each box's ellipse), or None.
      keypoints: how many keypoints to give each box, or 0.
    """
    import tensorflow as tf

    classes = num_classes(model_config)
    count = len(GROUNDTRUTH_CLASSES)
    one_hot = tf.one_hot([min(label, classes - 1) for label in GROUNDTRUTH_CLASSES], classes)
    arguments = {
        "groundtruth_boxes_list": tf.constant(GROUNDTRUTH_BOXES_YXYX_NORM, tf.float32),
        "groundtruth_classes_list": one_hot,
        "groundtruth_weights_list": tf.ones(count),
        "groundtruth_is_crowd_list": tf.zeros(count, tf.bool),
    }
    if image_hw:
        arguments["groundtruth_masks_list"] = tf.constant(masks(*image_hw))
    if keypoints:
        points_yx_norm, visible = keypoints_yx_norm(keypoints)
        arguments["groundtruth_keypoints_list"] = tf.constant(points_yx_norm)
        arguments["groundtruth_keypoint_visibilities_list"] = tf.constant(visible)
    return {name: [value] * batch_size for name, value in arguments.items()}


def masks(height: int, width: int) -> np.ndarray:
    """The ellipse in each groundtruth box as an instance mask, float32 [boxes, height, width]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ellipses = []
    for ymin, xmin, ymax, xmax in GROUNDTRUTH_BOXES_YXYX_NORM:
        dy = (y / height - (ymin + ymax) / 2) / ((ymax - ymin) / 2)
        dx = (x / width - (xmin + xmax) / 2) / ((xmax - xmin) / 2)
        ellipses.append(dy**2 + dx**2 <= 1)
    return np.stack(ellipses).astype(np.float32)


def keypoints_yx_norm(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in each groundtruth box, float32 [boxes, count, 2], and which of them are visible."""
    boxes = np.array(GROUNDTRUTH_BOXES_YXYX_NORM, np.float32)
    place = np.random.default_rng(count).random((len(boxes), count, 2), np.float32)
    points = boxes[:, np.newaxis, :2] + place * (boxes[:, 2:] - boxes[:, :2])[:, np.newaxis]
    return points, (np.arange(count) % 4 != 3)[np.newaxis].repeat(len(boxes), axis=0)


def flatten(tensors: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Tensors and lists of tensors as one flat dict of arrays, `key/index`."""
    arrays = {}
    for key, value in tensors.items():
        if isinstance(value, (list, tuple)):
            items = {f"{prefix}{key}/{index}": item for index, item in enumerate(value)}
        else:
            items = {prefix + key: value}
        arrays.update(
            {name: item.numpy() for name, item in items.items() if hasattr(item, "numpy")}
        )
    return arrays


def largest_relative_difference(values: Any, reference: Any) -> float:
    """The largest |value - reference| over the largest |reference| (over 1 if that is 0)."""
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if values.shape != reference.shape:
        raise ValueError(f"shapes differ: {values.shape} and {reference.shape}")
    if not reference.size:
        return 0.0
    return float(np.abs(values - reference).max() / (np.abs(reference).max() or 1.0))
