"""From a file to the pixels that a model is given, with one step done otherwise."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from replicate import decoders, odapi
from replicate.errors import UserError

_Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Steps:
    """How an image becomes a model's input. The defaults are the Object Detection API's.

    Attributes:
      decoder: of DECODERS.
      exif: turn the image as its EXIF tag says (COCO counts pixels of the file as it lies).
      resize: of KERNELS.
      aspect: "stretched" to the input; "padded": as large as fits, black below or right; "kept":
        as large as fits, and the model pads.
      channels: "RGB" or "BGR".
      normalisation: "recipe" or "0..1": values from 0 to 1 whatever the model was trained on.
    """

    decoder: str = "tensorflow"
    exif: bool = False
    resize: str = "the API's bilinear"
    aspect: str = "stretched"
    channels: str = "RGB"
    normalisation: str = "recipe"


def decoded(path: str | os.PathLike[str], steps: Steps) -> np.ndarray:
    """uint8 RGB [height, width, 3] of a file.

    Raises:
      UserError: the file cannot be decoded, or OpenCV is asked for and not installed.
    """
    pixels = DECODERS[steps.decoder](path)
    if steps.exif:
        pixels = _turned(pixels, path)
    return pixels


def resized(
    pixels: np.ndarray,
    input_hw: tuple[int, int],
    steps: Steps,
    within_hw: tuple[int, int] | None = None,
) -> tuple[np.ndarray, tuple[float, float]]:
    """An image in the size of the model's input, or of the part of it that it fills.

    Args:
      pixels: uint8 [height, width, 3].
      input_hw: size of the model's input.
      within_hw: what an image that keeps its aspect must fit into; default the input.

    Returns:
      (float32 [*input_hw, 3] in 0..255, smaller where the aspect is "kept"; what fraction of its
      height and width the image fills).
    """
    height, width = pixels.shape[:2]
    hw = input_hw
    if steps.aspect != "stretched":
        within = within_hw or input_hw
        times = min(within[0] / height, within[1] / width)
        hw = max(1, round(height * times)), max(1, round(width * times))
    small, fraction = KERNELS[steps.resize](pixels, hw), (1.0, 1.0)
    if steps.aspect == "padded":
        padded = np.zeros((*input_hw, 3), np.float32)
        padded[: hw[0], : hw[1]] = small
        small, fraction = padded, (hw[0] / input_hw[0], hw[1] / input_hw[1])
    if steps.channels == "BGR":
        small = small[..., ::-1]
    return np.ascontiguousarray(small, np.float32), fraction


def _by_tensorflow_accurate(path: str | os.PathLike[str]) -> np.ndarray:
    odapi.require_keras_2()
    import tensorflow as tf

    encoded = tf.io.read_file(str(path))
    if not tf.io.is_jpeg(encoded):
        return decoders.by_tensorflow(path)
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE").numpy()


def _by_opencv(path: str | os.PathLike[str]) -> np.ndarray:
    import cv2

    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image_bgr is None:
        raise UserError(f"{path}: OpenCV cannot decode it")
    return np.ascontiguousarray(image_bgr[..., ::-1])


def _turned(pixels: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        tag = image.getexif().get(0x0112, 1)
    if tag == 1:
        return pixels
    upright = Image.fromarray(pixels)
    exif = upright.getexif()
    exif[0x0112] = tag
    upright.info["exif"] = exif.tobytes()
    return np.asarray(ImageOps.exif_transpose(upright))


def _opencv(kernel: str) -> _Resize:
    def resize(pixels: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
        import cv2

        # On bytes, as it is used, so that its results are rounded.
        return cv2.resize(pixels, hw[::-1], interpolation=getattr(cv2, kernel))

    return resize


def _tensorflow(method: str, antialias: bool) -> _Resize:
    def resize(pixels: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
        import tensorflow as tf

        return tf.image.resize(pixels.astype(np.float32), hw, method, antialias=antialias).numpy()

    return resize


def _as_the_api(pixels: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """TensorFlow 1's sampling, without half-pixel centres, as the API's resizers still use it."""
    import tensorflow as tf

    resized = tf.compat.v1.image.resize(pixels[np.newaxis].astype(np.float32), hw)
    return resized[0].numpy()


def _pillow(kernel: str) -> _Resize:
    def resize(pixels: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
        from PIL import Image

        image = Image.fromarray(pixels).resize(hw[::-1], getattr(Image.Resampling, kernel))
        return np.asarray(image, np.float32)

    return resize


#: By name: of a path the uint8 RGB [height, width, 3].
DECODERS: dict[str, Callable[[str | os.PathLike[str]], np.ndarray]] = {
    "tensorflow": decoders.by_tensorflow,
    "tensorflow, accurate DCT": _by_tensorflow_accurate,
    "pillow": decoders.by_pillow,
    "opencv": _by_opencv,
}
#: By name: of uint8 pixels and the size they are to have the float32 pixels.
KERNELS: dict[str, _Resize] = {
    "the API's bilinear": _as_the_api,
    "bilinear": _tensorflow("bilinear", False),
    "bilinear, antialiased": _tensorflow("bilinear", True),
    "nearest": _tensorflow("nearest", False),
    "bicubic": _tensorflow("bicubic", False),
    "area": _tensorflow("area", False),
    "opencv's bilinear": _opencv("INTER_LINEAR"),
    "opencv's area": _opencv("INTER_AREA"),
    "pillow's bilinear": _pillow("BILINEAR"),
    "pillow's bicubic": _pillow("BICUBIC"),
}
