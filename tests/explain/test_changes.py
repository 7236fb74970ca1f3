"""From a model: one change at a time on a trained detector; what must be large, and what 0."""

import pytest

from replicate import benchmarking, score
from replicate.errors import UserError
from replicate.explain import from_model
from tests.explain.conftest import IMAGES


def _row(measured, step, value=None):
    return next(
        each
        for each in measured["changes"]
        if each["step"] == step and value in (None, each["value"])
    )


def test_nothing_changed_is_exactly_nothing(measured):
    row = _row(measured, "nothing")
    assert row["identical"] and row["delta_ap"] == 0 and row["interval"] == [0, 0]
    assert row["elsewhere"] == "no" and not row["matters"]


@pytest.mark.parametrize("step", ["channel order", "normalisation"])
def test_what_must_be_large_is_large(measured, step):
    row = _row(measured, step)
    assert row["delta_ap"] < -1 and row["matters"] and row["pixel_difference"] > 10


def test_the_accurate_transform_gives_pillows_pixels(measured):
    """As replicate/decoders.py says: one setting of libjpeg is all that differs."""
    accurate, pillow = (
        _row(measured, "decoder", value) for value in ("tensorflow, accurate DCT", "pillow")
    )
    assert accurate["figures"] == pillow["figures"]
    assert 0.5 < accurate["pixel_difference"] == pillow["pixel_difference"] < 2


def test_the_baseline_is_the_benchmarks_figure(detector, measured):
    model, annotations, images, labels = detector
    dataset = benchmarking.Dataset(annotations, images, IMAGES)
    record = benchmarking.benchmark(
        model, dataset, labels=labels, evaluator="hotcoco", cache_dir=None, progress=False
    )
    assert measured["baseline"]["figures"]["AP"] == record.metrics["bbox"]["AP"]


def test_a_score_threshold_is_that_of_the_detections(detector, measured):
    model, annotations, images, labels = detector
    dataset = benchmarking.Dataset(annotations, images, IMAGES)
    found = benchmarking.adapters.of(model, dataset=dataset, labels=labels).detect(
        dataset, progress=False
    )
    kept = [each for each in found.as_list() if each["score"] >= 0.3]
    ids = [image_id for image_id, _ in dataset.images]
    expected = score.score(annotations, kept, image_ids=ids, evaluator="pycocotools").metrics["AP"]
    row = _row(measured, "score threshold", "below 0.3 gone")
    assert row["figures"]["AP"] == pytest.approx(expected, abs=1e-12)


def test_what_cannot_be_changed_is_said(measured):
    assert measured["format"] == 1
    assert measured["annotations"]["images"] == IMAGES
    assert [row["delta_ap"] for row in measured["changes"]] == sorted(
        (row["delta_ap"] for row in measured["changes"]), key=lambda value: -abs(value)
    )


def test_an_unknown_step(detector):
    with pytest.raises(UserError, match="there are: nothing, decoder"):
        from_model(*detector[:3], labels=detector[3], only=["colour"])
