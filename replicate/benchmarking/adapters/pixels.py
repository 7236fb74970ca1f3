"""From an image to what an exported model takes, by the contract in its export.json."""

import dataclasses

import numpy as np

from replicate.errors import UserError

#: Who resizes: OpenCV on whole levels, as a program on a device does it, or TensorFlow on floats,
#: as the API does it in training and evaluation.
RESIZERS = ("opencv", "tensorflow")


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How images become an input.

    Attributes:
      image_hw: height and width of the input, pixels.
      keeps_aspect: whether the image keeps its aspect and is padded at the right and the bottom.
      scale, offset: of each channel: input = pixel × scale + offset.
      resizer: one of RESIZERS.
    """

    image_hw: tuple[int, int]
    keeps_aspect: bool
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    resizer: str

    @classmethod
    def of_contract(cls, entry, resizer):
        """By the `input` of a TFLite form in export.json.

        Raises:
          UserError: an unknown resizer.
        """
        if resizer not in RESIZERS:
            raise UserError(f"resizer '{resizer}'; there are: {', '.join(RESIZERS)}")
        line = entry["normalization"] or {"scale": [1.0] * 3, "offset": [0.0] * 3}
        return cls(
            image_hw=tuple(entry["image_hw"]),
            keeps_aspect=entry["resize"] == "keep_aspect_pad",
            scale=tuple(line["scale"]),
            offset=tuple(line["offset"]),
            resizer=resizer,
        )

    def prepared(self, image):
        """float32 [height, width, 3] of the input.

        Args:
          image: uint8 RGB [height, width, 3].
        """
        content_hw = self.content_hw(image.shape[:2])
        resized = _resized(image, content_hw, self.resizer)
        padded = np.zeros((*self.image_hw, 3), np.float32)
        padded[: content_hw[0], : content_hw[1]] = resized
        return (padded * np.float32(self.scale) + np.float32(self.offset)).astype(np.float32)

    def content_hw(self, image_hw):
        """The part of the input that the image takes, from its top left corner."""
        if not self.keeps_aspect:
            return self.image_hw
        # As the API's resize_to_range with one bound for both sides.
        factor = self.image_hw[0] / max(image_hw)
        return tuple(min(self.image_hw[0], round(side * factor)) for side in image_hw)


def _resized(image, image_hw, resizer):
    if resizer == "tensorflow":
        from replicate.benchmarking.adapters.frameworks import tensorflow

        tf = tensorflow()
        return tf.image.resize(tf.cast(image, tf.float32), image_hw).numpy()
    import cv2

    # No antialiasing: what tf.image.resize does by default.
    return cv2.resize(image, image_hw[::-1], interpolation=cv2.INTER_LINEAR)
