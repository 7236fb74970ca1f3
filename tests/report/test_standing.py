"""How runs stand against each other, in words and figures, and the comparison page's controls."""

import pytest

from replicate import score
from replicate.report import participants, standing, write_comparison
from replicate.run import read_json
from tests.report import browsing, making


@pytest.fixture(scope="module")
def driver():
    made = browsing.driver(browsing.binaries())
    yield made
    made.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A comparison of three runs on 24 images, one of them twice, and one run on others."""
    root = tmp_path_factory.mktemp("standing")
    drawn = making.groundtruth(root / "a", images=24)
    others = making.groundtruth(root / "b", images=10)
    making.run_directory(root / "better", *drawn, skill=0.9, steps=(100, 300))
    making.run_directory(root / "worse", *drawn, skill=0.5, seed=1, steps=(100, 300))
    making.run_directory(root / "twin", *drawn, skill=0.9, steps=(100, 300))
    making.run_directory(root / "elsewhere", *others, skill=0.9, steps=(50, 150))
    names = ("better", "worse", "twin", "elsewhere")
    write_comparison([str(root / name) for name in names], root / "out", samples=40)
    return root


@pytest.fixture(scope="module")
def told(folder):
    return read_json(folder / "out" / "comparison.json")


@pytest.fixture
def page(driver, folder):
    opened = browsing.Page(driver, folder / "out" / "index.html")
    yield opened
    assert opened.errors() == []
    assert opened.requests() == []


def test_groups_are_those_of_the_same_images(told):
    assert [group["runs"] for group in told["groups"]] == [["r0", "r1", "r2"], ["r3"]]
    assert "24 images" in told["groups"][0]["text"]


def test_overall_difference_is_the_scorers(told, folder):
    def scored(name):
        return score.score(
            str(folder / "a" / "annotations" / "instances_val.json"),
            str(folder / name / "evals" / "300" / "detections.json.gz"),
            evaluator="hotcoco",
        )

    expected = score.over_images.compare(scored("worse"), scored("better"), samples=40)
    found = told["overall"]["r1"]
    assert found["difference"] == pytest.approx(expected["differences"]["AP"])
    assert (found["low"], found["high"]) == pytest.approx(
        (expected["intervals"]["AP"]["low"], expected["intervals"]["AP"]["high"])
    )
    assert told["overall"]["r2"]["difference"] == 0


def test_headline(told, page):
    best, alone, apart = told["headline"]
    assert "better is best together with twin, AP equal" in best
    assert alone.startswith("elsewhere alone") and "2 ways" in apart
    assert page.texts("#headline p") == told["headline"]


def test_how_far_the_best_is_above_the_second(folder):
    two = participants.read([str(folder / name) for name in ("worse", "better")])
    together = {each.key: (each, each.scored()) for each in two}
    names = {each.key: each.name for each in two}
    (said,) = standing.headline(standing.groups(two), names, together, samples=40)
    ours, theirs = (100 * each.facts["metrics"]["AP"] for each in (two[1], two[0]))
    assert f"better is best, {ours - theirs:.2f} points of AP above worse (95 % interval" in said


def test_all_equals_of_the_best_are_named(folder):
    three = participants.read([str(folder / name) for name in ("better", "twin", "worse")])
    together = {each.key: (each, each.scored()) for each in three[:2]}
    together["r2"] = together["r3"] = together["r0"]
    names = {"r0": "better", "r1": "twin", "r2": "again", "r3": "more"}
    group = {"best": "r0", "runs": list(names), "text": "boxes"}
    (said,) = standing.headline([group], names, together, samples=20)
    assert said == (
        "Of the 4 runs with boxes, better is best together with twin, again and more, AP equal."
    )


def test_groups_stay_apart_when_sorted(page):
    heads = [each.text for each in page.all("#runs-table thead th")]
    assert heads[:5] == ["shown", "run", "verdict", "evaluated on", "AP"]
    button = page.all("#runs-table thead th button")[heads.index("AP") - 1]
    for _ in range(2):
        page.run("arguments[0].click()", button)
        rows = page.run(
            "[...document.querySelectorAll('#runs-table tbody tr')].map((e) => e.dataset.group)"
        )
        assert rows == ["0", "0", "0", "1"]


def test_columns_are_chosen(page):
    def shown():
        return [each.text for each in page.all("#runs-table thead th") if each.is_displayed()]

    assert "model" not in shown() and "AP50" in shown()
    page.one("#columns summary").click()
    for label in page.all("#columns label"):
        if label.text in ("model", "AP50"):
            label.click()
    assert "model" in shown() and "AP50" not in shown()


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(page, width):
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    try:
        assert page.run("document.documentElement.scrollWidth") <= width
        if width == 1280:
            table = "document.getElementById('runs-table')"
            assert page.run(f"{table}.scrollWidth <= {table}.parentNode.clientWidth")
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_an_equal_curve_is_dashed_and_one_on_other_images_dotted(page):
    dashes = page.run(
        "Object.fromEntries(['r0', 'r1', 'r2', 'r3'].map((run) => [run, getComputedStyle("
        "document.querySelector(`#plot-curve-ap [id$='-of-${run}'] path:not(defs path)`))"
        ".strokeDasharray]))"
    )
    assert dashes["r0"] == dashes["r1"] == "none"
    assert dashes["r2"] != "none" and dashes["r3"] not in ("none", dashes["r2"])


# The run on 10 images ends at step 150 of 16 images: 240 epochs; the others see 4,800 images.
@pytest.mark.parametrize("unit, last", [("images", 300 * 16), ("epochs", 150 * 16 / 10)])
def test_other_axes(page, unit, last):
    from selenium.webdriver.common.keys import Keys

    page.set("#curves-x", unit)
    svg = page.one("#plot-curve-ap svg")
    svg.send_keys(Keys.ARROW_RIGHT)
    said = page.one("#plot-curve-ap .value").text
    name, value = {"images": "images seen", "epochs": "epochs"}[unit], said.split("\n")[0]
    assert float(value.removeprefix(name).replace(",", "")) == pytest.approx(last, rel=0.01)
    page.set("#curves-x", "steps")
    svg.send_keys(Keys.ESCAPE, Keys.ARROW_RIGHT)
    assert page.one("#plot-curve-ap .value").text.startswith("training step 300")
