"""From an image to what a detector of another framework takes, said by name.

Inputs.parsed("layout:nchw,pixels:imagenet,resize:stretch")
"""

import dataclasses
from typing import Self

import numpy as np

from replicate.errors import UserError

LAYOUTS = ("nchw", "nhwc", "chw")
#: pixels: as they are (0..255), of one (0..1), around zero (-1..1), ImageNet's mean and deviation.
PIXELS = ("0..255", "0..1", "-1..1", "imagenet")
#: none: any size; stretch: to the input; letterbox: aspect kept, gray 114 all around, as YOLO does;
#: pad: aspect kept, zeros at the right and the bottom.
RESIZES = ("none", "stretch", "letterbox", "pad")
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_GRAY = 114


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The contract of a detector's input.

    Attributes:
      layout, pixels, resize: one of LAYOUTS, PIXELS, RESIZES.
    """

    layout: str
    pixels: str
    resize: str

    @classmethod
    def parsed(cls, text: str) -> Self:
        """By "layout:nchw,pixels:0..1,resize:stretch".

        Raises:
          UserError: something is not said, or is none of the choices.
        """
        choices = {"layout": LAYOUTS, "pixels": PIXELS, "resize": RESIZES}
        offer = "; ".join(f"{name}: {', '.join(values)}" for name, values in choices.items())
        chosen: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = part.partition(":")
            if value not in choices.get(name, ()):
                raise UserError(f"--inputs: '{part}' is not known; there are {offer}")
            chosen[name] = value
        missing = [name for name in choices if name not in chosen]
        if missing:
            raise UserError(f"--inputs: {missing[0]} is not said; there are {offer}")
        return cls(**chosen)

    def prepared(self, image: np.ndarray, input_hw: tuple[int, int] | None) -> np.ndarray:
        """The input of one image, float32 but for 0..255.

        Args:
          image: uint8 RGB [height, width, 3].
          input_hw: the input's size; None with resize "none".
        """
        pixels = image if self.resize == "none" else self._resized(image, input_hw or (0, 0))
        if self.pixels != "0..255":
            pixels = pixels.astype(np.float32) / 255
        if self.pixels == "-1..1":
            pixels = pixels * 2 - 1
        if self.pixels == "imagenet":
            pixels = ((pixels - _MEAN) / _STD).astype(np.float32)
        if self.layout != "nhwc":
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels if self.layout == "chw" else pixels[np.newaxis])

    def to_image(
        self, boxes: np.ndarray, image_hw: tuple[int, int], input_hw: tuple[int, int]
    ) -> np.ndarray:
        """Boxes xyxy of the input as boxes_xyxy_px of the image."""
        (top, left), (height, width) = self._content(image_hw, input_hw)
        scale = np.array([image_hw[1] / width, image_hw[0] / height] * 2)
        return (boxes - [left, top, left, top]) * scale

    def _content(
        self, image_hw: tuple[int, int], input_hw: tuple[int, int]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """(top and left, height and width) of the part of the input that the image takes."""
        if self.resize == "none":
            return (0, 0), image_hw
        if self.resize == "stretch":
            return (0, 0), input_hw
        factor = min(input_hw[0] / image_hw[0], input_hw[1] / image_hw[1])
        height, width = (round(side * factor) for side in image_hw)
        if self.resize == "pad":
            return (0, 0), (height, width)
        # Of an odd rest the smaller half comes first, as in Ultralytics' LetterBox.
        rest = input_hw[0] - height, input_hw[1] - width
        return (round(rest[0] / 2 - 0.1), round(rest[1] / 2 - 0.1)), (height, width)

    def _resized(self, image: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
        import cv2

        (top, left), (height, width) = self._content((image.shape[0], image.shape[1]), input_hw)
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        fill = _GRAY if self.resize == "letterbox" else 0
        whole = np.full((*input_hw, 3), fill, np.uint8)
        whole[top : top + height, left : left + width] = resized
        return whole
