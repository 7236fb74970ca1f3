"""A sum of many large terms, as of the gradients of a shared weight, executed again and again."""

import numpy as np
import pytest

from replicate.train.repeatable import sums_in_order

EXECUTIONS = 30


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
