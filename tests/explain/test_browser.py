"""The page in a browser: both themes, wide and narrow; nothing asked for, nothing cut off."""

import pytest

from replicate.explain import from_detections, page
from tests.report import axe, browsing


@pytest.fixture(scope="module")
def opened(val128, real, tmp_path_factory):
    """Function (width, theme) -> the page of a told figure, opened."""
    path = tmp_path_factory.mktemp("page") / "explain.html"
    found = real["ssd_mobilenet_v2_fpnlite_640x640"]
    answer = from_detections(val128, found, ["AP=0.1879"], pairs=False)
    page.write(answer.to_json(), path, "python tools/explain.py …")
    drivers = []

    def open_page(width, theme):
        driver = browsing.driver(browsing.binaries(), width)
        drivers.append(driver)
        scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        return browsing.Page(driver, path)

    yield open_page
    for driver in drivers:
        driver.quit()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page(opened, width, theme):
    shown = opened(width, theme)
    assert shown.errors() == [] and shown.requests() == []
    assert shown.run("document.documentElement.scrollWidth") <= width
    assert axe.serious(shown, theme) == []
    assert "AP 0.1879 is given by one protocol: images_with_detections." in shown.texts(".sentence")
    hits = shown.texts("tr.hit th")
    assert hits == ["images_with_detections"]
    # Its dot lies on the told line, and the line is of another colour than COCO's own.
    assert (
        shown.run(
            "(() => {const row = document.querySelector('tr.hit');"
            "const at = (name) => row.querySelector(name).getBoundingClientRect().x;"
            "return Math.abs(at('.dot') - at('.told'))})()"
        )
        < 5
    )
    colour = "getComputedStyle(document.querySelector('.track line.{}')).stroke"
    assert shown.run(colour.format("told")) != shown.run(colour.format("zero"))
