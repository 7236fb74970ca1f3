"""The pages in a real browser: what moves when a control is moved, and what never leaves."""

import pytest

from replicate.run import read_json
from tests.report import browsing, crowds
from tests.report.conftest import HOSTILE


def _boxes(page):
    """Scores of the detections drawn on the shown cards, by image."""
    return page.run(
        "Object.fromEntries([...document.querySelectorAll('.card')].map((card) => "
        "[card.dataset.image, [...card.querySelectorAll('rect[data-score]')]"
        ".map((e) => Number(e.dataset.score))]))"
    )


@pytest.mark.parametrize("score", [0.05, 0.3, 0.62, 1.0])
def test_confidence_slider_draws_what_scores_at_least_that(page, told, score):
    page.set("#gallery-score", score)
    images = {str(each["id"]): each for each in told["gallery"]["images"]}
    drawn = _boxes(page)
    assert len(drawn) == 12
    for image_id, scores in drawn.items():
        expected = [each[1] for each in images[image_id]["detections"]["300"] if each[1] >= score]
        assert sorted(scores) == sorted(expected)


def test_step_slider_shows_the_detections_of_that_checkpoint(page, told):
    page.set("#gallery-score", 0.05)
    images = {str(each["id"]): each for each in told["gallery"]["images"]}
    for index, step in enumerate(["100", "200", "300"]):
        page.set("#gallery-step", index)
        assert page.one("#gallery-step-shown").text.startswith(step)
        for image_id, scores in _boxes(page).items():
            assert sorted(scores) == sorted(e[1] for e in images[image_id]["detections"][step])


def test_boxes_lie_where_the_json_says(page, told):
    page.set("#gallery-score", 0.05)
    image = told["gallery"]["images"][0]
    height, width = image["image_hw"]
    category, score, x, y, box_width, box_height, *_ = image["detections"]["300"][0]
    share = page.run(
        """((card) => {
          const outer = card.querySelector('.canvas').getBoundingClientRect();
          const box = card.querySelector(`rect[data-score="${arguments[1]}"]`).getBBox();
          const view = card.querySelector('svg').viewBox.baseVal;
          const drawn = card.querySelector('svg').getBoundingClientRect();
          return [box.x, box.y, box.width, box.height, view.width, view.height,
                  drawn.width / outer.width, drawn.height / outer.height];
        })(document.querySelector(`.card[data-image="${arguments[0]}"]`))""",
        image["id"],
        score,
    )
    assert share == pytest.approx([x, y, box_width, box_height, width, height, 1, 1], abs=0.01)


def test_class_filter_leaves_images_and_boxes_of_the_class(page, told):
    page.set("#gallery-score", 0.05)
    page.set("#gallery-category", "3")
    shown = _boxes(page)
    for image in told["gallery"]["images"]:
        scores = [each[1] for each in image["detections"]["300"] if each[0] == 3]
        if str(image["id"]) in shown:
            assert sorted(shown[str(image["id"])]) == sorted(scores)
    assert page.texts(".card .tag")
    assert not [text for text in page.texts(".card .tag") if "disc" in text]


def test_groups_and_pages(page, told):
    members = [each for each in told["gallery"]["images"] if "missed" in each["groups"]]
    page.set("#gallery-group", "missed")
    assert len(page.all(".card")) == min(12, len(members))
    page.set("#gallery-group", "")
    first = set(_boxes(page))
    page.one("#gallery-next").click()
    assert first.isdisjoint(_boxes(page))
    assert page.one("#gallery-page").text.startswith("page 2 of")


def test_caption_counts_missed_and_wrong(page, told):
    """With no detection drawn, every object that is no crowd is missed and nothing is wrong."""
    page.set("#gallery-score", 1.0)
    image = told["gallery"]["images"][0]
    objects = sum(not each["crowd"] for each in image["groundtruth"])
    caption = page.one(f'.card[data-image="{image["id"]}"] figcaption').text
    assert f"{objects} missed, 0 wrong" in caption


def test_unchecking_hides_groundtruth_and_detections(page):
    page.one("#gallery-detections").click()
    assert not page.all("rect[data-score]") and page.all(".box.missed")
    page.one("#gallery-groundtruth").click()
    assert not page.all(".card .box")


@pytest.mark.parametrize(
    "table, column, values",
    [
        ("category-table", 3, lambda told: [each["AP"] for each in told["per_category"]]),
        ("checkpoints-table", 0, lambda told: [each["step"] for each in told["checkpoints"]]),
        ("tide-table", 2, lambda told: list(told["analysis"]["tide"]["counts"].values())),
    ],
)
def test_headings_sort_down_and_up(page, told, table, column, values):
    button = page.all(f"#{table} thead th button")[column]
    cells = (
        f"[...document.querySelectorAll('#{table} tbody tr')]"
        f".map((row) => Number(row.cells[{column}].dataset.value))"
    )
    expected = sorted(values(told))
    page.run("arguments[0].click()", button)
    assert page.run(cells) == pytest.approx(expected[::-1])
    page.run("arguments[0].click()", button)
    assert page.run(cells) == pytest.approx(expected)
    heads = [each.get_attribute("aria-sort") for each in page.all(f"#{table} thead th")]
    assert heads[column] == "ascending" and heads.count(None) == len(heads) - 1


def test_search_finds_categories(page):
    field = page.one("#category-search")
    field.send_keys("DIS")
    assert page.texts("#category-table tbody th") == ["disc"]
    assert len(page.texts("#category-multiples figcaption")) == 1
    assert page.one("#category-search-count").text == "1 of 3 shown"


def test_hostile_names_are_shown_not_run(page):
    assert page.run("document.title").startswith("NOT COMPARABLE")
    assert HOSTILE in page.texts("#category-table tbody th")
    page.set("#gallery-category", "2")
    assert any(HOSTILE in text for text in page.texts(".card .tag"))
    assert page.run("document.querySelectorAll('script:not([type])').length") == 1


def test_theme_button(page):
    before = page.run("getComputedStyle(document.body).backgroundColor")
    page.one("#theme").click()
    after = page.run("getComputedStyle(document.body).backgroundColor")
    assert before != after
    line = page.run("getComputedStyle(document.querySelector('#plot-losses path[style]')).stroke")
    assert "var" not in line


def test_every_control_has_a_name_and_takes_the_focus(page):
    nameless = page.run(
        """[...document.querySelectorAll('input, select, button, [role=region], svg[role=img]')]
        .filter((e) => e.checkVisibility())
        .filter((e) => !(e.getAttribute('aria-label') || (e.labels && e.labels.length &&
          e.labels[0].textContent.trim()) || e.textContent.trim()))
        .map((e) => e.outerHTML.slice(0, 90))"""
    )
    assert nameless == []
    unreachable = page.run(
        """[...document.querySelectorAll('input:not([disabled]), select, .scroll')]
        .filter((e) => e.checkVisibility())
        .filter((e) => {e.focus(); return document.activeElement !== e})
        .map((e) => e.id)"""
    )
    assert unreachable == []


def test_slider_and_sorting_from_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    slider = page.one("#gallery-score")
    before = float(slider.get_attribute("value"))
    slider.send_keys(Keys.ARROW_RIGHT)
    assert float(slider.get_attribute("value")) == pytest.approx(before + 0.01)
    button = page.all("#category-table thead button")[3]
    button.send_keys(Keys.ENTER)
    head = page.all("#category-table thead th")[3]
    assert head.get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(page, width):
    with page.width(width):
        assert page.run("document.documentElement.scrollWidth") <= width


def test_print_leaves_out_the_controls(page):
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not page.texts(".controls") and not page.texts("nav.toc")
        assert page.texts("#metrics-table tbody th")[0] == "AP"
        assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


# ---- the comparison of four runs


@pytest.fixture
def compared_page(driver, compared):
    with browsing.opened(driver, compared / "index.html") as opened:
        yield opened


@pytest.fixture(scope="module")
def compared_told(compared):
    return read_json(compared / "comparison.json")


def _shown_lines(page, curve="curve-total-loss"):
    """Keys of the runs whose line of a curve is shown."""
    return page.run(
        f"[...document.querySelectorAll('#plot-{curve} [id*=\"-of-\"]')]"
        ".filter((e) => e.style.display !== 'none').map((e) => e.id.split('-of-')[1])"
    )


def test_runs_sort_with_blanks_at_the_end(compared_page, compared_told):
    heads = [
        each.get_attribute("textContent") for each in compared_page.all("#runs-table thead th")
    ]
    column = heads.index("total loss")
    button = compared_page.all("#runs-table thead th")[column].find_element("tag name", "button")
    compared_page.run("arguments[0].click()", button)
    values = compared_page.run(
        "[...document.querySelectorAll('#runs-table tbody tr')]"
        f".map((row) => row.cells[{column}].dataset.value)"
    )
    losses = [each["total_loss"] for each in compared_told["runs"] if each["total_loss"]]
    assert [float(value) for value in values if value] == sorted(losses, reverse=True)
    assert values[: len(losses)] == [value for value in values if value]


def test_filter_by_a_metric_hides_rows_lines_columns_and_cards(compared_page, compared_told):
    aps = {each["key"]: each["metrics"]["AP"] for each in compared_told["runs"]}
    least = sorted(aps.values())[1]
    compared_page.set("#runs-words", "")
    compared_page.set("#runs-least", 100 * least - 1e-6)
    kept = {key for key, ap in aps.items() if ap >= least}
    assert set(compared_page.run("shownRuns()")) == kept and len(kept) == 3
    assert set(_shown_lines(compared_page)) == kept - {"r3"}
    cards = compared_page.run("[...document.querySelectorAll('.card')].map((e) => e.dataset.shows)")
    assert set(cards) == kept
    assert len(compared_page.texts("#legend li")) == len(kept - {"r3"})  # it has no curves
    published = [each["AP"] for each in compared_told["zoo"] if (each["AP"] or 0) >= least]
    assert compared_page.one("#runs-count").text.startswith(f"{3 + len(published)} of")
    compared_page.one("#runs-all").click()
    assert len(compared_page.run("shownRuns()")) == 4


def test_dots_have_names_and_runs_without_latency_are_listed(compared_page, compared_told):
    told = compared_page.run(
        "[...document.querySelectorAll('#plot-speed-accuracy [data-told]')]"
        ".map((e) => e.dataset.told)"
    )
    ours = compared_told["runs"][3]
    assert len(told) == len(compared_told["speed"]["zoo"]) + 1
    assert f"{ours['name']}: {100 * ours['metrics']['AP']:.1f} % at" in told[-1]
    listed = compared_page.one("#without-latency").text
    assert all(each["name"].split("/")[-1] in listed for each in compared_told["runs"][:3])
    assert len(compared_page.texts("#legend li")) == 3  # the benchmark has no curves


def test_words_filter_runs(compared_page):
    compared_page.set("#runs-words", "lower")
    assert compared_page.run("shownRuns()") == ["r2"]


def _colours(page):
    return page.run(
        "runRows().map((row) => row.style.getPropertyValue(`--run-${row.dataset.run}`))"
    )


def test_unchecking_a_run_takes_its_line_away_and_leaves_the_others_colours(compared_page):
    before = _colours(compared_page)
    assert before == [f"var(--s{number})" for number in range(1, 5)]
    box = compared_page.one("#runs-table tr[data-run=r0] input")
    box.click()
    assert "r0" not in _shown_lines(compared_page)
    assert _colours(compared_page) == ["var(--muted)", *before[1:]]
    box.click()
    assert _colours(compared_page) == before


def test_axes_fit_the_runs_that_are_shown(compared_page, compared_told):
    """With one run alone its line fills the axes, at the values that the ticks say."""
    (curve,) = (each for each in compared_told["curves"] if each["name"] == "AP")
    lines = {each["run"]: each for each in curve["lines"]}
    drawing = "document.querySelector('#plot-curve-ap svg').innerHTML"
    whole = compared_page.run(drawing)
    lowest = min(lines, key=lambda run: max(lines[run]["value"]))
    for run in ("r0", "r1", "r2", "r3"):
        if run != lowest:
            compared_page.one(f"#runs-table tr[data-run={run}] input").click()
    ticks = compared_page.run(
        "[...document.querySelectorAll('#plot-curve-ap [data-tick]')].map((tick) =>"
        "[Number(tick.dataset.tick), tick.querySelector('text').textContent,"
        " tick.getBoundingClientRect().left, tick.querySelector('path').getBoundingClientRect().y,"
        " tick.querySelector('path').getBoundingClientRect().height])"
    )
    heights = [(value, text, y) for value, text, _, y, height in ticks if height < 1]
    assert len(heights) >= 4
    for value, text, _ in heights:
        assert float(text.removesuffix("%")) == pytest.approx(100 * value)
    # The drawn points stand where the ticks say, and use the height that is there.
    points = compared_page.run(
        f"[...document.querySelectorAll('#plot-curve-ap [id$=\"-of-{lowest}\"] use')]"
        ".map((use) => {const box = use.getBoundingClientRect(); return box.y + box.height / 2;})"
    )
    (value_a, _, y_a), *_, (value_b, _, y_b) = heights
    told = [value_a + (y - y_a) / (y_b - y_a) * (value_b - value_a) for y in points]
    assert told == pytest.approx(lines[lowest]["value"], abs=0.01 * max(lines[lowest]["value"]))
    assert max(told) > 0.9 * max(value for value, _, _ in heights)
    compared_page.one("#runs-all").click()
    assert compared_page.run(drawing).replace(' style=""', "") == whole.replace(' style=""', "")


def test_same_image_under_each_run(compared_page, compared_told):
    compared_page.set("#gallery-score", 0.05)
    compared_page.one("#gallery-next").click()
    image = compared_told["gallery"]["images"][1]
    drawn = compared_page.run(
        "Object.fromEntries([...document.querySelectorAll('.card')].map((card) => "
        "[card.dataset.shows, [...card.querySelectorAll('rect[data-score]')]"
        ".map((e) => Number(e.dataset.score))]))"
    )
    for key, steps in image["detections"].items():
        last = max(steps, key=lambda step: int(step or 0))
        assert sorted(drawn[key]) == sorted(each[1] for each in steps[last])
    compared_page.set("#gallery-step", 0)
    card = compared_page.one('.card[data-shows="r0"]')
    scores = [
        float(each.get_attribute("data-score"))
        for each in card.find_elements("css selector", "rect[data-score]")
    ]
    assert sorted(scores) == sorted(each[1] for each in image["detections"]["r0"]["100"])
    assert "step 100" in card.text


def test_an_image_of_a_comparison_enlarges_and_arrows_go_from_run_to_run(compared_page):
    from selenium.webdriver.common.keys import Keys

    page = compared_page
    headings = [each.split("\n")[0] for each in page.texts("#gallery-cards figcaption b")]
    boxes = "document.querySelectorAll('#enlarged-canvas rect[data-score]').length"
    of_cards = page.run(
        "[...document.querySelectorAll('.card')]"
        ".map((card) => card.querySelectorAll('rect[data-score]').length)"
    )
    page.one(".card .open").send_keys(Keys.ENTER)
    assert page.one("#enlarged-title").text.startswith(headings[0])
    assert page.run(boxes) == of_cards[0]
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.one("#enlarged-title").text.startswith(headings[1])
    assert page.run(boxes) == of_cards[1]
    page.one("#enlarged-close").click()
    assert not page.all("dialog[open]")


def test_a_category_of_a_comparison_opens_its_row_and_its_images(compared_page, compared_told):
    page = compared_page
    button = next(each for each in page.all("#category-table button.link") if each.text == "disc")
    page.run("arguments[0].click()", button)
    assert page.one("#category-title").text == "disc"
    assert page.texts("#category-body tbody th") == ["disc"]
    page.one("#category-body > button").click()
    assert not page.all("dialog[open]")
    (category_id,) = (key for key, name in compared_told["gallery"]["categories"].items()
                      if name == "disc")  # fmt: skip
    assert page.one("#gallery-category").get_attribute("value") == category_id
    tag = page.one("#gallery-cards .tag")
    page.run("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", tag)
    assert page.one("#category-title").text == tag.get_attribute("data-category") == "disc"


def test_hostile_names_in_a_comparison(compared_page):
    assert compared_page.run("document.title") == "4 runs compared"
    assert HOSTILE in compared_page.texts("#category-table tbody th")


def test_controls_of_a_comparison_have_names(compared_page):
    nameless = compared_page.run(
        """[...document.querySelectorAll('input, select, button, [role=region]')]
        .filter((e) => e.checkVisibility())
        .filter((e) => !(e.getAttribute('aria-label') || (e.labels && e.labels.length &&
          e.labels[0].textContent.trim()) || e.textContent.trim()))
        .map((e) => e.outerHTML.slice(0, 90))"""
    )
    assert nameless == []


# ---- many images, many runs: the work of the page does not grow with them


def test_a_thousand_images(driver, told, tmp_path):
    """A gallery of 1,000 images draws 12 of them, wherever one turns to."""
    path = crowds.page_of_images(told, 1000, tmp_path / "index.html")
    page = browsing.Page(driver, path)
    assert page.one("#gallery-page").text == "page 1 of 84, 1000 images"
    for _ in range(3):
        page.one("#gallery-next").click()
        page.set("#gallery-score", 0.4)
        assert len(page.all(".card")) == 12
    page.set("#gallery-category", "1")
    assert len(page.all(".card")) == 12
    assert page.errors() == [] and page.requests() == []


def test_fifty_runs(driver, finished_run, tmp_path):
    page = browsing.Page(driver, crowds.page_of_runs(finished_run, 50, tmp_path / "index.html"))
    assert len(page.run("shownRuns()")) == 50
    # Eight have colours of their own; the others give way.
    coloured = page.run(
        "runRows().map((row) => getComputedStyle(row).getPropertyValue(`--run-${row.dataset.run}`))"
    )
    muted = page.run("getComputedStyle(document.documentElement).getPropertyValue('--muted')")
    assert coloured.count(muted) == 42 and len(set(coloured)) == 9
    page.set("#runs-words", "run-4")
    assert len(page.run("shownRuns()")) == 11
    assert len(page.all(".card")) == 11
    assert page.errors() == [] and page.requests() == []
