"""Images as a training job will meet them: format, size, colours and orientation are checked.

Only the header is read, and the end of the data; decoding every pixel is the full verification's.
"""

import io

from PIL import Image, UnidentifiedImageError

from tfrecords.errors import BadImage

_EXIF_ORIENTATION = 0x0112
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
_JPEG_NAMES = (".jpg", ".jpeg", ".jpe", ".jfif")


def check(encoded: bytes, name: str, image_hw: tuple[int, int]) -> tuple[str, tuple[str, ...]]:
    """Checks the bytes of an image file against the annotation file's record of it.

    Args:
      encoded: the file's bytes.
      name: the file's path, for messages; its extension must not say another format.
      image_hw: (height, width) in pixels as annotated.

    Returns:
      (format, notes): "jpeg" or "png", the words of TfExampleDecoder's image/format; and a tuple
      of what is unusual but decodes well in TensorFlow: "greyscale", "cmyk", "exif_orientation".

    Raises:
      BadImage: with reason image_unreadable, image_format, image_truncated or image_size.
    """
    if not encoded:
        raise BadImage("image_unreadable", f"{name}: the file is empty; copy or download it again")
    try:
        image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise BadImage("image_unreadable", f"{name}: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise BadImage(
            "image_unreadable",
            f"{name}: not an image ({len(encoded)} bytes, starting {encoded[:8]!r}); "
            "copy or download it again",
        ) from error
    _check_format(image, name)
    _check_size(image, name, image_hw)
    _check_end(image, encoded, name)
    notes: tuple[str, ...] = {"L": ("greyscale",), "LA": ("greyscale",), "CMYK": ("cmyk",)}.get(
        image.mode, ()
    )
    if orientation(image) != 1:
        notes += ("exif_orientation",)
    return "png" if image.format == "PNG" else "jpeg", notes


def decode_fully(encoded: bytes) -> None:
    """Decodes every pixel; raises ValueError where that fails."""
    try:
        Image.open(io.BytesIO(encoded)).load()
    except Exception as error:  # Pillow raises many kinds for damaged data
        raise ValueError(str(error)) from error


def _check_format(image: Image.Image, name: str) -> None:
    """JPEG, or PNG under a name that does not claim to be a JPEG."""
    jpeg_name = name.lower().endswith(_JPEG_NAMES)
    # MPO: JPEGs one after another, as some cameras write; decoders take the first.
    if image.format in ("JPEG", "MPO") or (image.format == "PNG" and not jpeg_name):
        return
    under = " under a JPEG's name" if jpeg_name else ""
    raise BadImage(
        "image_format",
        f"{name}: a {image.format}{under}; records hold JPEG (or PNG named .png). Convert it, "
        "for example with Pillow, or correct its name",
    )


def _check_size(image: Image.Image, name: str, image_hw: tuple[int, int]) -> None:
    height, width = image_hw
    if image.size == (width, height):
        return
    message = f"{name}: {image.width}x{image.height} pixels, annotated as {width}x{height}"
    if image.size == (height, width) and orientation(image) >= 5:
        raise BadImage(
            "image_size",
            f"{message}: it was annotated as rotated by its EXIF orientation "
            f"({orientation(image)}), which TensorFlow ignores. Rotate the pixels "
            "(PIL.ImageOps.exif_transpose) and save the file without the tag",
        )
    raise BadImage(
        "image_size",
        f"{message}. The boxes belong to another version of this image: put that in its place, or "
        "scale the boxes. Where all boxes fit into the file's own size, --fix=sizes takes that",
    )


def _check_end(image: Image.Image, encoded: bytes, name: str) -> None:
    """A whole JPEG ends with its end marker, a PNG with IEND; other endings are decoded to see."""
    tail = encoded[-64:].rstrip(b"\0\r\n ")
    if tail.endswith(b"\xff\xd9") or b"IEND" in tail:
        return
    try:
        image.copy().load()
    except Exception as error:  # Pillow raises many kinds for damaged data
        raise BadImage(
            "image_truncated",
            f"{name}: cut off or damaged ({error}); copy or download it again",
        ) from error


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none."""
    if "exif" not in image.info:
        return 1
    try:
        return image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a damaged tag says nothing; the size check has the last word
        return 1
