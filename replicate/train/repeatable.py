"""Sums in one order, so that a step executed again gives the same bits.

TensorFlow's graph optimizer turns a sum of many tensors (the gradient of a weight that several
feature maps share, say) into additions to a temporary variable where it expects the graph to fill
the device's memory, which on a CPU it expects soon. The additions happen in the order in which the
terms come, so float32 sums differ in the last bit from one execution to the next, and the losses
of two equal runs part after some steps. Everything else in a training step on a CPU repeats, but
for one operation of Faster R-CNN: the gradient of crop_and_resize (docs/engine.md).
"""

import contextlib

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.eager import context


@contextlib.contextmanager
def sums_in_order():
    """Inside, functions executed for the first time keep their sums as they were traced.

    A machine with GPUs keeps TensorFlow's ways: there the rewriting saves memory that may be short,
    and other kernels do not repeat either.
    """
    if tf.config.list_physical_devices("GPU"):
        yield
        return
    here = context.context()
    before = here.function_call_options
    config = config_pb2.ConfigProto.FromString(before.config_proto_serialized)
    config.graph_options.rewrite_options.memory_optimization = (
        rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
    )
    here.function_call_options = context.FunctionCallOptions(before.executor_type, config)
    try:
        yield
    finally:
        here.function_call_options = before
