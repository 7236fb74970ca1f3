"""Random numbers drawn statelessly: the same when asked again, and distributed as before."""

import numpy as np
import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf
from scipy import stats

from replicate.train import randomness

DRAWS = {
    "uniform": lambda: tf.random.uniform([]),
    "uniform_between": lambda: tf.random.uniform([], -2.0, 3.0),
    "uniform_int": lambda: tf.random.uniform([], 0, 1000, tf.int32),
    "normal": lambda: tf.random.normal([]),
    "truncated_normal": lambda: tf.random.truncated_normal([]),
    "shuffle": lambda: tf.random.shuffle(tf.range(50))[0],
    "categorical": lambda: tf.random.categorical([[0.0, 1.0, 2.0]], 1)[0, 0],
}


def _per_element(draw, seed, start, count):
    """`draw` once for each of `count` elements from `start` on, in a parallel pipeline."""

    def element(index):
        with randomness.drawn_from(randomness.PerElement(seed, index)):
            return draw()

    dataset = tf.data.Dataset.range(start, start + count).map(element, tf.data.AUTOTUNE)
    return np.array(list(dataset.as_numpy_iterator()))


@pytest.mark.parametrize("name", DRAWS)
def test_an_element_draws_the_same_wherever_the_stream_is_entered(name):
    whole = _per_element(DRAWS[name], seed=3, start=0, count=40)
    entered = _per_element(DRAWS[name], seed=3, start=25, count=15)
    np.testing.assert_array_equal(whole[25:], entered)
    assert len(np.unique(whole)) > 2, "elements must not all draw the same"
    assert (whole != _per_element(DRAWS[name], seed=4, start=0, count=40)).any()


@pytest.mark.parametrize("name", DRAWS)
def test_an_input_draws_what_a_named_algorithm_does(name):
    """Whose key and counter TensorFlow's Python makes, where the input's are an operation's."""

    def named(index):
        with randomness.drawn_from(randomness.PerElement(3, index, xla=True)):
            return DRAWS[name]()

    theirs = tf.data.Dataset.range(40).map(named)
    np.testing.assert_array_equal(
        _per_element(DRAWS[name], seed=3, start=0, count=40), list(theirs.as_numpy_iterator())
    )


def test_the_second_draw_has_the_seed_with_two_folded_in():
    _, second = _per_element(
        lambda: tf.stack([tf.random.uniform([]), tf.random.uniform([])]), 3, 0, 20
    ).T
    seeds = [tf.random.fold_in(tf.constant([3, index], tf.int64), 2) for index in range(20)]
    np.testing.assert_array_equal(second, [tf.random.stateless_uniform([], seed) for seed in seeds])


@pytest.mark.parametrize("name", ["uniform", "uniform_between", "normal", "truncated_normal"])
def test_the_distribution_is_that_of_the_op_replaced(name):
    ours = _per_element(DRAWS[name], seed=0, start=0, count=4000)
    theirs = np.array([DRAWS[name]().numpy() for _ in range(4000)])
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


def test_all_orders_of_a_shuffle_are_as_likely():
    """24 orders of four, 4,800 times, against the uniform distribution (chi-square)."""
    orders = _per_element(lambda: tf.random.shuffle(tf.range(4)), seed=1, start=0, count=4800)
    assert (np.sort(orders, axis=1) == np.arange(4)).all(), "each is a permutation"
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("name", ["uniform", "uniform_between", "uniform_int", "shuffle"])
def test_xla_draws_the_same(name):
    def draw(step):
        with randomness.drawn_from(randomness.of_step(3, step)):
            return DRAWS[name]()

    steps = [tf.constant(step, tf.int64) for step in range(5)]
    op_by_op, compiled = tf.function(draw), tf.function(draw, jit_compile=True)
    drawn = [float(op_by_op(step)) for step in steps]
    assert drawn == [float(compiled(step)) for step in steps]
    assert len(set(drawn)) > 2


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_step_draws_what_the_operation_draws(dtype, jit_compile):
    @tf.function(jit_compile=jit_compile)
    def drawn(step):
        with randomness.drawn_from(randomness.of_step(3, step)):
            return tf.random.uniform([7, 5], dtype=dtype)

    for step in range(3):
        seed = tf.random.fold_in(tf.constant([-4, step], tf.int64), 1)
        theirs = tf.random.stateless_uniform([7, 5], seed, dtype=dtype)
        np.testing.assert_array_equal(drawn(tf.constant(step, tf.int64)), theirs)


def test_xla_drops_what_is_dropped_without():
    """A layer like EfficientNet's drop-connect: each image's residual is dropped or kept."""
    layer = tf.keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))

    def dropped(step):
        with randomness.drawn_from(randomness.of_step(3, step)):
            return layer(tf.ones([16, 2, 2, 3]), training=True)

    op_by_op, compiled = tf.function(dropped), tf.function(dropped, jit_compile=True)
    for step in range(3):
        ours, theirs = (each(tf.constant(step, tf.int64)).numpy() for each in (compiled, op_by_op))
        np.testing.assert_array_equal(ours, theirs)
        assert set(np.unique(ours)) == {0.0, 2.0}


def test_two_ops_of_one_element_draw_differently():
    first, second = _per_element(
        lambda: tf.stack([tf.random.uniform([]), tf.random.uniform([])]), 0, 0, 30
    ).T
    assert (first != second).all()


def test_the_distorted_box_covers_what_it_must():
    boxes_yxyx_norm = tf.constant([[[0.2, 0.2, 0.8, 0.8]]])

    def draw():
        begin, size, _ = tf.compat.v1.image.sample_distorted_bounding_box(
            [100, 100, 3], boxes_yxyx_norm, min_object_covered=0.5, area_range=[0.1, 1.0]
        )
        return tf.stack([begin[0], begin[1], size[0], size[1]])

    crops = _per_element(draw, 0, 0, 50)
    np.testing.assert_array_equal(crops[30:], _per_element(draw, 0, 30, 20))
    y0, x0, height, width = crops.T
    covered_h = np.minimum(y0 + height, 80) - np.maximum(y0, 20)
    covered_w = np.minimum(x0 + width, 80) - np.maximum(x0, 20)
    # Whole pixels against a normalized box: allow the rounding of one pixel a side.
    assert ((covered_h * covered_w) / 3600 > 0.5 - 0.05).all()
    assert len(np.unique(crops, axis=0)) > 10


def test_a_generator_goes_on_where_its_state_was_saved():
    generator = tf.random.Generator.from_seed(5)

    @tf.function
    def step():
        with randomness.drawn_from(randomness.Advancing(generator)):
            return tf.random.uniform([3]), tf.random.shuffle(tf.range(20))

    step()
    state = generator.state.numpy()
    expected = [step() for _ in range(3)]
    generator.state.assign(state)
    again = [step() for _ in range(3)]
    for (a, b), (c, d) in zip(expected, again, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    assert not np.array_equal(expected[0][0], expected[1][0])


def test_outside_nothing_is_replaced():
    from tensorflow.python.ops import gen_image_ops, gen_random_ops

    before = gen_random_ops.random_uniform, gen_image_ops.sample_distorted_bounding_box_v2
    with (
        pytest.raises(ZeroDivisionError),
        randomness.drawn_from(randomness.PerElement(0, tf.constant(0, tf.int64))),
    ):
        assert gen_random_ops.random_uniform is not before[0]
        raise ZeroDivisionError
    after = gen_random_ops.random_uniform, gen_image_ops.sample_distorted_bounding_box_v2
    assert before == after
