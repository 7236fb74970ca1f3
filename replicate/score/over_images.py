"""How sure a figure is: intervals over images, of one model and of the difference of two.

Subsets of the images are scored: halves, of which two share no image, and all but a twentieth.

- Spread. Half the root mean square of the difference between two halves, and the jackknife over
  twenty groups, both estimate the standard error of the figure on all images (Shao and Tu, The
  Jackknife and Bootstrap, 1995, chapters 2 and 5); the larger is taken.
- Bias. Precision is made monotone before it is averaged, by taking the maximum to the right, so few
  images score too well: AP of half the images lies above AP of all, and that above the AP of the
  population the images are drawn from. From h, the mean of the halves, and t, the figure on all:
  population = t - (h - t) / (2^a - 1), where the bias shrinks as n^-a. A smooth figure has a = 1, a
  maximum of a random walk 2/3; the interval reaches over both.

What a category with a handful of objects scores on all images cannot be told from these: with one
object, half the images have it or not, and no bias shows. Where more than one in twenty categories
has objects in fewer than ten images, the interval is therefore of something else: of the figure
that other samples of as many images have, without correction, and says so (`of`: "samples" instead
of "population").

hotcoco's own bootstrap is not used: its version 1.3.0 counts an image that is drawn twice once, so
it scores 63 % of the images without repetition, and its "95 %" intervals are a quarter too narrow
(83 to 89 % in our simulations of 3 categories). That these cover what they say is held by
simulation, for 100 to 1,500 images, 3 and 80 categories: tests/score/test_coverage.py.

They belong to "how would this AP move on other images" and "is A better than B", not to a
replication claim, whose images are the published ones.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.score.scoring import Result


METHOD = "jackknife over the images, corrected for the bias of few where that can be told"
# A set of images smaller than this has no interval, a category with objects in fewer neither.
FEWEST_IMAGES = 20
# A category with objects in fewer images is rare: its bias cannot be told from halves.
RARE = 10
_MOST_RARE = 0.05
_EXPONENTS = (1.0, 2 / 3)
_GROUPS = 20
# Student's t instead of the normal, for the spread is itself estimated.
DEGREES_OF_FREEDOM = 30
# Of 30 degrees of freedom is what as many splits of the images tell; the coverage is simulated with
# them (tests/score/test_coverage.py). Drawn anew, the width of an interval of 100 images has a
# standard deviation of 24 % of itself with 2 halves, 10 % with 60, 8 % with 200 (test_over_images).
FEWEST_SAMPLES = 2 * DEGREES_OF_FREEDOM
# hotcoco writes AR1 where pycocotools' lines say maxDets=1.
_NAMES = {"AR1": "AR@1", "AR10": "AR@10", "AR100": "AR@100"}
# pycocotools' areas, in square pixels.
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}


def intervals(
    result: "Result",
    *,
    samples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
    bootstrap: int | None = None,
) -> dict[str, dict]:
    """How far each metric would move on other images.

    Args:
      result: Result of `score` with hotcoco among its evaluators.
      samples: halves of the images that are scored; two make a split. FEWEST_SAMPLES or more.
      seed: of the splits and groups.
      confidence: how often the interval covers what it is of.
      bootstrap: `samples` under its former name.

    Returns:
      dict metric name -> {"low", "high", "standard_error", "of"}, values in 0..1, "of" is
      "population" or "samples", see above. A metric that many subsets leave undefined is absent,
      and so is every one of fewer than 20 images.
    """
    samples = samples if bootstrap is None else bootstrap
    refuse_few_samples(samples)
    subsets = _subsets(result.image_ids, samples, seed)
    scored, by_metric = _scored(result, subsets), {}
    for name, whole in result.metrics.items():
        if whole is None:
            continue
        interval = interval_of(whole, *scored[name], confidence, too_rare(result, name))
        if interval is not None:
            low, high = (float(np.clip(interval[side], 0, 1)) for side in ("low", "high"))
            by_metric[name] = interval | {"low": low, "high": high}
    return by_metric


def compare(
    result: "Result",
    baseline: "Result",
    *,
    samples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
    bootstrap: int | None = None,
) -> dict:
    """Is `result` better than `baseline`? Differences, paired over the same images.

    Args:
      result, baseline: Results on the same images, with hotcoco among their evaluators.
      samples: halves of the images for the intervals of the differences; 0 leaves them out.
      seed: of the splits and groups.
      confidence: of the intervals.
      bootstrap: `samples` under its former name.

    Returns:
      dict: differences (metric -> value in -1..1), intervals (metric -> as of `intervals`),
      intervals_method (None without samples), per_category (list of id, name, AP, baseline AP,
      difference).
    """
    if (
        result.image_ids != baseline.image_ids
        or result.groundtruth.sha256 != baseline.groundtruth.sha256
        or result.iou_type != baseline.iou_type
    ):
        raise UserError(
            "two models are compared on the same images, annotations and kind of score; "
            f"{result.groundtruth.path} ({len(result.image_ids)} images, {result.iou_type}) and "
            f"{baseline.groundtruth.path} ({len(baseline.image_ids)} images, "
            f"{baseline.iou_type}) differ"
        )
    differences = {
        name: value - other
        for name, value in result.metrics.items()
        if value is not None and (other := baseline.metrics[name]) is not None
    }
    by_metric = {}
    samples = samples if bootstrap is None else bootstrap
    refuse_few_samples(samples)
    if samples:
        subsets = _subsets(result.image_ids, samples, seed)
        ours, theirs = _scored(result, subsets), _scored(baseline, subsets)
        for name, whole in differences.items():
            halves, groups = (a - b for a, b in zip(ours[name], theirs[name], strict=True))
            interval = interval_of(whole, halves, groups, confidence, too_rare(result, name))
            if interval is not None:
                by_metric[name] = interval
    before = {category["id"]: category["AP"] for category in baseline.per_category}
    return {
        "differences": differences,
        "intervals": by_metric,
        "intervals_method": METHOD if samples else None,
        "per_category": [
            {
                "id": category["id"],
                "name": category["name"],
                "AP": category["AP"],
                "baseline": before[category["id"]],
                "difference": category["AP"] - before[category["id"]],
            }
            for category in result.per_category
            if category["AP"] is not None
        ],
    }


def refuse_few_samples(samples: int) -> None:
    """Raises UserError where intervals are asked of too few halves of the images to stand on.

    Args:
      samples: how many; 0 asks for no intervals.
    """
    if 0 < samples < FEWEST_SAMPLES:
        raise UserError(
            f"samples={samples}: an interval wants {FEWEST_SAMPLES} or more (0: no intervals): it "
            f"is Student's t of {DEGREES_OF_FREEDOM} degrees of freedom, which are as many splits "
            "of the images, and that it covers what it says was simulated with these"
        )


def interval_of(
    whole: float,
    halves: np.ndarray,
    groups: np.ndarray,
    confidence: float = 0.95,
    rare: bool = False,
) -> dict | None:
    """The interval of a figure, from the figure on all images and on subsets of them.

    Args:
      whole: the figure on all images.
      halves: (splits, 2) float, the figure on the two halves of each split; NaN where undefined.
      groups: (G,) float, the figure on all images but those of one of G groups.
      confidence: how often the interval covers what it is of.
      rare: whether it is of other samples of as many images, instead of the population.

    Returns:
      dict low, high, standard_error, of; None where many subsets leave the figure undefined.
    """
    defined = halves[~np.isnan(halves).any(axis=1)]
    if len(defined) < 2 or len(defined) < len(halves) / 2 or np.isnan(groups).any():
        return None
    count = len(groups)
    standard_error = max(
        np.sqrt(np.mean(np.square(defined[:, 0] - defined[:, 1]))) / 2,
        np.sqrt((count - 1) / count * np.sum(np.square(groups - groups.mean()))),
    )
    bias_of_half = 0.0 if rare else defined.mean() - whole
    centres = [whole - bias_of_half / (2**exponent - 1) for exponent in _EXPONENTS]
    from scipy import stats  # Half a second to load, of which no --help has any use.

    reach = standard_error * stats.t.ppf(0.5 + confidence / 2, DEGREES_OF_FREEDOM)
    return {
        "low": float(min(centres) - reach),
        "high": float(max(centres) + reach),
        "standard_error": float(standard_error),
        "of": "samples" if rare else "population",
    }


def too_rare(result: "Result", name: str) -> bool:
    """Whether more than one in twenty categories has the objects of a metric in under ten images.

    Args:
      name: of the metric; the objects of APs are the small ones.
    """
    truth = result.groundtruth
    mine = np.isin(truth.annotation_image_ids, result.image_ids) & ~truth.annotation_crowd
    for size, (low, high) in SIZES.items():
        if name in (f"AP{size[0]}", f"AR{size[0]}"):
            mine &= (truth.annotation_areas >= low) & (truth.annotation_areas <= high)
    pairs = np.unique(
        np.column_stack([truth.annotation_category_ids, truth.annotation_image_ids])[mine], axis=0
    )
    images = np.unique(pairs[:, 0], return_counts=True)[1]
    return bool((images < RARE).mean() > _MOST_RARE) if len(images) else True


def of_categories(
    result: "Result",
    baseline: "Result",
    category_ids: Iterable[int],
    *,
    samples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> Iterator[dict | None]:
    """Paired intervals of the difference in AP, category by category.

    Args:
      result, baseline: Results on the same images, with hotcoco among their evaluators.
      category_ids: the categories.
      samples, seed, confidence: as of `compare`.

    Yields:
      for each category dict low, high, standard_error, of; None where fewer than 20 images have an
      object of it.
    """
    from tfrecords.hotcoco_loaded import hotcoco

    refuse_few_samples(samples)
    truth, subsets = result.groundtruth, _subsets(result.image_ids, samples, seed)
    for category_id in category_ids:
        mine = (truth.annotation_category_ids == category_id) & ~truth.annotation_crowd
        image_ids = np.intersect1d(truth.annotation_image_ids[mine], result.image_ids)
        if len(image_ids) < FEWEST_IMAGES or not samples:
            yield None
            continue
        wholes, scored = [], []
        for scored_model in (result, baseline):
            handle = scored_model.evaluations["hotcoco"].handle
            of_category = hotcoco.COCOeval(handle.coco_gt, handle.coco_dt, scored_model.iou_type)
            of_category.params.cat_ids = [category_id]
            of_category.params.img_ids = scored_model.image_ids
            of_category.evaluate()
            sliced = of_category.slice_by(subsets)
            wholes.append(sliced["_overall"]["AP"])
            scored.append(_figures(sliced, "AP"))
        halves, groups = (a - b for a, b in zip(*scored, strict=True))
        yield interval_of(wholes[0] - wholes[1], halves, groups, confidence)


def _subsets(image_ids: list[int], samples: int, seed: int) -> dict[str, list[int]]:
    """Subsets of the images that are scored: dict name -> ids.

    "half 0" and "half 1" are the two of a split, and so on; of an odd number of images each split
    leaves one out, so that halves are of one size. "without 3" lacks the images of group 3.
    """
    if len(image_ids) < FEWEST_IMAGES:
        return {}
    rng, half = np.random.default_rng(seed), len(image_ids) // 2
    subsets = {}
    for split in range(samples // 2):
        drawn = rng.permutation(image_ids)
        subsets[f"half {2 * split}"] = drawn[:half]
        subsets[f"half {2 * split + 1}"] = drawn[half : 2 * half]
    drawn = rng.permutation(image_ids)
    for group in range(_GROUPS):
        subsets[f"without {group}"] = np.delete(drawn, np.s_[group::_GROUPS])
    return {name: np.sort(ids).tolist() for name, ids in subsets.items()}


def _scored(
    result: "Result", subsets: dict[str, list[int]]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every metric on the subsets: dict name -> (halves, groups) as `interval_of` takes them."""
    if "hotcoco" not in result.evaluations:
        raise UserError("intervals are hotcoco's: score with evaluator 'hotcoco' or 'both'")
    sliced = result.evaluations["hotcoco"].handle.slice_by(subsets)
    ours = {_NAMES.get(name, name): name for name in sliced["_overall"]}
    return {name: _figures(sliced, ours[name]) for name in result.metrics}


def _figures(sliced: dict[str, dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(splits, 2) of the halves and (G,) of the groups; NaN where undefined."""
    # hotcoco gives them back in no order.
    count = sum(subset.startswith("half") for subset in sliced)
    halves, groups = (
        np.array([sliced[f"{kind} {i}"][name] for i in range(number)], float)
        for kind, number in (("half", count), ("without", _GROUPS if count else 0))
    )
    halves, groups = (np.where(values > -1, values, np.nan) for values in (halves, groups))
    return halves.reshape(-1, 2), groups
