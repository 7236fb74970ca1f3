"""What XLA needs of the Object Detection API's models, and which it cannot compile.

XLA has no kernel for the gradient of nearest-neighbour resizing, with which Keras's UpSampling2D
enlarges CenterNet's maps. Inside `replacements()` it is traced as a broadcast instead, as the API
itself enlarges its feature pyramids: the same values, and the same gradients but for the order in
which each pixel's are added. tests/odapi/test_xla.py holds both.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message


def obstacle(model_config: "Message") -> str:
    """Why XLA cannot compile a training step of this model; "" where it can.

    Args:
      model_config: DetectionModel.
    """
    if model_config.WhichOneof("model") != "faster_rcnn":
        return ""
    faster_rcnn = model_config.faster_rcnn
    if faster_rcnn.use_static_shapes or faster_rcnn.number_of_stages == 1:
        return ""
    return (
        "model.faster_rcnn.use_static_shapes is false: as many proposals are kept as the "
        "suppression leaves (operation NonMaxSuppressionV5) and as many anchors are sampled as "
        "there are, and XLA compiles no operation whose result has a size that is not known"
    )


def obstacles(config: "Message", execution: Any) -> Iterator[str]:
    """See `replicate.engine.obstacles`."""
    if execution.jit_compile and (reason := obstacle(config.model)):
        yield f"--jit_compile: XLA cannot compile this model: {reason}"


@contextlib.contextmanager
def replacements() -> Iterator[None]:
    """Inside, functions are traced with operations that XLA compiles."""
    from tf_keras.src import backend

    original = backend.resize_images

    def resize_images(
        x: Any,
        height_factor: int,
        width_factor: int,
        data_format: str,
        interpolation: str = "nearest",
    ) -> Any:
        if interpolation != "nearest" or data_format != "channels_last":
            return original(x, height_factor, width_factor, data_format, interpolation)
        return enlarged(x, height_factor, width_factor)

    backend.resize_images = resize_images
    try:
        yield
    finally:
        backend.resize_images = original


def enlarged(images: Any, height_factor: int, width_factor: int) -> Any:
    """Each pixel of images [n, h, w, c] repeated: [n, h * height_factor, w * width_factor, c]."""
    import tensorflow as tf

    n, height, width, channels = (
        static if static is not None else dynamic
        for static, dynamic in zip(images.shape, tf.unstack(tf.shape(images)), strict=True)
    )
    blocks = tf.broadcast_to(
        images[:, :, None, :, None, :], [n, height, height_factor, width, width_factor, channels]
    )
    return tf.reshape(blocks, [n, height * height_factor, width * width_factor, channels])
