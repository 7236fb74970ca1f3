"""Controls: a measurement that cannot show what is known says so."""

import pytest

from replicate.explain import controls, from_model, page, text


def _row(control="large", delta=-5.0, interval=(-8.0, -2.0), pixels=20.0, identical=False):
    return {
        "step": "channel order",
        "value": "BGR",
        "control": control,
        "delta_ap": delta,
        "interval": interval and list(interval),
        "pixel_difference": pixels,
        "identical": identical,
    }


@pytest.mark.parametrize(
    ("row", "held", "said"),  # on 50 images
    [
        (_row(), True, None),
        (_row(interval=None), True, None),
        (_row(control=None, delta=0.0), None, None),
        (_row("none", 0.0, (0, 0), None, identical=True), True, None),
        # What was measured on few images, and on drawn shapes, which swapped channels help.
        (_row(delta=0.02, interval=(-0.1, 0.2)), False, "+0.02 points (95 % over images -0.10 to"),
        (_row(delta=0.67, interval=(-0.52, 2.03)), False, "these 50 images, or this model, cannot"),
        (_row(delta=-0.9, interval=(-1.0, -0.8)), False, "must cost 1 point or more and moves AP"),
        (_row(delta=-0.5, interval=None), False, "no interval was measured"),
        (_row(delta=-4.26, interval=(-8.65, 0.13)), False, "too few to tell even that from chance"),
        (_row(delta=None, interval=None), False, "leaves AP undefined"),
        (_row(delta=0.0, interval=(0, 0), pixels=0.0, identical=True), False, "controls nothing"),
        (_row("none", 0.3, (-0.1, 0.5), None), False, "does not repeat itself"),
    ],
)
def test_controls(row, held, said):
    assert controls.held(row, 50) is held
    found = controls.remarks([row], 50)
    assert len(found) == (held is False)
    assert said is None or said in found[0]


def test_without_an_interval_few_images_may_be_chance():
    (found,) = controls.remarks([_row(interval=None)], 19)
    assert "-5.00 points (fewer than 20 images have no interval): these 19 images are too" in found


def test_five_images_are_too_few(shared, val128, tmp_path):
    """Measured: what the text, the JSON and the page say."""
    models, images = shared / "models", shared / "coco" / "val128" / "val2017"
    content = from_model(
        *(str(models / "detect.tflite"), val128, images),
        num_images=5,
        labels=str(models / "labelmap.txt"),
        only=["nothing"],
    )
    of_control = {row["step"]: row for row in content["changes"]}
    assert of_control["nothing"]["held"] is True
    failed = [row for row in content["changes"] if row["held"] is False]
    assert {row["control"] for row in failed} == {"large"}
    assert len(content["remarks"]) == len(failed)
    page.write(content, tmp_path / "page.html")
    written = (tmp_path / "page.html").read_text()
    for row, remark in zip(failed, content["remarks"], strict=True):
        assert f"moves AP by {row['delta_ap']:+.2f} points" in remark
        assert "these 5 images" in remark
        assert f"! {remark}" in text.of_model(content) and remark in written
