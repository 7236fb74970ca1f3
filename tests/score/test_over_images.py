"""Intervals over images: the subsets against pycocotools, the arithmetic by hand."""

import json

import numpy as np
import pytest
from scipy import stats

from replicate.errors import UserError
from replicate.score import analyse, compare, intervals, over_images, score, text
from tests.score import populations


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """120 images, 3 categories: (annotation file, detections of two detectors)."""
    truth, *detectors = populations.draw(120, 3, np.random.default_rng(0))
    path = tmp_path_factory.mktemp("sample") / "instances.json"
    path.write_text(json.dumps(truth))
    return path, *detectors


def _official(sample, which, image_ids):
    return score(sample[0], sample[which], evaluator="pycocotools", image_ids=image_ids)


def test_subsets_are_scored_as_pycocotools_would(sample):
    result = score(*sample[:2], evaluator="hotcoco")
    subsets = over_images._subsets(result.image_ids, 4, seed=3)
    assert [name for name in subsets if name.startswith("half")] == [f"half {i}" for i in range(4)]
    assert sorted(subsets["half 0"] + subsets["half 1"]) == result.image_ids
    left_out = [set(result.image_ids) - set(subsets[f"without {i}"]) for i in range(20)]
    assert set().union(*left_out) == set(result.image_ids) and sum(map(len, left_out)) == 120
    scored = over_images._scored(result, subsets)
    for name in ("AP", "AP50", "APs", "AR@1", "AR@100"):
        halves, groups = scored[name]
        for i in range(2):
            expected = _official(sample, 1, subsets[f"half {i}"]).metrics[name]
            assert halves[0, i] == pytest.approx(expected, abs=1e-12)
        expected = _official(sample, 1, subsets["without 7"]).metrics[name]
        assert groups[7] == pytest.approx(expected, abs=1e-12)


def test_the_interval_by_hand():
    halves, groups = np.array([[0.30, 0.34], [0.36, 0.28]]), np.full(20, 0.3)
    found = over_images.interval_of(0.31, halves, groups)
    spread = np.sqrt((0.04**2 + 0.08**2) / 2) / 2
    # The halves' mean is 0.32, 0.01 above the whole: 0.01 to 0.01 / (2^(2/3) - 1) are taken off.
    centres = 0.31 - 0.01 / (2 ** (2 / 3) - 1), 0.31 - 0.01
    reach = stats.t.ppf(0.975, 30) * spread
    assert found == pytest.approx(
        {"low": centres[0] - reach, "high": centres[1] + reach, "standard_error": spread}
        | {"of": "population"}
    )
    # Of other samples of as many images: the same reach, around the figure itself.
    found = over_images.interval_of(0.31, halves, groups, rare=True)
    assert (found["low"], found["high"]) == pytest.approx((0.31 - reach, 0.31 + reach))
    # The jackknife over groups, where it is the larger: (19/20) Σ (g - mean)².
    groups[0] = 0.5
    found = over_images.interval_of(0.31, halves, groups)
    assert found["standard_error"] == pytest.approx(0.2 * 19 / 20)


def test_a_figure_that_many_halves_leave_undefined_has_no_interval():
    halves = np.array([[0.3, np.nan], [np.nan, 0.3], [0.3, 0.3]])
    assert over_images.interval_of(0.3, halves, np.full(20, 0.3)) is None


def test_rare_categories(tmp_path):
    """One category of three in 9 images, or in 10."""
    truth, found, _ = populations.draw(200, 3, np.random.default_rng(0))
    for images, of in ((9, "samples"), (10, "population")):
        seen, kept = set(), []
        for each in truth["annotations"]:
            if each["category_id"] == 3:
                if each["image_id"] not in seen and len(seen) == images:
                    continue
                seen.add(each["image_id"])
            kept.append(each)
        path = tmp_path / f"{images}.json"
        path.write_text(json.dumps(truth | {"annotations": kept}))
        result = score(path, found, evaluator="hotcoco")
        assert intervals(result, samples=60)["AP"]["of"] == of
        # Its small objects are fewer.
        assert intervals(result, samples=60)["APs"]["of"] == "samples"


def test_too_few_images_have_no_interval(sample):
    result = score(*sample[:2], evaluator="hotcoco", num_images=19)
    assert intervals(result, samples=60) == {}
    assert "none: fewer than 20 images" in text.of_analysis(analyse(result, samples=60))
    compared = compare(result, result, samples=60)
    assert compared["intervals"] == {} and "none: fewer" in text.of_comparison(compared, "itself")
    assert "AP" in intervals(score(*sample[:2], evaluator="hotcoco", num_images=20), samples=60)


def test_what_a_terminal_says(sample):
    first, second = (score(sample[0], each, evaluator="hotcoco") for each in sample[1:])
    told = text.of_analysis(analyse(first, samples=60))
    assert over_images.METHOD in told and told.count("on all images like these") >= 6
    told = text.of_comparison(compare(second, first, samples=60), "the first")
    assert "paired" in told and "better on all images like these" in told
    told = text.of_comparison(compare(first, second, samples=60), "the second")
    assert "worse on all images like these" in told


def test_categories_are_paired(sample):
    """Against the two detectors' AP of the category on the same halves, by pycocotools."""
    first, second = (score(sample[0], each, evaluator="hotcoco") for each in sample[1:])
    (told,) = over_images.of_categories(second, first, [1], samples=60, seed=3)
    subsets = over_images._subsets(first.image_ids, 60, seed=3)

    def difference(ids):
        values = [
            {each["id"]: each["AP"] for each in _official(sample, which, ids).per_category}[1]
            for which in (2, 1)
        ]
        return values[0] - values[1]

    halves = [difference(subsets[f"half {i}"]) for i in range(60)]
    groups = [difference(subsets[f"without {i}"]) for i in range(20)]
    expected = over_images.interval_of(
        difference(first.image_ids), np.reshape(halves, (30, 2)), np.array(groups)
    )
    assert told == pytest.approx(expected, abs=1e-9)


def test_a_model_against_itself_is_not_told_apart(sample):
    result = score(*sample[:2], evaluator="hotcoco")
    found = compare(result, result, samples=60)["intervals"]["AP"]
    # The former name of the argument still does.
    assert compare(result, result, bootstrap=60)["intervals"]["AP"] == found
    assert compare(result, result, bootstrap=0)["intervals"] == {}
    assert (found["low"], found["high"], found["standard_error"]) == (0, 0, 0)


@pytest.mark.parametrize("samples", [1, 2, 40, 59])
def test_intervals_of_too_few_halves_are_refused(sample, samples):
    result = score(*sample[:2], evaluator="hotcoco")
    for asked in (
        lambda: intervals(result, samples=samples),
        lambda: compare(result, result, samples=samples),
        lambda: analyse(result, samples=samples),
        lambda: list(over_images.of_categories(result, result, [1], samples=samples)),
    ):
        with pytest.raises(UserError, match=f"samples={samples}: an interval wants 60 or more"):
            asked()


def test_of_how_many_halves_an_interval_is_steady(tmp_path):
    """Its width, where the halves are drawn anew: why 60 are the fewest, and 200 the default."""
    truth, found, _ = populations.draw(100, 3, np.random.default_rng(1))
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(truth))
    result = score(path, found, evaluator="hotcoco")
    subsets = [over_images._subsets(result.image_ids, 200, seed) for seed in range(12)]
    drawn = [over_images._scored(result, each)["AP"] for each in subsets]

    def unsteady(samples):
        each = [
            over_images.interval_of(result.metrics["AP"], halves[: samples // 2], groups)
            for halves, groups in drawn
        ]
        widths = np.array([interval["high"] - interval["low"] for interval in each])
        return widths.std() / widths.mean()

    assert unsteady(4) > 1.4 * unsteady(60)
    assert unsteady(200) < unsteady(60) < 0.15
