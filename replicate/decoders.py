"""Image decoders by name: from a file to uint8 RGB pixels.

TensorFlow and Pillow give different pixels for one JPEG: of the first 128 images of COCO val2017
theirs differ by 1.2 levels on average and by up to 24. The cause is one setting of libjpeg, the
inverse cosine transform: TensorFlow's default is INTEGER_FAST, and with INTEGER_ACCURATE it gives
Pillow's pixels exactly (`tests/benchmark/test_decoders.py`). A detector's AP moves with them by
some tenths of a point, more than the distance within which a checkpoint counts as replicated
(docs/scoring.md has figures). So a score says which decoder fed its detector.

The Object Detection API decodes with TensorFlow's, in training and evaluation.
"""

import importlib.metadata
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from replicate import odapi
from replicate.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf


#: name -> the package whose version belongs to its pixels.
PACKAGES = {"tensorflow": "tensorflow", "pillow": "pillow"}
NAMES = tuple(PACKAGES)
_WHAT_TO_DO = "replace the file or take the image out of the annotation file"


def decoder(name: str) -> Callable[[str | os.PathLike], np.ndarray]:
    """The function of a path that decodes a file.

    Args:
      name: one of NAMES.

    Returns:
      function path -> uint8 RGB [height, width, 3], turned by no EXIF tag, as COCO counts
      pixels; it raises UserError where the file cannot be decoded.

    Raises:
      UserError: an unknown name.
    """
    check(name)
    return {"tensorflow": by_tensorflow, "pillow": by_pillow}[name]


def check(name: str) -> None:
    """Raises UserError where `name` is no decoder."""
    if name not in NAMES:
        raise UserError(f"decoder '{name}'; there are: {', '.join(NAMES)}")


def version(name: str) -> str:
    """The version of the decoder's package, told without importing it."""
    return importlib.metadata.version(PACKAGES[name])


def by_tensorflow(path: str | os.PathLike) -> np.ndarray:
    """As `decoder("tensorflow")`."""
    odapi.require_keras_2()  # whoever imports TensorFlow first decides for the process
    import tensorflow as tf

    try:
        with tf.device("/cpu:0"):
            return in_graph(tf.io.read_file(str(path))).numpy()
    except tf.errors.OpError as error:
        raise UserError(
            f"{path}: cannot be decoded ({error.message.strip()}); {_WHAT_TO_DO}"
        ) from None


def in_graph(encoded: "tf.Tensor") -> "tf.Tensor":
    """The pixels of an encoded image as the API's own input decodes them, as a tensor.

    Args:
      encoded: string tensor [], a file's content.

    Returns:
      uint8 [height, width, 3].
    """
    import tensorflow as tf

    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return image


def by_pillow(path: str | os.PathLike) -> np.ndarray:
    """As `decoder("pillow")`."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: cannot be decoded ({error}); {_WHAT_TO_DO}") from None
