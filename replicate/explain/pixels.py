"""From a file to the pixels that a model is given, with one step done otherwise."""

import dataclasses

import numpy as np

from replicate import decoders, odapi
from replicate.errors import UserError


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


def decoded(path, steps):
    """uint8 RGB [height, width, 3] of a file.

    Raises:
      UserError: the file cannot be decoded, or OpenCV is asked for and not installed.
    """
    pixels = DECODERS[steps.decoder](path)
    if steps.exif:
        pixels = _turned(pixels, path)
    return pixels


def resized(pixels, input_hw, steps, within_hw=None):
    """An image in the size of the model's input, or of the part of it that it fills.

    Args:
      pixels: uint8 [height, width, 3].
      input_hw: size of the model's input.
      steps: Steps.
      within_hw: what an image that keeps its aspect must fit into; default the input.

    Returns:
      (float32 [*input_hw, 3] in 0..255, smaller where the aspect is "kept"; what fraction of its
      height and width the image fills).
    """
    hw = input_hw
    if steps.aspect != "stretched":
        within = zip(within_hw or input_hw, pixels.shape[:2], strict=True)
        times = min(most / side for most, side in within)
        hw = tuple(max(1, round(side * times)) for side in pixels.shape[:2])
    small, fraction = KERNELS[steps.resize](pixels, hw), (1.0, 1.0)
    if steps.aspect == "padded":
        padded = np.zeros((*input_hw, 3), np.float32)
        padded[: hw[0], : hw[1]] = small
        small, fraction = padded, (hw[0] / input_hw[0], hw[1] / input_hw[1])
    if steps.channels == "BGR":
        small = small[..., ::-1]
    return np.ascontiguousarray(small, np.float32), fraction


def _by_tensorflow_accurate(path):
    odapi.require_keras_2()
    import tensorflow as tf

    encoded = tf.io.read_file(str(path))
    if not tf.io.is_jpeg(encoded):
        return decoders.by_tensorflow(path)
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE").numpy()


def _by_opencv(path):
    import cv2

    image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image_bgr is None:
        raise UserError(f"{path}: OpenCV cannot decode it")
    return np.ascontiguousarray(image_bgr[..., ::-1])


def _turned(pixels, path):
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


def _opencv(kernel):
    def resize(pixels, hw):
        import cv2

        # On bytes, as it is used, so that its results are rounded.
        return cv2.resize(pixels, hw[::-1], interpolation=getattr(cv2, kernel))

    return resize


def _tensorflow(method, antialias):
    def resize(pixels, hw):
        import tensorflow as tf

        return tf.image.resize(pixels.astype(np.float32), hw, method, antialias=antialias).numpy()

    return resize


def _as_the_api(pixels, hw):
    """TensorFlow 1's sampling, without half-pixel centres, as the API's resizers still use it."""
    import tensorflow as tf

    resized = tf.compat.v1.image.resize(pixels[np.newaxis].astype(np.float32), hw)
    return resized[0].numpy()


def _pillow(kernel):
    def resize(pixels, hw):
        from PIL import Image

        image = Image.fromarray(pixels).resize(hw[::-1], getattr(Image.Resampling, kernel))
        return np.asarray(image, np.float32)

    return resize


#: name -> function path -> uint8 RGB [height, width, 3].
DECODERS = {
    "tensorflow": decoders.by_tensorflow,
    "tensorflow, accurate DCT": _by_tensorflow_accurate,
    "pillow": decoders.by_pillow,
    "opencv": _by_opencv,
}
#: name -> function (uint8 pixels, (height, width)) -> float32 pixels.
KERNELS = {
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
