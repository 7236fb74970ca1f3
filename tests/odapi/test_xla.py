"""What stands in for operations that XLA, or bfloat16, has no kernel for: equal values, equal
gradients; and which models XLA cannot compile."""

import numpy as np
import pytest

from replicate import config as configs
from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate.odapi import xla


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (4, 2)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_upsampling_by_broadcast_is_keras_s(factors, jit_compile):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.standard_normal((2, 3, 5, 4)), tf.float32)
    weights = tf.constant(rng.standard_normal((2, 3 * factors[0], 5 * factors[1], 4)), tf.float32)

    def both(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            larger = tf.keras.layers.UpSampling2D(factors)(images)
            total = tf.reduce_sum(larger * weights)
        return larger, tape.gradient(total, images)

    values, gradients = tf.function(both)(images)
    with xla.replacements():
        replaced = tf.function(both, jit_compile=jit_compile)
        replaced_values, replaced_gradients = replaced(images)
    kinds = {
        operation.type
        for operation in replaced.get_concrete_function(images).graph.get_operations()
    }
    assert "BroadcastTo" in kinds and "ResizeNearestNeighbor" not in kinds
    np.testing.assert_array_equal(values, replaced_values)
    # Each is a sum of up to eight terms, in another order.
    np.testing.assert_allclose(gradients, replaced_gradients, rtol=0, atol=2e-6)


def test_upsampling_is_keras_s_again_outside():
    from tf_keras.src import backend

    before = backend.resize_images
    with pytest.raises(ZeroDivisionError), xla.replacements():
        assert backend.resize_images is not before
        raise ZeroDivisionError
    assert backend.resize_images is before


@pytest.mark.parametrize(
    "crop", [tf.image.crop_and_resize, tf.compat.v1.image.crop_and_resize], ids=["v2", "v1"]
)
def test_crops_of_bfloat16_are_those_of_the_same_numbers_in_float32(crop):
    rng = np.random.default_rng(0)
    images = tf.cast(rng.standard_normal((1, 8, 8, 3)), tf.bfloat16)
    boxes_yxyx_norm = tf.constant([[0.1, 0.2, 0.7, 0.9], [0.0, 0.0, 1.0, 0.5]])
    weights = tf.constant(rng.standard_normal((2, 4, 4, 3)), tf.float32)

    def both(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            crops = crop(images, boxes_yxyx_norm, [0, 0], [4, 4])
            total = tf.reduce_sum(crops * weights)
        return crops, tape.gradient(total, images)

    crops, gradients = both(images)
    crops_float32, gradients_float32 = both(tf.cast(images, tf.float32))
    assert crops.dtype == tf.float32 and gradients.dtype == tf.bfloat16
    np.testing.assert_array_equal(crops, crops_float32)
    np.testing.assert_array_equal(gradients, tf.cast(gradients_float32, tf.bfloat16))


@pytest.mark.parametrize(
    ("model", "compiles"),
    [
        ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", True),
        ("centernet_hourglass104_512x512_coco17_tpu-8", True),
        ("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8", True),
        ("faster_rcnn_resnet50_v1_800x1333_coco17_gpu-8", False),
        ("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8", False),
    ],
)
def test_models_that_xla_cannot_compile_are_told_by_their_config(model, compiles):
    reason = xla.obstacle(configs.template(model).model)
    assert (reason == "") == compiles
    assert compiles or "NonMaxSuppressionV5" in reason
