"""The forward pass beside the same weights in TFLite, with XNNPACK, and compiled by XLA, on the
same cores."""

import os
import time

import numpy as np
import tensorflow as tf

#: What a single-stage detector's heads give; the rest of `predict` is anchors and copies.
HEADS = ("box_encodings", "class_predictions_with_background")
# Turns of XLA, which on a CPU takes seconds for a batch.
_TURNS_OF_XLA = 3
#: Two libraries' sums of float32, relative to the largest value of a head.
_APART = 1e-3


def measure(detector, images, true_shapes, turns):
    """Seconds of one batch in each turn, by who computes it, one after the other.

    Args:
      detector: `replicate.evaluate.detector.Detector` of a single-stage model.
      images: float32 [batch, height, width, 3], preprocessed.
      true_shapes: int32 [batch, 3].
      turns: how many are kept; one before them warms up.

    Returns:
      {"with suppression", "forward pass", "compiled by XLA", "TFLite": [seconds]}; of XLA only the
      first turns.

    Raises:
      RuntimeError: TFLite's heads, or those with XLA, are not TensorFlow's.
    """

    def heads(images):
        predictions = detector.model.predict(images, true_shapes)
        return {name: predictions[name] for name in HEADS}

    function = tf.function(heads, autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec(images.shape, tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], detector.model)
    interpret = _interpreter(converter.convert(), images.numpy())
    compiled = tf.function(heads, autograph=False, jit_compile=True)
    _hold(function(images), interpret(), "TFLite's")

    def with_xla():
        return [value.numpy() for value in compiled(images).values()]

    _hold(function(images), with_xla(), "XLA's")
    sides = {
        "with suppression": lambda: detector(images, true_shapes)["num_detections"].numpy(),
        "forward pass": lambda: [value.numpy() for value in function(images).values()],
        "compiled by XLA": with_xla,
        "TFLite": interpret,
    }
    seconds = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, compute in sides.items():
            if compute is with_xla and turn > _TURNS_OF_XLA:
                continue
            begun = time.perf_counter()
            compute()
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def _interpreter(content, images):
    """A function that computes the batch and gives the outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=len(os.sched_getaffinity(0)))
    interpreter.allocate_tensors()
    (place,) = interpreter.get_input_details()
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def interpret():
        interpreter.set_tensor(place["index"], images)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return interpret


def _hold(ours, theirs, whose):
    """The two give the same heads, whatever the order of the other's outputs."""
    for name, value in ours.items():
        value = value.numpy()
        of_shape = [each for each in theirs if each.shape == value.shape]
        apart = min(np.abs(value - each).max() for each in of_shape) / np.abs(value).max()
        if not apart <= _APART:
            raise RuntimeError(f"{name}: {whose} differ by {apart:.1e}")
