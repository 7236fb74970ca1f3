"""The number format of a training run, and what the config's `use_bfloat16` means here."""

import os
from typing import Any

import tensorflow as tf

from replicate.errors import UserError

PRECISIONS = ("float32", "bfloat16", "float16")
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def choose(recipe_bfloat16: bool, asked: str | None) -> str:
    """The precision to train in.

    `use_bfloat16: true` (TF-Vision: `mixed_precision_dtype: bfloat16`) was honoured on the TPUs
    that made the published numbers; the API's own loop ignores it elsewhere. Here it is honoured on
    a GPU that computes bfloat16 (compute capability 8.0 or more) and ignored, as by the API, on a
    CPU.

    Args:
      recipe_bfloat16: whether the config asks for it (`engine.Description`).
      asked: one of PRECISIONS, or None to decide from the config and the devices.

    Raises:
      UserError: not a precision.
    """
    if asked is not None:
        if asked not in PRECISIONS:
            raise UserError(f"--precision={asked}: one of {', '.join(PRECISIONS)}")
        return asked
    if recipe_bfloat16 and _gpus_of_capability((8, 0)):
        return "bfloat16"
    return "float32"


def has_tf32() -> bool:
    """Whether this process's GPUs compute TensorFloat-32 (compute capability 8.0 or more) and the
    environment does not forbid it (`NVIDIA_TF32_OVERRIDE=0`); False without a GPU."""
    return os.environ.get("NVIDIA_TF32_OVERRIDE") != "0" and _gpus_of_capability((8, 0))


def computes_in_tf32() -> bool:
    """Whether float32 is TensorFloat-32 in this process: its GPUs have it, and nothing switched it
    off."""
    return has_tf32() and tf.config.experimental.tensor_float_32_execution_enabled()


def _gpus_of_capability(least: tuple[int, int]) -> bool:
    """Whether there are GPUs and all are of this compute capability or more."""
    gpus = tf.config.list_physical_devices("GPU")
    return bool(gpus) and all(
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= least
        for gpu in gpus
    )


def activate(precision: str, tf32: bool = True) -> None:
    """Sets Keras's global policy; models built afterwards compute in `precision`.

    Args:
      precision: one of PRECISIONS.
      tf32: whether a GPU that can computes float32 in TensorFloat-32, which is TensorFlow's
        default.
    """
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    tf.keras.mixed_precision.set_global_policy(_POLICIES[precision])


def scaled(optimizer: Any, precision: str) -> Any:
    """`optimizer`, with dynamic loss scaling where float16 needs it."""
    if precision != "float16":
        return optimizer
    return tf.keras.mixed_precision.LossScaleOptimizer(optimizer)


def predict_in_float32(model: Any) -> None:
    """Makes `model.predict` return float32, which the API's losses need.

    The API does so itself for bfloat16 and knows no float16.
    """
    predict = model.predict

    def in_float32(*args: Any, **kwargs: Any) -> Any:
        return tf.nest.map_structure(
            lambda leaf: (
                tf.cast(leaf, tf.float32)
                if tf.is_tensor(leaf) and leaf.dtype == tf.float16
                else leaf
            ),
            predict(*args, **kwargs),
        )

    model.predict = in_float32
