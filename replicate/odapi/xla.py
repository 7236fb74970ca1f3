"""What XLA needs of the Object Detection API's models, and which it cannot compile.

Of a training step it compiles losses and gradients, of an evaluation the forward pass (`predict`);
suppression, whose results have sizes that are not known, stays outside.

XLA has no kernel for the gradient of nearest-neighbour resizing, with which Keras's UpSampling2D
enlarges CenterNet's maps. Inside `replacements()` it is traced as a broadcast instead, as the API
itself enlarges its feature pyramids: the same values, and the same gradients but for the order in
which each pixel's are added. tests/odapi/test_xla.py holds both.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

_NOT_GIVEN_BACK = ("preprocessed_inputs", "feature_maps", "extracted_features")


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


def obstacle_to_predicting(model_config: "Message", static_shape: tuple[int, int] | None) -> str:
    """Why XLA does not compile the forward pass of this model's evaluation; "" where it does.

    Args:
      model_config: DetectionModel.
      static_shape: (height, width) that every image is resized to, or None where it varies.
    """
    if static_shape is None:
        return (
            "its images keep their shapes (image_resizer, without pad_to_max_dimension), and XLA "
            "would compile the model for each of them"
        )
    if model_config.WhichOneof("model") == "faster_rcnn":
        return (
            "in evaluation as many proposals are kept as the suppression leaves (operation "
            "NonMaxSuppressionV5), and XLA compiles no operation whose result has a size that is "
            "not known"
        )
    return ""


def predicting(model: Any) -> Callable[[Any, Any], dict[str, Any]]:
    """`model.predict` through XLA, to be called in the trace of a function.

    Args:
      model: the API's DetectionModel, which is not training.

    Returns:
      a function of what `predict` takes, which gives what `postprocess` takes.
    """
    import tensorflow as tf
    from object_detection.core import box_list

    def predict(images: Any, true_shapes: Any) -> dict[str, Any]:
        predictions = model.predict(images, true_shapes)
        # What is not given back is not kept: the input is at hand, and of its maps of features an
        # SSD detects nothing.
        return {name: each for name, each in predictions.items() if name not in _NOT_GIVEN_BACK}

    compiled = tf.function(predict, jit_compile=True, autograph=False)

    def with_xla(images: Any, true_shapes: Any) -> dict[str, Any]:
        with replacements():
            predictions = compiled(images, true_shapes)
        if "anchors" in predictions and hasattr(model, "_non_max_suppression_fn"):
            # Which an SSD remembers, and would look for in the trace of the compiled function.
            model._anchors = box_list.BoxList(predictions["anchors"])
        return predictions | {"preprocessed_inputs": images}

    return with_xla


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
