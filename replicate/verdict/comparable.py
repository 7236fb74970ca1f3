"""Whether an evaluation may be held against a figure on val2017 at all, told from facts.

It may not where images, groundtruth, categories or the scoring protocol differ, or the
architecture or input size does. Everything else is a condition of the run (`conditions.py`).
"""

from collections.abc import Iterable, Iterator

from replicate.score.detections import CUT_TOLERANCE
from replicate.score.text import cut_in_words
from replicate.verdict import official

# Detections an image that COCO's AP counts.
COUNTED = {"bbox": 100, "segm": 100, "keypoints": 20}
# Classes of config differences that change the figure, by what was done.
AFFECTING = {
    "checkpoint": ("architecture", "evaluation"),
    "training": ("architecture", "training", "evaluation"),
}
# Other ids than COCO's; every other difference of categories is of other groundtruth.
RENUMBERED = "the categories have COCO's names under other ids"
# What an annotation file consists of, as `Groundtruth.identity` hashes it.
_PARTS = {
    "boxes": "boxes",
    "areas": "areas",
    "crowds": "crowd flags",
    "categories": "category ids",
}


def obstacles(
    metrics: dict,
    deviations: Iterable[dict] = (),
    val2017: dict | None = None,
    cut: float = 0.0,
    cap: int | None = None,
) -> list[str]:
    """Why an evaluation cannot be compared with a figure on val2017: a list of sentences.

    Args:
      metrics: the dict of `replicate.score`'s metrics.json.
      deviations: config differences from the zoo's, as in deviations.json.
      val2017: the identity of the user's own official file (`Groundtruth.identity`); by default
        the remembered one.
      cut: score threshold of the published evaluation; the zoo's cuts nothing.
      cap: detections an image that the published evaluation keeps, where fewer than COCO counts.
    """
    return [
        *of_evaluators(metrics),
        *of_images(metrics, val2017),
        *of_categories(metrics),
        *of_detections(metrics["detections"], metrics["iou_type"], cut, cap),
        *of_architecture(deviations),
    ]


def of_two(
    metrics: dict, reference: dict, cuts: tuple[float | None, float | None] = (None, None)
) -> Iterator[str]:
    """Why two evaluations cannot be held against each other, sentences.

    Args:
      metrics, reference: dicts of metrics.json, of one kind of evaluation.
      cuts: the scores that their configs cut at, None where that is not known.
    """
    for sentence in of_evaluators(reference):
        yield f"of the reference: {sentence}"
    here, there = metrics["annotations"], reference["annotations"]
    if here["image_ids_sha256"] != there["image_ids_sha256"]:
        counts = [f"{side['images']:,} images of {side['file']}" for side in (here, there)]
        others = "which are other images" + " (the file was another then)" * (
            here["file"] == there["file"] and here["sha256"] != there["sha256"]
        )
        yield f"evaluated on {counts[0]}; the reference on {counts[1]}, {others}"
        return
    contents = [score.get("content") or {} for score in (here, there)]
    parts = [part for key, part in _PARTS.items() if contents[0].get(key) != contents[1].get(key)]
    if here["sha256"] != there["sha256"] and parts:
        then = f"the reference's {there['file']}"
        if here["file"] == there["file"]:  # one path, recorded by both
            then = "when the reference was evaluated; it was changed in between"
        yield f"{here['file']} has other {' and '.join(parts)} than {then}"
    scored = [
        {category["id"]: category["name"] for category in score["per_category"]}
        for score in (metrics, reference)
    ]
    if scored[0] != scored[1]:
        names = [
            sorted(map(str, {*own.items()} - {*other.items()}))
            for own, other in (scored, scored[::-1])
        ]
        listed = "; ".join(", ".join(categories[:4]) for categories in names if categories)
        yield (
            f"other categories were scored: {len(scored[0])} here, {len(scored[1])} in the "
            f"reference ({listed})"
        )
    yield from _of_cuts(metrics["detections"], reference["detections"], cuts)
    yield from _of_caps(metrics["detections"], reference["detections"], metrics["iou_type"])


def _of_cuts(
    detections: dict, reference: dict, cuts: tuple[float | None, float | None]
) -> Iterator[str]:
    """Detections cut at different scores: as both configs say or, where one does not, as far as the
    scores tell, whose ranges for the cut then have no score in common."""
    whose = ("the detections", "the reference's detections")
    if cuts[0] is not None and cuts[1] is not None:
        if abs(cuts[0] - cuts[1]) > CUT_TOLERANCE:
            yield (
                f"{whose[0]} are cut at a score of {cuts[0]:.3g}, the reference's at {cuts[1]:.3g} "
                "(by their configs)"
            )
        return
    sides = (detections, reference)
    highest = [side["score_threshold"] or 0.0 for side in sides]
    above = int(highest[1] > highest[0])
    lowest = lowest_of(sides[above])
    if lowest > highest[1 - above] and abs(highest[0] - highest[1]) > CUT_TOLERANCE:
        lower = sides[1 - above]
        theirs = (
            f"cut at {cut_in_words(lower)}" if lower["score_threshold"] else "lower or not at all"
        )
        yield f"{whose[above]} look cut at {cut_in_words(sides[above])}, the other's {theirs}"


def _of_caps(detections: dict, reference: dict, iou_type: str) -> Iterator[str]:
    """Detections capped below what COCO counts, where images of the other side hold more."""
    sides = (detections, reference)
    for whose, (capped, other) in (
        ("the detections", sides),
        ("the reference's detections", sides[::-1]),
    ):
        cap = capped["cap_per_image"]
        if cap is not None and cap < COUNTED[iou_type] and other["max_per_image"] > cap:
            yield (
                f"{whose} look capped at {cap} an image: many images have exactly as many, none "
                f"more; the other's have up to {other['max_per_image']}"
            )


def lowest_of(detections: dict) -> float:
    """The lowest score that detections may have been cut at; older files have the highest alone."""
    lowest = detections.get("score_threshold_from")
    return (detections["score_threshold"] or 0.0) if lowest is None else lowest


def of_evaluators(metrics: dict) -> Iterator[str]:
    """Evaluators that disagree, or nothing to score."""
    if metrics["agree"] is False:
        yield "the two evaluators disagree on the same detections, so neither figure stands"
    if metrics["metrics"]["AP"] is None:
        yield "AP is undefined: the scored images have no annotations"


def of_images(metrics: dict, val2017: dict | None = None) -> Iterator[str]:
    """Other images or groundtruth than the published ones."""
    annotations, iou_type = metrics["annotations"], metrics["iou_type"]
    images, file = annotations["images"], annotations["file"]
    split = official.VAL2017
    if images != split.images:
        yield (
            f"evaluated on {images:,} images of {file}; the published figure is on val2017's "
            f"{split.images:,}"
        )
        return
    given = val2017 or official.remembered(iou_type)
    first = annotations.get("first_ids_sha256")
    if (given and annotations["image_ids_sha256"] != given["image_ids_sha256"]) or (
        first and first != official.FIRST_SHA256
    ):
        of = given["file"] if given else official.file_of(iou_type)
        yield f"{file} has {images:,} images, but not those of {of} (their ids differ)"
        return
    differences = list(_counts(metrics)) or list(_contents(annotations, given))
    yield from differences


def _counts(metrics: dict) -> Iterator[str]:
    """What the pinned counts tell."""
    annotations, iou_type = metrics["annotations"], metrics["iou_type"]
    file, name, split = annotations["file"], official.file_of(iou_type), official.VAL2017
    persons = iou_type == "keypoints"
    if not persons and annotations["annotations"] != split.annotations:
        yield (
            f"{file} has {annotations['annotations']:,} annotations on {annotations['images']:,} "
            f"images; {name} has {split.annotations:,}"
        )
        return
    crowds = annotations.get("crowd_annotations")
    if not persons and crowds is not None and crowds != split.crowds:
        yield f"{file} marks {crowds:,} annotations as crowds; {name} marks {split.crowds:,}"
        return
    names, expected = official.categories(), official.objects()
    differing = [
        category
        for category in metrics["per_category"]
        if names.get(category["id"]) == category["name"]
        and category["groundtruth"] != expected[category["id"]]
    ]
    if differing:
        first = differing[0]
        yield (
            f"{file} has other objects than {name} in {len(differing)} "
            f"categor{'y' if len(differing) == 1 else 'ies'}: {first['groundtruth']:,} of "
            f"'{first['name']}', where there are {expected[first['id']]:,}"
        )
    box_areas = annotations.get("box_areas")
    if box_areas is not None and box_areas > 0.5 * annotations["annotations"]:
        yield (
            f"{file} has areas that were computed again from the boxes ({box_areas:,} of "
            f"{annotations['annotations']:,} are width × height); COCO's are the masks', so small, "
            "medium and large are other objects"
        )


def _contents(annotations: dict, given: dict | None) -> Iterator[str]:
    """What your own official file tells: the same ids and counts may hold other contents."""
    if not given or annotations.get("sha256") == given.get("sha256"):
        return
    here, there = annotations.get("content") or {}, given.get("content") or {}
    parts = [part for key, part in _PARTS.items() if here.get(key) != there.get(key)]
    if here and there and parts:
        yield f"{annotations['file']} has other {' and '.join(parts)} than {given['file']}"


def is_official(annotations: dict, given: dict | None) -> bool | None:
    """Whether the scored annotations are your official file's, by hash; None where none is kept."""
    if not given:
        return None
    same = annotations.get("sha256") == given["sha256"]
    return same or bool(annotations.get("content")) and annotations["content"] == given["content"]


def of_categories(metrics: dict) -> Iterator[str]:
    """Other categories than COCO's 80, or under other ids."""
    expected = {1: "person"} if metrics["iou_type"] == "keypoints" else official.categories()
    scored = {category["id"]: category["name"] for category in metrics["per_category"]}
    if scored == expected:
        return
    if len(scored) == len(expected) and set(scored.values()) == set(expected.values()):
        yield RENUMBERED
        return
    extra = [name for name in scored.values() if name not in expected.values()]
    yield (
        f"categories scored: {len(scored)}; COCO has {len(expected)}"
        + (f" (not COCO's: {', '.join(extra[:5])}{', …' if len(extra) > 5 else ''})" * bool(extra))
    )


def of_detections(
    detections: dict, iou_type: str = "bbox", cut: float = 0.0, cap: int | None = None
) -> Iterator[str]:
    """Detections thrown away before they were scored.

    More than COCO counts is none: AP is over the highest 100 of an image.
    """
    threshold, capped = detections["score_threshold"], detections["cap_per_image"]
    published = f"cut at {cut}" if cut else "made without such a threshold"
    if threshold is not None and threshold > cut + CUT_TOLERANCE and lowest_of(detections) > cut:
        yield (
            f"the detections look cut at {cut_in_words(detections)}: none scores lower, and "
            f"images have places left; the published figure was {published}"
        )
    counted = min(COUNTED[iou_type], cap or COUNTED[iou_type])
    if capped is not None and capped < counted:
        yield (
            f"the detections look capped at {capped} an image: many images have exactly as many, "
            f"none more; the published AP is over {counted}"
        )


def of_architecture(deviations: Iterable[dict]) -> Iterator[str]:
    """Another network or input size: one sentence, however many fields say so."""
    deviating = [deviation for deviation in deviations if deviation["class"] == "architecture"]
    if not deviating:
        return
    sizes = [deviation for deviation in deviating if "image_resizer" in deviation["path"]]
    others = [deviation for deviation in deviating if deviation not in sizes]
    named = ", ".join(
        f"{deviation['path'].rsplit('.', 1)[-1]} "
        f"{short(deviation.get('b'))} for {short(deviation.get('a'))}"
        for deviation in (sizes + others)[:4]
    )
    what = "input size" if len(sizes) == len(deviating) else "architecture"
    what = "architecture and input size" if sizes and len(sizes) < len(deviating) else what
    count = f"{len(deviating)} setting{'s' * (len(deviating) > 1)}"
    verb = "differ" if what.startswith("architecture and") else "differs"
    yield f"the {what} {verb} in {count} ({named}{', …' if len(deviating) > 4 else ''})"


def in_words(deviation: dict) -> str:
    """One config difference in a sentence."""
    a, b = deviation.get("a"), deviation.get("b")
    why = f": {deviation['why']}" if deviation.get("why") else ""
    here = "is not set" if b is None else f"is {short(b)}"
    there = "without it" if a is None else f"with {short(a)}"
    return f"{deviation['path']} {here}, published {there}{why}"


def short(value: object) -> str:
    """A value of a config in at most 60 characters."""
    if value is None:
        return "not set"
    text = str(value) or "empty"
    return text if len(text) <= 60 else text[:57] + "…"
