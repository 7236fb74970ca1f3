"""The report in a real browser: nothing loaded, no errors, its controls work."""

import pytest

from tests.report import browsing


@pytest.fixture
def page(driver, finished):
    with browsing.opened(driver, finished.report / "index.html") as opened:
        yield opened


def test_controls(page):
    assert len(page.all("#image-cards .card img")) == 9
    assert page.texts("dl.figures dt")[:2] == ["mean AP (%)", "chance level (%)"]
    page.set("#category-search", "hex")
    assert page.texts("#category-table tbody th") == ["hexagon"]
    page.set("#category-search", "")
    page.set("#image-search", "mistakes")
    shown = page.texts("#image-cards figcaption")
    assert 0 < len(shown) < 9
    assert all("mistakes" in each for each in shown)
    page.one("#category-table th:nth-child(2) button").click()
    assert page.texts("#category-table tbody th")[0] == "hexagon"  # highest output first
    before = page.run("getComputedStyle(document.body).backgroundColor")
    page.one("#theme").click()
    assert page.run("getComputedStyle(document.body).backgroundColor") != before
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_category_and_values_of_plots(page):
    from selenium.webdriver.common.keys import Keys

    page.run("document.querySelector('#category-table button.link').click()")
    name = page.one("#category-title").text
    assert name in page.texts("#category-body tbody th")
    assert page.texts("#category-body figure .axis-name") == ["recall", "precision"]
    page.one("#category-body > button").click()
    shown = page.run(
        "[...document.querySelectorAll('#image-cards > *')].filter((e) => e.checkVisibility())"
        ".map((e) => [...e.querySelectorAll('.present [data-category]')]"
        ".map((c) => c.dataset.category))"
    )
    assert shown and all(name in each for each in shown)
    page.one("#plot-thresholds svg").send_keys(Keys.ARROW_LEFT)
    assert "F1" in page.one("#plot-thresholds .value").text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_fault(page, theme):
    from tests.report import axe

    assert axe.serious(page, theme) == []
    page.run("document.querySelector('#category-table button.link').click()")
    assert axe.serious(page, theme) == []
