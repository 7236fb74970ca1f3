"""What goes into an exported model and what comes out, so that a caller need not guess."""

from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.errors import UserError
from replicate.export import forms

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.evaluate.detector import Detector

#: How the API resizes: `tf.compat.v1.image.resize`, whose output pixel i lies at i × in/out of the
#: input; OpenCV, Pillow and TensorFlow 2 take (i + 0.5) × in/out − 0.5.
API_KERNEL = "bilinear, corners at (0, 0), without antialiasing"


def of_saved_model(input_type: str) -> dict[str, Any]:
    """The contract of the SavedModel, and of the ONNX model made of it."""
    return {
        "input": {
            "type": input_type,
            "pixels": "RGB, 0 to 255, of the whole image: resizing and normalization are inside",
        },
        "output": {
            "boxes": "detection_boxes: boxes_yxyx_norm of the image",
            "classes": "detection_classes: from 1, in the label map's order of ids",
            "scores": "detection_scores",
            "count": "num_detections",
        },
    }


def of_tflite(config: "Message", detector: "Detector") -> dict[str, Any]:
    """The contract of a TFLite model.

    The normalization is measured: the model's own `preprocess` of images of one colour, which must
    lie on a straight line for each channel. So is the padding: the API pads an SSD's images after
    normalization, with the config's value, which is another colour of the pixels before it.

    Args:
      config: TrainEvalPipelineConfig.
      detector: the model, built for it.

    Raises:
      UserError: a normalization that is not scale and offset of each channel.
    """
    square = forms.square(config)
    height_px, width_px = detector.static_shape or (0, 0)
    # A CenterNet's TFLite graph normalizes by itself, after the padding.
    inside = config.model.WhichOneof("model") == "center_net"
    line = None if inside else normalization(detector)
    pad = None
    if square:
        pad = list(square.pad_value) if line is None else padding(detector, line)
    return {
        "input": {
            "type": "image",
            "image_hw": [int(height_px), int(width_px)],
            "pixels": "RGB",
            "resize": "keep_aspect_pad" if square else "stretch",
            "pad": pad,
            "pad_where": "right and bottom, before normalization" if square else None,
            "kernel": API_KERNEL,
            "normalization": line,
        },
        "output": {
            "boxes": "boxes_yxyx_norm of the input"
            + (" with its padding" if square else "")
            + ", to be clipped to the image",
            "classes": "from 0: the label map's id less one",
            "scores": "0 to 1",
            "count": "number of detections",
        },
    }


def padding(detector: "Detector", line: dict[str, list[float]]) -> list[float]:
    """The colour with which an image is padded before normalization: three values, 0 to 255.

    Args:
      detector: a model whose images keep their aspect and are padded to a square.
      line: its `normalization`.
    """
    height_px, width_px = detector.static_shape or (0, 0)
    image = np.zeros((height_px, width_px // 2, 3), np.uint8)
    corner = np.asarray(detector.preprocess(image)[0], np.float64)[-1, -1]
    # Whole levels come out as such; beyond six digits it is the arithmetic's rounding.
    return [
        round(float(value), 6)
        for value in (corner - np.array(line["offset"])) / np.array(line["scale"])
    ]


def normalization(detector: "Detector") -> dict[str, list[float]]:
    """Scale and offset of each channel: normalized = pixel × scale + offset.

    Returns:
      dict of lists of three: "scale" and "offset".

    Raises:
      UserError: it is something else; channels that change places, for one.
    """
    height_px, width_px = detector.static_shape or (0, 0)

    def of_colour(colour: tuple[int, int, int]) -> np.ndarray:
        image = np.full((height_px, width_px, 3), colour, np.uint8)
        return np.asarray(detector.preprocess(image)[0], np.float64)[0, 0]

    offset = of_colour((0, 0, 0))
    scale = (of_colour((255, 255, 255)) - offset) / 255
    for colour in ((128, 128, 128), (10, 100, 240)):
        expected = np.array(colour) * scale + offset
        if not np.allclose(of_colour(colour), expected, rtol=0, atol=1e-3 * np.abs(scale).max()):
            raise UserError(
                "tflite: this model's preprocessing is not a scale and an offset of each channel; "
                "there is no contract to write for a model without it"
            )
    return {"scale": scale.tolist(), "offset": offset.tolist()}
