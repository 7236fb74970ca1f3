"""Whether an evaluation may be held against the published figure at all, told from facts."""

import csv
import functools
import pathlib

_CATEGORIES = pathlib.Path(__file__).resolve().parent.parent / "data" / "coco_categories.csv"

# COCO val2017, which the zoo's figures are on.
VAL2017_IMAGES = 5000
# Crowds included; cocodataset/cocoapi issue 117 counts the file of the instances.
VAL2017_ANNOTATIONS = {"bbox": 36781, "segm": 36781}

# Classes of config differences that change the figure, by what was done.
AFFECTING = {
    "checkpoint": ("architecture", "evaluation"),
    "training": ("architecture", "training", "evaluation"),
}


def obstacles(metrics, deviations, kind, val2017=None, cut=0.0, most=100):
    """Why an evaluation cannot be compared with a figure on val2017: a list of sentences.

    Args:
      metrics: the dict of `replicate.score`'s metrics.json.
      deviations: config differences from the zoo's, as in deviations.json.
      kind: "checkpoint" or "training".
      val2017: the identity of the user's own instances_val2017.json (`Groundtruth.identity`),
        with which the ids of the images are compared; without it their number and the number of
        annotations must do.
      cut, most: score threshold and detections an image of the published evaluation; the zoo's
        cuts nothing and takes 100.
    """
    return [
        *of_evaluators(metrics),
        *of_images(metrics, val2017),
        *of_categories(metrics),
        *of_detections(metrics["detections"], cut, most),
        *(told(each) for each in deviations if each["class"] in AFFECTING[kind]),
    ]


def told(deviation):
    """One config difference in a sentence."""
    a, b = deviation.get("a"), deviation.get("b")
    why = f": {deviation['why']}" if deviation.get("why") else ""
    here = "is not set" if b is None else f"is {_short(b)}"
    there = "without it" if a is None else f"with {_short(a)}"
    return f"{deviation['class']} differs: {deviation['path']} {here}, published {there}{why}"


@functools.cache
def coco_categories():
    """COCO's 80 detection categories: dict id -> name (ids 1 to 90 with gaps)."""
    with open(_CATEGORIES, encoding="utf-8", newline="") as table:
        return {int(row["id"]): row["name"] for row in csv.DictReader(table)}


def of_evaluators(metrics):
    if metrics["agree"] is False:
        yield "the two evaluators disagree on the same detections, so neither figure stands"
    if metrics["metrics"]["AP"] is None:
        yield "AP is undefined: the scored images have no annotations"


def of_images(metrics, val2017=None):
    annotations = metrics["annotations"]
    images, count = annotations["images"], annotations["annotations"]
    expected = VAL2017_ANNOTATIONS.get(metrics["iou_type"])
    if images != VAL2017_IMAGES:
        yield (
            f"evaluated on {images:,} images of {annotations['file']}; the published figure is on "
            f"val2017's {VAL2017_IMAGES:,}"
        )
    elif expected and count != expected:
        yield (
            f"{annotations['file']} has {count:,} annotations on {images:,} images; "
            f"instances_val2017.json has {expected:,}"
        )
    elif val2017 and annotations["image_ids_sha256"] != val2017["image_ids_sha256"]:
        yield (
            f"{annotations['file']} has {images:,} images, but not those of {val2017['file']} "
            "(their ids differ)"
        )


def of_categories(metrics):
    expected = {1: "person"} if metrics["iou_type"] == "keypoints" else coco_categories()
    found = {each["id"]: each["name"] for each in metrics["per_category"]}
    if found == expected:
        return
    if len(found) == len(expected) and set(found.values()) == set(expected.values()):
        yield "the categories have COCO's names under other ids"
        return
    extra = [name for name in found.values() if name not in expected.values()]
    yield (
        f"categories scored: {len(found)}; COCO has {len(expected)}"
        + (f" (not COCO's: {', '.join(extra[:5])}{', …' if len(extra) > 5 else ''})" * bool(extra))
    )


def of_detections(detections, cut=0.0, most=100):
    threshold, cap = detections["score_threshold"], detections["cap_per_image"]
    published = f"cut at {cut}" if cut else "made without such a threshold"
    # The lowest score lies a little above the threshold.
    if threshold is not None and threshold > cut + 0.01:
        yield (
            f"the detections were cut at a score of about {threshold:.3g}: none scores lower, and "
            f"images have places left; the published figure was {published}"
        )
    if cap is not None:
        yield f"the detections were capped at {cap} an image; COCO's AP is over 100"
    if detections["max_per_image"] > most:
        yield (
            f"up to {detections['max_per_image']} detections an image; the published figure is "
            f"over {most}"
        )


def _short(value):
    text = str(value) or "empty"
    return text if len(text) <= 60 else text[:57] + "…"
