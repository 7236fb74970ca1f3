"""axe-core finds no serious fault in the pages, in either theme."""

import pytest

from tests.report import axe, browsing


@pytest.fixture(scope="module")
def pages(finished_run, compared, compared_runs, tmp_path_factory):
    """dict name -> path; benchmark, recognition, inspection and explain have theirs in their own
    tests, but for the two forms of explain that need no image."""
    from replicate.explain import from_runs, page

    folder = tmp_path_factory.mktemp("pages")
    changes = [
        {"step": "resize", "value": "nearest", "delta_ap": -0.4, "interval": [-0.9, 0.1],
         "matters": True, "elsewhere": "not known", "pixel_difference": 3.2, "control": None},
        {"step": "nothing", "value": "the same once more", "delta_ap": 0.0, "interval": [0.0, 0.0],
         "matters": False, "elsewhere": "no", "pixel_difference": None, "control": "none"},
    ]  # fmt: skip
    model = {
        "form": "model", "model": {"name": "a"}, "changes": changes, "remarks": ["few images"],
        "baseline": {"figures": {"AP": 0.2, "AP50": 0.4, "AR@100": 0.3}}, "tolerance_points": 0.1,
        "annotations": {"images": 24}, "left_out": [],
    }  # fmt: skip
    page.write(model, folder / "model.html", "python tools/explain.py --model=a --image_dir=b")
    runs = from_runs(
        *(str(compared_runs[name].root) for name in ("finished", "lower_rate")),
        evaluate=False,
        samples=60,
    )
    page.write(runs, folder / "runs.html")
    return {
        "run": finished_run.report / "index.html",
        "comparison": compared / "index.html",
        "explain, a model": folder / "model.html",
        "explain, two runs": folder / "runs.html",
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("which", ["run", "comparison", "explain, a model", "explain, two runs"])
def test_no_serious_fault(driver, pages, which, theme):
    page = browsing.Page(driver, pages[which])
    assert axe.serious(page, theme) == []
    with page.width(400):
        assert page.run("document.documentElement.scrollWidth") <= 400
        assert axe.serious(page, theme) == []
    assert page.errors() == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_fault_in_what_opens(driver, finished_run, theme):
    page = browsing.Page(driver, finished_run.report / "index.html")
    page.run("document.querySelectorAll('details').forEach((each) => {each.open = true})")
    page.run("document.querySelector('.card .open').click()")
    assert axe.serious(page, theme) == []
    page.run("document.getElementById('enlarged').close()")
    page.run("document.querySelector('#category-table button.link').click()")
    assert axe.serious(page, theme) == []


def test_axe_finds_a_fault_where_there_is_one(driver, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><html lang=en><title>x</title><main><img src='data:,'></main>")
    (found,) = axe.serious(browsing.Page(driver, bad), "light")
    assert found.startswith("image-alt")


def test_a_config_diff_has_both_themes_fits_a_phone_and_hides_what_does_not_matter(
    driver, tmp_path
):
    from replicate import config
    from replicate.config import view

    model = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
    message = config.template(model)
    other = config.template(model)
    other.train_config.batch_size = 16
    other.train_input_reader.label_map_path = "elsewhere/label_map.pbtxt"
    path = tmp_path / "diff.html"
    path.write_text(view.html(config.diff(message, other), "a", "b", False), encoding="utf-8")
    page = browsing.Page(driver, path)
    assert "train_config.batch_size" in " ".join(page.texts("td code"))
    assert "label_map_path" not in " ".join(page.texts("td code"))
    page.one("#all").click()
    assert "label_map_path" in " ".join(page.texts("td code"))
    for theme in ("light", "dark"):
        assert axe.serious(page, theme) == []
    with page.width(400):
        assert page.run("document.documentElement.scrollWidth") <= 400
    assert page.errors() == []
