"""Intervals over images cover as often as they say: simulation with a known truth.

Samples of made populations are scored as a user's files are. The truth of the population is the
same two detectors on 60,000 images of it; of other samples of as many images it is the mean over
the samples themselves.
"""

import json

import hotcoco
import numpy as np
import pytest

from replicate.score import compare, intervals, score
from tests.score import populations

ENOUGH = 0.93  # at nominal 0.95
# Of 60,000 images, by `population_metrics`, in (categories, how unequal they are): AP of the first
# detector, and how much better the second is.
TRUTH = {
    (3, 1.0): (0.29853022217886677, 0.06695391371688675),
    (80, 0.5): (0.2944829772906849, 0.06959222386669511),
}


def population_metrics(categories, unequal, path, images=60_000):
    """AP of the first detector on the population, and how much better the second is."""
    truth, first, second = populations.draw(images, categories, np.random.default_rng(99), unequal)
    path.write_text(json.dumps(truth))
    ap = [score(path, each, evaluator="hotcoco").metrics["AP"] for each in (first, second)]
    return ap[0], ap[1] - ap[0]


def coverage(images, categories, unequal, trials, path, samples=60):
    """How often the interval of AP, and that of the paired difference, covers its truth.

    Returns:
      two shares, and what the intervals are of ("population" or "samples").
    """
    rng = np.random.default_rng(images + categories)
    figures, bounds, of = [], [], set()
    for trial in range(trials):
        truth, *detectors = populations.draw(images, categories, rng, unequal)
        path.write_text(json.dumps(truth))
        first, second = (score(path, each, evaluator="hotcoco") for each in detectors)
        compared = compare(second, first, samples=samples, seed=trial)
        found = intervals(first, samples=samples, seed=trial)["AP"], compared["intervals"]["AP"]
        figures.append([first.metrics["AP"], compared["differences"]["AP"]])
        bounds.append([[each["low"], each["high"]] for each in found])
        of |= {each["of"] for each in found}
    (of,) = of
    known = TRUTH[categories, unequal] if of == "population" else np.mean(figures, axis=0)
    low, high = np.moveaxis(np.array(bounds), 2, 0)
    return (*((low <= known) & (known <= high)).mean(axis=0), of)


def test_coverage_of_few_images(tmp_path):
    """The quick slice: 100 images, 3 categories."""
    of_ap, of_difference, of = coverage(100, 3, 1.0, 60, tmp_path / "instances.json")
    assert of == "population"
    assert of_ap >= ENOUGH and of_difference >= ENOUGH


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "categories", "unequal", "trials", "expected"),
    [
        (100, 3, 1.0, 300, "population"),
        (500, 3, 1.0, 200, "population"),
        (1500, 3, 1.0, 150, "population"),
        (1500, 80, 0.5, 40, "population"),
        # Of 80 categories as unequal as 1/rank, dozens have an object or two.
        (100, 80, 1.0, 100, "samples"),
        (500, 80, 1.0, 60, "samples"),
    ],
)
def test_coverage(tmp_path, images, categories, unequal, trials, expected):
    of_ap, of_difference, of = coverage(
        images, categories, unequal, trials, tmp_path / "instances.json"
    )
    print(f"\n{images} images, {categories} categories: {of_ap:.3f}, paired {of_difference:.3f}")
    assert of == expected
    assert of_ap >= ENOUGH and of_difference >= ENOUGH


@pytest.mark.slow
@pytest.mark.parametrize(("categories", "unequal"), TRUTH)
def test_the_truth_is_the_populations(tmp_path, categories, unequal):
    found = population_metrics(categories, unequal, tmp_path / "population.json")
    assert found == pytest.approx(TRUTH[categories, unequal], abs=1e-9)


@pytest.mark.slow
def test_hotcocos_own_bootstrap_covers_less(tmp_path):
    """Why it is not used: it scores the set of the images drawn, so its spread is that of 63 % of
    the images without repetition, sqrt(0.37 / 0.63) = 0.76 of the truth. Passes no longer, and
    may be used again, once hotcoco counts an image as often as it is drawn."""
    path, rng = tmp_path / "instances.json", np.random.default_rng(0)
    figures, found = [], []
    for trial in range(150):
        truth, detections, _ = populations.draw(100, 3, rng)
        path.write_text(json.dumps(truth))
        handle = score(path, detections, evaluator="hotcoco").evaluations["hotcoco"].handle
        nothing = hotcoco.COCOeval(handle.coco_gt, handle.coco_gt.load_res([]), "bbox")
        nothing.evaluate()
        ap = hotcoco.compare(nothing, handle, n_bootstrap=200, seed=trial)["ci"]["AP"]
        figures.append(handle.stats[0])
        found.append((ap["lower"], ap["upper"], ap["std_err"]))
    low, high, standard_error = np.transpose(found)
    covered = ((low <= TRUTH[3, 1.0][0]) & (TRUTH[3, 1.0][0] <= high)).mean()
    print(f"\nhotcoco's bootstrap: {covered:.3f}")
    assert covered < 0.9
    assert standard_error.mean() / np.std(figures) == pytest.approx(0.76, abs=0.08)
