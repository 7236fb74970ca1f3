"""One way of evaluating: everything in which evaluators were found to differ, as fields."""

import dataclasses

#: The official number of detections of an image and category.
MAX_DETS = 100


@dataclasses.dataclass(frozen=True)
class Setting:
    """How detections are scored. The default is COCO's protocol, as pycocotools has it.

    Attributes:
      scale: a layout of `geometry.SCALES` in which the boxes were left, or None.
      corners_as_size: x2, y2 read as width, height.
      rounded: "nearest" or "truncated" integer corners of the detections, or None.
      clipped: the detections' corners cut to the image.
      inclusive: width and height of every box plus one pixel.
      category_ids: "from 1" or "from 0": ids without COCO's gaps read as COCO's ids; or None.
      one_class: of the detections of an image that share a box only the best.
      agnostic: all categories are one.
      crowd: "ignored" (COCO), "object" or "removed".
      best_object_only: a detection whose best object is taken is false, whatever else it overlaps.
      ties: order of equal scores: "file" (COCO), "best" (true detections first) or "worst".
      score_cut: detections that score less are gone.
      max_dets: the best so many detections are kept of each image and category; None for all.
      per_image: `max_dets` counts an image's detections over all categories.
      with_detections, with_groundtruth: only images that have any are scored.
      box_areas: an object's size is its box's area instead of its annotation's `area`.
      interpolation: "101", "101 in float32", "11", "area" (all points), "trapezoid" or
        "trapezoid, cut".
      empty_as_zero: categories without objects count as 0.
      micro: all categories in one list of detections.
    """

    scale: str | None = None
    corners_as_size: bool = False
    rounded: str | None = None
    clipped: bool = False
    inclusive: bool = False
    category_ids: str | None = None
    one_class: bool = False
    agnostic: bool = False
    crowd: str = "ignored"
    best_object_only: bool = False
    ties: str = "file"
    score_cut: float = 0.0
    max_dets: int | None = MAX_DETS
    per_image: bool = False
    with_detections: bool = False
    with_groundtruth: bool = False
    box_areas: bool = False
    interpolation: str = "101"
    empty_as_zero: bool = False
    micro: bool = False

    @property
    def of_matching(self) -> "Setting":
        """The setting that matches detections with objects alike; the rest as COCO has it."""
        return Setting(**{name: getattr(self, name) for name in MATCHING})

    @property
    def of_ranking(self) -> "Setting":
        """The setting that ranks detections alike; the rest as COCO has it."""
        return Setting(**{name: getattr(self, name) for name in RANKING})


#: The fields on which the order of detections depends, within images and over all.
RANKING = ("category_ids", "one_class", "agnostic", "ties")
#: The fields on which it depends which detection is matched with which object. The others choose
#: prefixes of the ranking, images, or how the matches are averaged.
MATCHING = (
    *("scale", "corners_as_size", "rounded", "clipped", "inclusive", "category_ids"),
    *("one_class", "agnostic", "crowd", "best_object_only", "ties"),
)
OFFICIAL = Setting()
