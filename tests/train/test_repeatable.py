"""What does not repeat on a CPU without the kit, executed again and again."""

import numpy as np
import pytest

from replicate import config
from replicate.train.repeatable import crops_in_order, operations_as_ever, sums_in_order

EXECUTIONS = 30
CROPS = config.template("faster_rcnn_resnet50_v1_800x1333_coco17_gpu-8").model
MATMUL = config.template("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8").model


@pytest.fixture(scope="module")
def summed():
    """A new function of a vector of 50 MB: the sum of six terms that come in any order."""
    import tensorflow as tf

    @tf.function
    def terms_summed(values):
        return tf.add_n([tf.sin(values * scale) for scale in (1e0, 1e1, 1e2, 1e-1, 1e-2, 3e1)])

    return terms_summed


def test_a_sum_has_the_same_bits_each_time(summed):
    import tensorflow as tf

    values = tf.constant(np.random.default_rng(0).normal(size=12_500_000), tf.float32)
    with sums_in_order():
        first = summed(values).numpy()
        for _ in range(EXECUTIONS):
            assert np.array_equal(summed(values).numpy(), first)


def test_the_gradient_of_crops_has_all_its_terms_and_the_same_bits_each_time():
    """Held against the crops' gradients one by one, which no threads share."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    image = tf.constant(generator.standard_normal((1, 20, 20, 512)), tf.float32)
    corners = generator.random((32, 2)) * 0.3
    boxes_yxyx_norm = tf.constant(np.hstack([corners, corners + 0.6]), tf.float32)
    weights = tf.constant(generator.standard_normal((32, 17, 17, 512)), tf.float32)

    @tf.function(reduce_retracing=True)
    def gradient(boxes_yxyx_norm, weights):
        of_image = tf.zeros(tf.shape(boxes_yxyx_norm)[0], tf.int32)
        with tf.GradientTape() as tape:
            tape.watch(image)
            crops = tf.image.crop_and_resize(image, boxes_yxyx_norm, of_image, (17, 17))
            total = tf.reduce_sum(crops * weights)
        return tape.gradient(total, image)

    one_by_one = sum(
        gradient(boxes_yxyx_norm[box : box + 1], weights[box : box + 1]).numpy().astype(np.float64)
        for box in range(len(weights))
    )
    with crops_in_order(CROPS):
        first = gradient(boxes_yxyx_norm, weights).numpy()
        for _ in range(EXECUTIONS):
            assert np.array_equal(gradient(boxes_yxyx_norm, weights).numpy(), first)
    np.testing.assert_allclose(first, one_by_one, rtol=0, atol=1e-6 * np.abs(first).max())


def test_what_is_traced_has_the_operations_that_it_has_elsewhere():
    import tensorflow as tf

    def operations(function):
        graph = function.get_concrete_function(tf.TensorSpec([3, 4])).graph
        return [operation.type for operation in graph.get_operations()]

    def loss(logits):
        return tf.nn.softmax_cross_entropy_with_logits(tf.ones([3, 4]) / 4, logits)

    elsewhere = operations(tf.function(loss))
    assert "SoftmaxCrossEntropyWithLogits" in elsewhere
    with crops_in_order(MATMUL):
        assert operations(tf.function(loss)) == elsewhere
    with crops_in_order(CROPS):
        assert operations(tf.function(loss)) != elsewhere
        with operations_as_ever():
            assert operations(tf.function(loss)) == elsewhere
    assert operations(tf.function(loss)) == elsewhere
