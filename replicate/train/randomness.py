"""Random numbers that a resumed run draws again exactly.

The Object Detection API augments images and samples anchors with TensorFlow's stateful
random ops, whose state lives in the running kernel and is in no checkpoint. While a function
is traced inside `drawn_from(source)`, each such op is built as its stateless counterpart
instead, with a seed from the source:

  PerElement   a pure function of (seed, element index, position of the op in the graph): the
               input pipeline stays parallel and can be entered at any element;
  of_step      the same for the parts of a training step;
  Advancing    a `tf.random.Generator`, whose state is saved with the checkpoint.

The distributions are those of the ops replaced; only the stream of numbers differs.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import gen_image_ops, gen_random_ops

# Named, since XLA left to itself takes another; it is the one that the operations take on a CPU and
# a GPU. With it XLA draws the same integers, though of the same bits it makes other floats.
_NAMED = "philox"
# Left to the operations, which take the same one: one operation makes a draw's key and counter
# where TensorFlow's Python makes eighty of a name.
_LEFT_TO_OPERATIONS = "auto_select"


class PerElement:
    """Seeds for the ops that treat one element of a dataset.

    Args:
      seed: the run's seed.
      index: scalar int64 tensor, the element's position in the run's stream of examples.
      xla: whether XLA may compile what draws, which nothing does in an input pipeline.
    """

    def __init__(self, seed: int, index: tf.Tensor, *, xla: bool = False) -> None:
        self.algorithm = _NAMED if xla else _LEFT_TO_OPERATIONS
        seeds = tf.stack([tf.constant(seed, tf.int64), tf.cast(index, tf.int64)])
        # What `tf.random.fold_in` puts before the number that it folds in.
        self._folded = tf.random.fold_in(seeds, 0, alg=self.algorithm)[0]
        self._ops_seeded = 0

    def next_seed(self) -> tf.Tensor:
        """int32[2] tensor, another one for each op."""
        self._ops_seeded += 1
        return tf.stack([self._folded, self._ops_seeded])


def of_step(seed: int, step: tf.Tensor, part: int | tf.Tensor = 0, parts: int = 1) -> PerElement:
    """The source of what a training step samples.

    Args:
      seed: the run's seed.
      step: scalar int64 tensor, updates done before this one.
      part: scalar int or tensor, the number of the micro-batch and replica in its global batch.
      parts: into how many the global batch is split.
    """
    # Examples of the input pipeline are numbered from 0 too; they have the seeds from 0 up.
    index = tf.cast(step, tf.int64) * parts + tf.cast(part, tf.int64)
    return PerElement(-1 - seed, index, xla=True)


class Advancing:
    """Seeds from a generator that advances with every draw.

    Args:
      generator: tf.random.Generator; tracked in the checkpoint by its owner.
    """

    algorithm = _NAMED

    def __init__(self, generator: tf.random.Generator) -> None:
        self._generator = generator

    def next_seed(self) -> tf.Tensor:
        """int64[2] tensor, another one at each execution."""
        return self._generator.make_seeds(1)[:, 0]


#: {floating type: (bits of its fraction, exponent of 1, the integer of its size)}.
_FLOATS = {
    tf.float64: (52, 1023, tf.int64),
    tf.float32: (23, 127, tf.int32),
    tf.bfloat16: (7, 127, tf.int16),
    tf.float16: (10, 15, tf.int16),
}


def _uniform_of_bits(shape: Any, seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Numbers in [0, 1): those that `tf.random.stateless_uniform` draws, under XLA too.

    As TensorFlow makes one of random bits (`Uint32ToFloat` and its like in
    core/lib/random/random_distributions.h): the lowest of 32, or of 64 those of the first half
    before all of the second, are the fraction of a number in [1, 2), from which 1 is taken.
    """
    fraction_bits, exponent, integer = _FLOATS[dtype]
    drawn = tf.int64 if dtype == tf.float64 else tf.int32
    bits = tf.random.stateless_uniform(shape, seed, None, None, dtype=drawn, alg=_NAMED)
    if dtype == tf.float64:
        half = tf.constant(32, tf.int64)
        first, second = tf.bitwise.left_shift(bits, half), tf.bitwise.right_shift(bits, half)
        bits = tf.bitwise.bitwise_or(first, tf.bitwise.bitwise_and(second, (1 << 32) - 1))
    fraction = tf.bitwise.bitwise_and(bits, (1 << fraction_bits) - 1)
    number = tf.bitwise.bitwise_or(fraction, exponent << fraction_bits)
    return tf.bitcast(tf.cast(number, integer), dtype) - tf.ones([], dtype)


def _stateless_ops(source: PerElement | Advancing) -> dict:
    """{(module, op name): function with the stateful op's signature}."""

    def random_uniform(
        shape: Any, dtype: tf.DType, seed: int = 0, seed2: int = 0, name: str | None = None
    ) -> tf.Tensor:
        seed_here = source.next_seed()
        if source.algorithm == _NAMED and tf.as_dtype(dtype) in _FLOATS:
            return _uniform_of_bits(shape, seed_here, tf.as_dtype(dtype))
        return tf.random.stateless_uniform(
            shape, seed_here, dtype=dtype, name=name, alg=source.algorithm
        )

    def random_uniform_int(
        shape: Any,
        minval: tf.Tensor,
        maxval: tf.Tensor,
        seed: int = 0,
        seed2: int = 0,
        name: str | None = None,
    ) -> tf.Tensor:
        return tf.random.stateless_uniform(
            shape,
            source.next_seed(),
            minval,
            maxval,
            dtype=minval.dtype,
            name=name,
            alg=source.algorithm,
        )

    def random_standard_normal(
        shape: Any, dtype: tf.DType, seed: int = 0, seed2: int = 0, name: str | None = None
    ) -> tf.Tensor:
        return tf.random.stateless_normal(
            shape, source.next_seed(), dtype=dtype, name=name, alg=source.algorithm
        )

    def truncated_normal(
        shape: Any, dtype: tf.DType, seed: int = 0, seed2: int = 0, name: str | None = None
    ) -> tf.Tensor:
        return tf.random.stateless_truncated_normal(
            shape, source.next_seed(), dtype=dtype, name=name, alg=source.algorithm
        )

    def random_shuffle(
        value: tf.Tensor, seed: int = 0, seed2: int = 0, name: str | None = None
    ) -> tf.Tensor:
        # Not the op StatelessShuffle, which XLA cannot compile. Keys of 64 bits are as good as
        # never equal (of 100,000, two are with probability 3e-10), so all orders are as likely.
        keys = tf.random.stateless_uniform(
            tf.shape(value)[:1],
            source.next_seed(),
            None,
            None,
            dtype=tf.int64,
            alg=source.algorithm,
        )
        return tf.gather(value, tf.argsort(keys), name=name)

    def multinomial(
        logits: tf.Tensor,
        num_samples: int,
        seed: int = 0,
        seed2: int = 0,
        output_dtype: tf.DType = tf.int64,
        name: str | None = None,
    ) -> tf.Tensor:
        return tf.random.stateless_categorical(
            logits, num_samples, source.next_seed(), dtype=output_dtype, name=name
        )

    def sample_distorted_bounding_box_v2(
        *args: Any, seed: int = 0, seed2: int = 0, **kwargs: Any
    ) -> Any:
        return gen_image_ops.stateless_sample_distorted_bounding_box(
            *args, seed=source.next_seed(), **kwargs
        )

    ops = {
        (gen_random_ops, function.__name__): function
        for function in (
            random_uniform,
            random_uniform_int,
            random_standard_normal,
            truncated_normal,
            random_shuffle,
            multinomial,
        )
    }
    ops[gen_image_ops, "sample_distorted_bounding_box_v2"] = sample_distorted_bounding_box_v2
    return ops


def _where_traced(stateless: Callable, stateful: Callable) -> Callable:
    def op(*args: Any, **kwargs: Any) -> Any:
        return (stateful if tf.executing_eagerly() else stateless)(*args, **kwargs)

    return op


@contextlib.contextmanager
def drawn_from(source: PerElement | Advancing) -> Iterator[None]:
    """Inside, random ops that are traced draw from `source` instead of a kernel's own state.

    Initial weights, which Keras computes outside of the function that is traced, do not: they
    follow from TensorFlow's global seed.
    """
    replacements = _stateless_ops(source)
    originals = {(module, name): getattr(module, name) for module, name in replacements}
    tracing = not tf.executing_eagerly()
    for (module, name), function in replacements.items():
        if tracing:
            function = _where_traced(function, originals[module, name])
        setattr(module, name, function)
    try:
        yield
    finally:
        for (module, name), function in originals.items():
            setattr(module, name, function)
