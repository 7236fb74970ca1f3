"""How runs stand against each other, in words and figures, and the comparison page's controls."""

import pytest

from replicate import score
from replicate.report import participants, standing, write_comparison
from replicate.run import read_json
from tests.report import browsing, making


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
    write_comparison([str(root / name) for name in names], root / "out", samples=60)
    return root


@pytest.fixture(scope="module")
def told(folder):
    return read_json(folder / "out" / "comparison.json")


@pytest.fixture
def page(driver, folder):
    with browsing.opened(driver, folder / "out" / "index.html") as opened:
        yield opened


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

    expected = score.over_images.compare(scored("worse"), scored("better"), samples=60)
    found = told["overall"]["r1"]
    assert found["difference"] == pytest.approx(expected["differences"]["AP"])
    assert (found["low"], found["high"]) == pytest.approx(
        (expected["intervals"]["AP"]["low"], expected["intervals"]["AP"]["high"])
    )
    assert told["overall"]["r2"]["difference"] == 0


def test_headline(told, page):
    best, alone, apart = told["headline"]
    ap = 100 * next(run["metrics"]["AP"] for run in told["runs"] if run["name"] == "better")
    assert best.endswith(f"better and twin have equal AP, {ap:.2f}, the highest.")
    assert best.startswith("A: Of the 3 runs") and "best" not in best
    assert alone.startswith("B: elsewhere alone") and "2 ways" in apart
    assert page.texts("#headline p") == told["headline"]


def _headline(several, together, samples=60):
    names = {each.key: each.name for each in several}
    aps = {each.key: each.facts["metrics"]["AP"] for each in several}
    (said,) = standing.headline(standing.groups(several), names, together, samples, aps)
    return said, {names[key]: 100 * ap for key, ap in aps.items()}


def test_how_far_the_best_is_above_the_second(folder):
    two = participants.read([str(folder / name) for name in ("worse", "better")])
    together = {each.key: (each, each.scored()) for each in two}
    said, ap = _headline(two, together)
    by = f"{ap['better'] - ap['worse']:.2f} points of AP above worse"
    assert f"better is best, {by} (95 % interval" in said


def test_no_run_is_best_without_an_interval_that_tells(folder, monkeypatch):
    two = participants.read([str(folder / name) for name in ("worse", "better")])
    together = {each.key: (each, each.scored()) for each in two}
    said, ap = _headline(two, {})
    by = f"{ap['better'] - ap['worse']:.2f} points of AP above worse"
    assert said.endswith(f"better has the highest AP, {by}; no interval tells whether by chance.")
    chance = {"difference": 0.01, "low": -0.01, "high": 0.03}
    monkeypatch.setattr(standing, "_difference", lambda *_: chance)
    said, _ = _headline(two, together)
    assert said.endswith("(95 % interval −1.00 to +3.00, paired), which chance alone can give.")
    assert "better has the highest AP" in said and "best" not in said


def test_equals_are_equal_with_or_without_detections(folder):
    two = participants.read([str(folder / name) for name in ("better", "twin")])
    together = {each.key: (each, each.scored()) for each in two}
    for known in (together, {}):
        said, ap = _headline(two, known)
        assert said.endswith(f"better and twin have equal AP, {ap['better']:.2f}.")


def test_all_equals_of_the_best_are_named(folder):
    names = dict(enumerate(("better", "twin", "again", "more", "fifth", "sixth", "worse")))
    aps = dict.fromkeys(names, 0.5) | {6: 0.4}
    group = {"letter": "A", "best": 0, "runs": list(names), "text": "boxes"}
    (said,) = standing.headline([group], names, {}, 20, aps)
    assert said == (
        "Of the 7 runs with boxes, better, twin, again, more and 2 more have equal AP, 50.00, "
        "the highest."
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
    with page.width(width):
        assert page.run("document.documentElement.scrollWidth") <= width
        if width == 1280:
            table = "document.getElementById('runs-table')"
            assert page.run(f"{table}.scrollWidth <= {table}.parentNode.clientWidth")


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
