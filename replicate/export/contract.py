"""What goes into an exported model and what comes out, so that a caller need not guess."""

import numpy as np

from replicate.errors import UserError
from replicate.export import forms


def of_saved_model(input_type: str) -> dict:
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


def of_tflite(config, detector) -> dict:
    """The contract of a TFLite model.

    The normalization is measured: the model's own `preprocess` of images of one gray, which must
    lie on a straight line for each channel.

    Args:
      config: TrainEvalPipelineConfig.
      detector: evaluate.detector.Detector, built for it.

    Raises:
      UserError: a normalization that is not scale and offset of each channel.
    """
    side_px = forms.square_px(config)
    height_px, width_px = detector.static_shape
    inside = config.model.WhichOneof("model") == "center_net"
    return {
        "input": {
            "type": "image",
            "image_hw": [int(height_px), int(width_px)],
            "pixels": "RGB",
            "resize": "keep_aspect_pad" if side_px else "stretch",
            "pad": "with zeros, at the right and the bottom, before normalization"
            if side_px
            else None,
            "kernel": "bilinear, without antialiasing (tf.image.resize)",
            # A CenterNet's TFLite graph normalizes by itself.
            "normalization": None if inside else normalization(detector),
        },
        "output": {
            "boxes": "boxes_yxyx_norm of the input" + " with its padding" * bool(side_px),
            "classes": "from 0: the label map's id less one",
            "scores": "0 to 1",
            "count": "number of detections",
        },
    }


def normalization(detector) -> dict:
    """Scale and offset of each channel: normalized = pixel × scale + offset.

    Args:
      detector: evaluate.detector.Detector.

    Returns:
      dict of lists of three: "scale" and "offset".

    Raises:
      UserError: a gray of 128 does not lie on the line through those of 0 and 255.
    """
    shape = (*detector.static_shape, 3)
    at = {
        gray: np.asarray(detector.preprocess(np.full(shape, gray, np.uint8))[0], np.float64)
        for gray in (0, 128, 255)
    }
    offset = at[0][0, 0]
    scale = (at[255][0, 0] - offset) / 255
    for gray, image in at.items():
        if not np.allclose(image, gray * scale + offset, rtol=0, atol=1e-3 * np.abs(scale).max()):
            raise UserError(
                "tflite: this model's preprocessing is not a scale and an offset of each channel; "
                "there is no contract to write for a model without it"
            )
    return {"scale": scale.tolist(), "offset": offset.tolist()}
