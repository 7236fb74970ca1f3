"""Pictures of the model's input: its normalization undone, and what is drawn over it."""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

LONGER_SIDE_PX = 480
_JPEG_QUALITY = 78
_MASK_ALPHA = 120
# Of the gallery's strokes: bright on pictures, in either theme.
_MASK_COLOURS = np.array(
    [
        (61, 220, 132),
        (77, 184, 255),
        (255, 122, 51),
        (255, 225, 77),
        (255, 79, 216),
        (166, 124, 255),
    ],
    np.uint8,
)


class Normalization:
    """A model's normalization of pixels, found by giving it colours, and undone.

    Attributes:
      affine: whether it is a linear map of the three channels, so that it can be undone.
      low, high: per channel of the output, what black and white become.
      swaps_channels: whether red comes out in another channel.
    """

    def __init__(self, model: Any) -> None:
        colours = np.concatenate(
            [[[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]],
             np.random.default_rng(0).uniform(0, 255, (11, 3))]
        ).astype(np.float32)  # fmt: skip
        image = tf.constant(colours.reshape(1, 4, 4, 3))
        out = np.asarray(model._feature_extractor.preprocess(image), np.float32).reshape(16, 3)
        given = np.column_stack([colours, np.ones(16)])
        self._matrix, *_ = np.linalg.lstsq(given, out, rcond=None)
        self.affine = bool(np.abs(given @ self._matrix - out).max() < 1e-2 * np.ptp(out))
        self.low, self.high = out[0].tolist(), out[4].tolist()
        gains = np.abs(self._matrix[:3])
        self.swaps_channels = bool((gains.argmax(axis=0) != np.arange(3)).any())

    def undone(self, image: np.ndarray) -> np.ndarray:
        """[h, w, 3] uint8 of a normalized image; stretched to its range where it is not affine."""
        image = np.asarray(image, np.float32)[..., :3]
        if self.affine:
            pixels = (image - self._matrix[3]) @ np.linalg.inv(self._matrix[:3])
        else:
            pixels = 255 * (image - image.min()) / max(np.ptp(image), 1e-6)
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def data_uri(image: np.ndarray, longer_side_px: int = LONGER_SIDE_PX) -> str:
    """An image [h, w, 3] of 0 to 255 as a JPEG data URI, scaled down."""
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    picture.thumbnail((longer_side_px, longer_side_px), Image.Resampling.LANCZOS)
    return _encoded(picture, "JPEG", quality=_JPEG_QUALITY, optimize=True)


def masks_uri(masks: np.ndarray | None, longer_side_px: int = LONGER_SIDE_PX) -> str:
    """Masks [n, h, w] as a transparent PNG data URI, a colour each; "" without any."""
    if masks is None or not len(masks) or not masks.any():
        return ""
    height, width = masks.shape[1:]
    overlay = np.zeros((height, width, 4), np.uint8)
    for number, mask in enumerate(masks):
        colour = _MASK_COLOURS[number % len(_MASK_COLOURS)]
        overlay[mask > 0.5] = [*colour, _MASK_ALPHA]
    picture = Image.fromarray(overlay)
    picture.thumbnail((longer_side_px, longer_side_px), Image.Resampling.NEAREST)
    return _encoded(picture, "PNG", optimize=True)


def heat_uri(image: np.ndarray, heat: np.ndarray, longer_side_px: int = LONGER_SIDE_PX) -> str:
    """A heat map [h, w] of 0 to 1 over its image, as a JPEG data URI."""
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    picture.thumbnail((longer_side_px, longer_side_px), Image.Resampling.LANCZOS)
    over = Image.fromarray((255 * np.clip(heat, 0, 1)).astype(np.uint8))
    strength = np.asarray(over.resize(picture.size, Image.Resampling.NEAREST), np.float32) / 255
    dimmed = 0.45 * np.asarray(picture, np.float32)
    blended = dimmed + strength[..., None] * (np.array([255, 196, 40], np.float32) - dimmed)
    return _encoded(Image.fromarray(blended.astype(np.uint8)), "JPEG", quality=_JPEG_QUALITY)


def boxes(
    boxes_yxyx_px: Iterable[np.ndarray], kinds: Iterable[str], labels: Iterable[str]
) -> list[dict]:
    """Boxes to draw: x, y, width, height (pixels), kind and label of each."""
    drawn = []
    for (top, left, bottom, right), kind, label in zip(boxes_yxyx_px, kinds, labels, strict=True):
        place = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        drawn.append(
            {name: round(float(value), 1) for name, value in place.items()}
            | {"kind": kind, "label": label}
        )
    return drawn


def tags(drawn: Iterable[dict], image_hw: Sequence[int]) -> dict:
    """Where the labels of `boxes` stand: size, and text, x, y of each; none on another.

    Each at the first place, of above and below the box's upper and lower edge, that is free.
    """
    height, width = image_hw
    size = max(height, width) / 26
    taken: list[tuple[float, float, float]] = []
    placed: list[dict] = []
    for box in drawn:
        if not box["label"]:
            continue
        length = len(box["label"]) * size * 0.62
        x = max(2.0, min(box["x"], width - length))
        top, bottom = box["y"], box["y"] + box["height"]
        places = [top - size * 0.25, top + size, bottom - size * 0.25, bottom + size]
        places = [min(max(y, size), height - 2) for y in places]

        def free(y: float, x: float = x, length: float = length) -> bool:
            return all(
                abs(other_y - y) > size or other_x > x + length or other_x + other_length < x
                for other_x, other_y, other_length in taken
            )

        y = next((y for y in places if free(y)), None)
        if y is not None:
            taken.append((x, y, length))
            placed.append({"text": box["label"], "x": round(x, 1), "y": round(y, 1)})
    return {"size": round(size, 1), "placed": placed}


def _encoded(picture: Image.Image, kind: str, **options: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    data = base64.b64encode(stream.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{data}"
