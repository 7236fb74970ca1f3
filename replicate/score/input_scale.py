"""Boxes that were left in the pixels of the model's input: as ways to read boxes."""

import dataclasses

import numpy as np

#: Sides of the inputs that detectors are published with.
_INPUTS = (192, 224, 256, 300, 320, 384, 416, 448, 512, 560, 576, 640, 768, 800, 896, 1024, 1280)
# How an image becomes a square input.
_STRETCHED, _PADDED, _LETTERBOX = "stretched", "with its aspect", "in the middle with its aspect"
# Shorter side and bound of the longer one: torchvision's and Detectron2's, the API's Faster R-CNN.
_SHORTER = ((800, 1333), (600, 1024))


@dataclasses.dataclass(frozen=True)
class OfInput:
    """Boxes in pixels of a square input, [x, y, width, height]."""

    side: int
    how: str

    def to_xywh_px(self, boxes: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
        """As `tfrecords.layouts.Layout.to_xywh_px`."""
        if self.how == _STRETCHED:
            return boxes * image_hw[:, [1, 0, 1, 0]] / self.side
        scale = image_hw.max(axis=1, keepdims=True) / self.side
        if self.how == _LETTERBOX:
            offset = (self.side - image_hw[:, [1, 0]] / scale) / 2
            boxes = np.concatenate([boxes[:, :2] - offset, boxes[:, 2:]], axis=1)
        return boxes * scale

    @property
    def what(self) -> str:
        """In words."""
        return f"pixels of an input of {self.side} × {self.side}, the image {self.how}"


@dataclasses.dataclass(frozen=True)
class OfShorterSide:
    """Boxes in pixels of an input with the image's aspect."""

    side: int
    most: int

    def to_xywh_px(self, boxes: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
        """As `tfrecords.layouts.Layout.to_xywh_px`."""
        shorter, longer = image_hw.min(axis=1), image_hw.max(axis=1)
        scale = np.minimum(self.side / shorter, self.most / longer)
        return boxes / scale[:, None]

    @property
    def what(self) -> str:
        """In words."""
        return (
            f"pixels of an input whose shorter side is {self.side}, the longer at most {self.most}"
        )


READINGS: list[OfInput | OfShorterSide] = [
    *(OfInput(side, how) for side in _INPUTS for how in (_STRETCHED, _PADDED, _LETTERBOX)),
    *(OfShorterSide(*sides) for sides in _SHORTER),
]
