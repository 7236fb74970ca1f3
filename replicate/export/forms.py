"""The forms of a checkpoint, and which of them a model has."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message


@dataclasses.dataclass(frozen=True)
class Form:
    """A form in which a model is deployed.

    Attributes:
      name: as `--format` takes it.
      file: what it is called in the export's folder.
      says: one line for `--help` and the table.
    """

    name: str
    file: str
    says: str


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("saved_model", "saved_model", "SavedModel with the zoo's signature, checkpoint"),
        Form("tflite", "model.tflite", "TFLite, float32"),
        Form("tflite_float16", "model_float16.tflite", "TFLite, float16 weights"),
        Form("tflite_int8", "model_int8.tflite", "TFLite, 8-bit weights and activations"),
        Form("onnx", "model.onnx", "ONNX of the SavedModel, by tf2onnx"),
    )
}
TFLITE = ("tflite", "tflite_float16", "tflite_int8")


def check(config: "Message", names: Iterable[str]) -> None:
    """Refuses forms that this model does not have.

    Args:
      config: TrainEvalPipelineConfig.
      names: iterable of names of FORMS.

    Raises:
      UserError: an unknown form, or one that the API has not for this model, with the reason.
    """
    unknown = [name for name in names if name not in FORMS]
    if unknown:
        raise UserError(f"format '{unknown[0]}'; there are: {', '.join(FORMS)}")
    asked = [name for name in names if name in TFLITE]
    reason = tflite_refusal(config) if asked else None
    if reason:
        rest = [name for name in FORMS if name not in TFLITE]
        raise UserError(f"{asked[0]}: {reason}. This model has: {', '.join(rest)}")


def tflite_refusal(config: "Message") -> str | None:
    """Why a config's model has no TFLite form; None where it has.

    The API's TFLite builder (export_tflite_graph_lib_tf2.py) takes SSD, EfficientDet among them,
    and CenterNet, on images of one size.
    """
    kind = config.model.WhichOneof("model")
    if kind not in ("ssd", "center_net"):
        return (
            f"the Object Detection API's TFLite builder takes SSD and CenterNet models, not {kind}"
        )
    if square(config) is None and _resizer(config) != "fixed_shape_resizer":
        return (
            "a TFLite model takes images of one size, and this config's image_resizer gives "
            "others (keep_aspect_ratio_resizer without pad_to_max_dimension, or sides of two "
            "bounds)"
        )
    if kind == "center_net" and config.model.center_net.HasField("mask_estimation_task"):
        return "the API's TFLite builder gives no masks of a CenterNet"
    return None


@dataclasses.dataclass(frozen=True)
class Square:
    """The square that images are padded to, keeping their aspect.

    Attributes:
      side_px: its side.
      pad_value: of each channel, at the right and the bottom: of an SSD what its normalized image
        is padded with, of a CenterNet a pixel of 0 to 255 (`contract.padding`).
    """

    side_px: int
    pad_value: tuple[float, float, float]


def square(config: "Message") -> Square | None:
    """The square of a config's resizer; None where it pads to none.

    Such a resizer gives one shape, so the graph behind it is that of a fixed shape; the caller
    resizes and pads. EfficientDet and the CenterNets of the zoo have it.
    """
    if _resizer(config) != "keep_aspect_ratio_resizer":
        return None
    keep = image_resizer(config).keep_aspect_ratio_resizer
    if keep.min_dimension != keep.max_dimension or not keep.pad_to_max_dimension:
        return None
    red, green, blue = keep.per_channel_pad_value or (0.0, 0.0, 0.0)
    return Square(keep.max_dimension, (red, green, blue))


def image_resizer(config: "Message") -> Any:
    """The ImageResizer message of a config's model."""
    return getattr(config.model, config.model.WhichOneof("model")).image_resizer


def _resizer(config: "Message") -> str:
    return image_resizer(config).WhichOneof("image_resizer_oneof")
