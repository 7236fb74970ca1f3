"""TFLite models: the API's own TFLite graph builder, then TensorFlow's converter."""

import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.errors import UserError
from replicate.export import forms

if TYPE_CHECKING:
    from google.protobuf.message import Message

NMS = ("regular", "fast")


def write_graph(
    config: "Message", weights: pathlib.Path, folder: pathlib.Path, max_detections: int, nms: str
) -> pathlib.Path:
    """The SavedModel that TensorFlow's converter takes, by the API's TFLite graph builder.

    Args:
      config: TrainEvalPipelineConfig of a model that `forms.check` passes.
      weights: a folder of `saved_model.write_weights`.
      folder: where it goes.
      max_detections: detections an image.
      nms: of an SSD: "regular" suppresses category by category, as evaluation does; "fast" over
        the best category of each box alone, which is quicker and costs AP.

    Returns:
      the SavedModel's folder.

    Raises:
      UserError: the API refuses the model.
    """
    from object_detection import export_tflite_graph_lib_tf2

    if nms not in NMS:
        raise UserError(f"nms '{nms}'; there are: {', '.join(NMS)}")
    given = type(config)()
    given.CopyFrom(config)
    square = forms.square(config)
    if square:
        fixed = forms.image_resizer(given).fixed_shape_resizer
        fixed.height = fixed.width = square.side_px
    try:
        export_tflite_graph_lib_tf2.export_tflite_model(
            given, str(weights), str(folder), max_detections, nms == "regular"
        )
    except ValueError as error:
        raise UserError(f"the API's TFLite builder refuses this model: {error}") from None
    return folder / "saved_model"


def convert(graph: pathlib.Path, form: str, representative: Iterable[np.ndarray] = ()) -> bytes:
    """A TFLite model of a SavedModel that `write_graph` made.

    Args:
      graph: its folder.
      form: "tflite", "tflite_float16" or "tflite_int8".
      representative: of "tflite_int8": preprocessed images float32 [1, height, width, 3], from
        which the ranges of activations are taken.

    Returns:
      the content of the .tflite file. A "tflite_int8" takes uint8, quantized with its input's
      scale and zero point.

    Raises:
      UserError: the converter cannot take the model.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(graph))
    if form == "tflite_float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    if form == "tflite_int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in representative)
        # What has no 8-bit kernel (the suppression) stays float32.
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
        converter.inference_input_type = tf.uint8
    try:
        return converter.convert()
    except (tf.lite.ConverterError, ValueError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{form}: TensorFlow's converter cannot take this model ({first})"
        ) from None


# What the API's TFLite modules return, in the order of the converted model's signature.
_ROLES = {"output_0": "count", "output_1": "scores", "output_2": "classes", "output_3": "boxes"}


def described(content: bytes) -> dict[str, Any]:
    """The inputs and outputs of a converted model: name, shape, dtype, quantization, role.

    Args:
      content: of a .tflite file that `convert` gave.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    of_signature = interpreter.get_signature_runner().get_output_details()
    role_at = {of_signature[name]["index"]: role for name, role in _ROLES.items()}
    return {
        "inputs": [_tensor(detail) for detail in interpreter.get_input_details()],
        "outputs": [
            _tensor(detail) | {"role": role_at.get(detail["index"])}
            for detail in interpreter.get_output_details()
        ],
    }


def _tensor(detail: dict[str, Any]) -> dict[str, Any]:
    scale, zero_point = detail["quantization"]
    return {
        "name": str(detail["name"]),
        "shape": [int(size) for size in detail["shape"]],
        "dtype": np.dtype(detail["dtype"]).name,
        "quantization": {"scale": float(scale), "zero_point": int(zero_point)} if scale else None,
    }
