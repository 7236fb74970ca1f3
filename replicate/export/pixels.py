"""From an image to what an exported TFLite model takes, by the contract in its export.json."""

import dataclasses
from typing import Any, Self

import numpy as np

from replicate.errors import UserError

#: Who resizes. "api": on floats, with the API's kernel, as in training and evaluation; "opencv":
#: on whole levels with half-pixel centres, as programs on devices do.
RESIZERS = ("api", "opencv")


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How images become an input.

    Attributes:
      image_hw: height and width of the input, pixels.
      pad_value: of each channel, where the image keeps its aspect and is padded at the right and
        the bottom; None where it is stretched.
      scale, offset: of each channel: input = pixel × scale + offset.
      resizer: one of RESIZERS.
    """

    image_hw: tuple[int, int]
    pad_value: tuple[float, ...] | None
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    resizer: str

    def __post_init__(self) -> None:
        if self.resizer not in RESIZERS:
            raise UserError(f"resizer '{self.resizer}'; there are: {', '.join(RESIZERS)}")

    @classmethod
    def of_contract(cls, entry: dict[str, Any], resizer: str = "api") -> Self:
        """By the `input` of a TFLite form in export.json (`contract.of_tflite`).

        Raises:
          UserError: an unknown resizer.
        """
        line = entry["normalization"] or {"scale": [1.0] * 3, "offset": [0.0] * 3}
        height_px, width_px = entry["image_hw"]
        return cls(
            image_hw=(height_px, width_px),
            pad_value=tuple(entry["pad"]) if entry["resize"] == "keep_aspect_pad" else None,
            scale=tuple(line["scale"]),
            offset=tuple(line["offset"]),
            resizer=resizer,
        )

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """The input, float32 [height, width, 3].

        Args:
          image: uint8 RGB [height, width, 3].
        """
        content_hw = self.content_hw(image.shape[:2])
        if self.resizer == "api":
            pixels = resized(image, content_hw)
        else:
            import cv2

            pixels = cv2.resize(image, content_hw[::-1], interpolation=cv2.INTER_LINEAR)
        if self.pad_value is not None:
            padded = np.empty((*self.image_hw, 3), np.float32)
            padded[:] = self.pad_value
            padded[: content_hw[0], : content_hw[1]] = pixels
            pixels = padded
        scale, offset = (np.array(line, np.float32) for line in (self.scale, self.offset))
        return pixels * scale + offset

    def content_hw(self, image_hw: tuple[int, ...]) -> tuple[int, int]:
        """The part of the input that an image takes, from its top left corner, pixels."""
        if self.pad_value is None:
            return self.image_hw
        # tf.compat.v1.image.resize with preserve_aspect_ratio, in its float32.
        sides = np.array(image_hw, np.float32)
        factor = (np.array(self.image_hw, np.float32) / sides).min()
        height_px, width_px = np.round(factor * sides).astype(int).tolist()
        return height_px, width_px

    def boxes_yxyx_px(self, boxes_yxyx_norm: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
        """Boxes of the input as boxes of the image, clipped to it, as the API clips them.

        Args:
          boxes_yxyx_norm: (N, 4), of the whole input, its padding included.
          image_hw: the image's size, pixels.
        """
        sides = np.array(image_hw) * np.array(self.image_hw) / self.content_hw(image_hw)
        boxes = boxes_yxyx_norm.astype(np.float64) * [*sides, *sides]
        return boxes.clip(0, [*image_hw, *image_hw])


def resized(image: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    """An image as the API resizes it: bilinear, pixel i at i × in/out, float32.

    What `tf.compat.v1.image.resize_bilinear` computes without half-pixel centres, without
    TensorFlow (tests/export/test_pixels.py holds one against the other).

    Args:
      image: [height, width, 3].
      image_hw: wanted.
    """
    values = image.astype(np.float32)
    for axis, side in enumerate(image_hw):
        given = image.shape[axis]
        if given == side:
            continue
        at = np.arange(side, dtype=np.float32) * np.float32(given / side)
        low = np.minimum(at.astype(int), given - 1)
        part = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1)).astype(np.float32)
        lower = values.take(low, axis)
        values = lower + (values.take(np.minimum(low + 1, given - 1), axis) - lower) * part
    return values
