"""What happens to a box that an image cannot hold."""

import math
from collections.abc import Sequence

POLICIES = ("skip", "clip", "error")


def corners(
    box_xywh_px: Sequence[float], image_hw: tuple[int, int], policy: str
) -> tuple[tuple[float, float, float, float] | None, str | None]:
    """The corners of a box, if it can be in a record.

    A box is invalid when a coordinate is not a finite number ("box_not_finite"), its width or
    height is not positive ("box_empty"), it starts left of or above the image ("box_negative")
    or ends right of or below it ("box_outside_image"). The Object Detection API's converter
    drops the second and fourth kind; it writes the other two.

    Args:
      box_xywh_px: COCO's (x, y, width, height) in pixels.
      image_hw: (height, width) in pixels.
      policy: "clip" cuts the last two kinds to the image, "skip" and "error" do not.

    Returns:
      ((x0, y0, x1, y1) in pixels or None, the kind above or None): the corners alone for a valid
      box, the kind alone for an invalid one, both for a clipped one.
    """
    x0, y0, width, height = box_xywh_px
    if not all(map(math.isfinite, box_xywh_px)):
        return None, "box_not_finite"
    if width <= 0 or height <= 0:
        return None, "box_empty"
    image_height, image_width = image_hw
    x1, y1 = x0 + width, y0 + height
    beyond_px = max(-x0, -y0, x1 - image_width, y1 - image_height)
    if beyond_px <= 0:
        return (x0, y0, x1, y1), None
    problem = "box_negative" if x0 < 0 or y0 < 0 else "box_outside_image"
    if beyond_px < 1:
        problem += "_by_less_than_a_pixel"
    if policy != "clip":
        return None, problem
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, image_width), min(y1, image_height)
    if x1 <= x0 or y1 <= y0:
        return None, "box_outside_image"
    return (x0, y0, x1, y1), problem
