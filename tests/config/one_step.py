"""Builds a template's model, takes one training step and makes one prediction, on tiny input.

    python tests/config/one_step.py TEMPLATE

Prints one line of JSON: the losses, what changed, the detections' shapes, seconds and memory. The
network is the template's own; its input is one image of 256x256 pixels.
"""

import json
import os
import pathlib
import resource
import sys
import time

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from replicate import config, odapi

# Two objects: a person (class 1 of COCO's map) and another, y0 x0 y1 x1 relative to the image.
BOXES_YXYX_NORM = np.array([[[0.1, 0.1, 0.7, 0.5], [0.3, 0.4, 0.9, 0.95]]], np.float32)
CLASSES = [0, 16]
NUM_KEYPOINTS = 17
SIZE = 256
KEYPOINT_LABEL_MAP = PROJECT / "configs" / "coco_person_keypoints.pbtxt"


def tiny(name):
    """The template's config with a small input and, for keypoints, the label map of `configs/`."""
    message = config.template(name)
    resizer = config.architecture_message(message).image_resizer
    if resizer.HasField("fixed_shape_resizer"):
        resizer.fixed_shape_resizer.height = resizer.fixed_shape_resizer.width = SIZE
    else:
        keep = resizer.keep_aspect_ratio_resizer
        keep.min_dimension = keep.max_dimension = SIZE
    if message.model.center_net.keypoint_estimation_task:
        message.model.center_net.keypoint_label_map_path = str(KEYPOINT_LABEL_MAP)
    return message


def labels_of(message):
    """Groundtruth of one image as the API's input pipeline gives it, padded to 100 boxes."""
    import tensorflow as tf
    from object_detection.core import standard_fields

    fields = standard_fields.InputDataFields
    count, padded = len(CLASSES), 100

    def pad(array):
        return np.concatenate(
            [array, np.zeros((1, padded - count, *array.shape[2:]), array.dtype)], axis=1
        )

    labels = {
        fields.num_groundtruth_boxes: np.array([count], np.int32),
        fields.groundtruth_boxes: pad(BOXES_YXYX_NORM),
        fields.groundtruth_classes: pad(np.eye(90, dtype=np.float32)[CLASSES][None]),
        fields.groundtruth_weights: pad(np.ones((1, count), np.float32)),
        fields.groundtruth_is_crowd: pad(np.zeros((1, count), bool)),
    }
    if config.facts(message).predicts_masks:
        labels[fields.groundtruth_instance_masks] = pad(np.ones((1, count, SIZE, SIZE), np.float32))
        labels[fields.groundtruth_instance_mask_weights] = pad(np.ones((1, count), np.float32))
    if config.facts(message).predicts_keypoints:
        inside = np.random.default_rng(0).uniform(0.2, 0.6, (1, count, NUM_KEYPOINTS, 2))
        labels[fields.groundtruth_keypoints] = pad(inside.astype(np.float32))
        labels[fields.groundtruth_keypoint_visibilities] = pad(
            np.ones((1, count, NUM_KEYPOINTS), bool)
        )
        labels[fields.groundtruth_keypoint_weights] = pad(
            np.ones((1, count, NUM_KEYPOINTS), np.float32)
        )
    return {name: tf.constant(value) for name, value in labels.items()}


def train_step(message):
    """Losses of one step, and how many of the convolutions' kernels it moved."""
    import tensorflow as tf
    from object_detection import model_lib, model_lib_v2
    from object_detection.builders import model_builder, optimizer_builder
    from object_detection.core import standard_fields

    fields = standard_fields.InputDataFields
    model = model_builder.build(message.model, is_training=True)
    # Past the warm-up: some schedules start at a rate of 0.
    step = tf.Variable(10_000, trainable=False, dtype=tf.int64)
    optimizer, _ = optimizer_builder.build(message.train_config.optimizer, global_step=step)
    image = np.random.default_rng(1).uniform(0, 255, (1, SIZE, SIZE, 3)).astype(np.float32)
    images, true_shapes = model.preprocess(tf.constant(image))
    labels, unpad = labels_of(message), message.train_config.unpad_groundtruth_tensors
    # Variables exist after the first prediction; a two-stage detector predicts with groundtruth.
    model_lib.provide_groundtruth(
        model, model_lib.unstack_batch(labels, unpad_groundtruth_tensors=unpad), training_step=step
    )
    model.predict(images, true_shapes)
    before = [variable.numpy().copy() for variable in model.trainable_variables]
    features = {fields.image: images, fields.true_image_shape: true_shapes}
    losses = model_lib_v2.eager_train_step(
        model,
        features,
        labels,
        unpad,
        optimizer,
        training_step=step,
        add_regularization_loss=True,
        clip_gradients_value=message.train_config.gradient_clipping_by_norm or None,
        num_replicas=1,
    )
    kernels = [
        not np.array_equal(old, new.numpy())
        for old, new in zip(before, model.trainable_variables, strict=True)
        if "kernel" in new.name
    ]
    return {
        "losses": {name: float(value) for name, value in losses.items()},
        "kernels": len(kernels),
        "kernels_moved": sum(kernels),
        "parameters": int(sum(array.size for array in before)),
    }


def prediction(message):
    """Shapes of the detections of one image, and whether all of them are finite."""
    import tensorflow as tf
    from object_detection.builders import model_builder

    model = model_builder.build(message.model, is_training=False)
    image = np.random.default_rng(2).uniform(0, 255, (1, SIZE, SIZE, 3)).astype(np.float32)
    images, true_shapes = model.preprocess(tf.constant(image))
    detections = model.postprocess(model.predict(images, true_shapes), true_shapes)
    wanted = [name for name in detections if name.startswith("detection_")]
    return {
        "shapes": {name: detections[name].shape.as_list() for name in wanted},
        "finite": all(np.isfinite(detections[name].numpy()).all() for name in wanted),
    }


def main(name):
    started = time.monotonic()
    odapi.load()
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    message = tiny(name)
    result = {"template": name, **train_step(message)}
    tf.keras.backend.clear_session()
    result |= prediction(message)
    result["seconds"] = round(time.monotonic() - started)
    result["gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
