"""Sums in one order, so that a step executed again on a CPU gives the same bits.

Two things stand against that, and nothing else in a training step on a CPU.

TensorFlow's graph optimizer turns a sum of many tensors (the gradient of a weight that several
feature maps share, say) into additions to a temporary variable where it expects the graph to fill
the device's memory, which on a CPU it expects soon. The additions happen in the order in which the
terms come, so float32 sums differ in the last bit from one execution to the next, and the losses
of two equal runs part after some steps.

The gradient of crop_and_resize, with which Faster R-CNN takes the features of its proposals, is
added up by several threads without a lock, so that additions are lost, unless TensorFlow is told
to be deterministic; then one thread does it (docs/engine.md has the figures).

A machine with GPUs keeps TensorFlow's ways: there the rewriting saves memory that may be short,
additions are atomic, and other kernels do not repeat either.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.eager import context
from tensorflow.python.framework import config as framework_config

if TYPE_CHECKING:
    from google.protobuf.message import Message


@contextlib.contextmanager
def sums_in_order() -> Iterator[None]:
    """Inside, functions executed for the first time keep their sums as they were traced."""
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


@contextlib.contextmanager
def crops_in_order(model_config: "Message") -> Iterator[None]:
    """Inside, a model that takes its proposals by crop_and_resize adds their gradients up in order.

    Args:
      model_config: DetectionModel.
    """
    crops = model_config.HasField("faster_rcnn") and not (
        model_config.faster_rcnn.use_matmul_crop_and_resize
    )
    if not crops or tf.config.list_physical_devices("GPU"):
        yield
        return
    with _deterministic(True):
        yield


def operations_as_ever() -> contextlib.AbstractContextManager[None]:
    """A context in which functions are traced into the operations that they always have. Some,
    as softmax cross entropy, are made of others where TensorFlow is deterministic, for the sake
    of GPUs, and would round in another way."""
    return _deterministic(False)


@contextlib.contextmanager
def _deterministic(value: bool) -> Iterator[None]:
    before = framework_config.is_op_determinism_enabled()
    _set_deterministic(value)
    try:
        yield
    finally:
        _set_deterministic(before)


def _set_deterministic(value: bool) -> None:
    if value:
        framework_config.enable_op_determinism()
    else:
        framework_config.disable_op_determinism()
