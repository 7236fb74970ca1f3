"""A headless Chromium for the tests of the pages."""

import contextlib
import pathlib
import shutil

from tests import debian


def binaries():
    """Paths of (chromium, chromedriver), installed with apt-get where this process may.

    A process that is not root, or a system without apt-get, skips the test with the reason.
    """
    if not _found():
        debian.need(("chromium", "chromedriver"), ("chromium", "chromium-driver"))
    return _found()


def _found():
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Page:
    """A page opened in the browser, and what the tests ask of it."""

    def __init__(self, driver, path):
        self.driver = driver
        driver.get_log("browser")  # forget what came before
        driver.get_log("performance")
        driver.get(pathlib.Path(path).resolve().as_uri())

    def run(self, script, *arguments):
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return ({script})", *arguments)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def texts(self, selector):
        """Texts of the elements that are shown."""
        return self.run(
            "[...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility())"
            ".map((e) => e.textContent.trim())",
            selector,
        )

    def set(self, selector, value, events=("input",)):
        """Sets a slider or a list as a user does, with its input event, or with these."""
        self.run(
            "((e) => {e.value = arguments[1]; "
            "for (const name of arguments[2]) e.dispatchEvent(new Event(name, {bubbles: true}));})"
            "(document.querySelector(arguments[0]))",
            selector,
            str(value),
            list(events),
        )

    def milliseconds(self, script):
        """How long a script takes, layout included."""
        return self.run(
            "(() => {const start = performance.now(); "
            f"{script}; document.body.offsetHeight; return performance.now() - start;}})()"
        )

    @contextlib.contextmanager
    def width(self, pixels):
        """Inside, the window is so wide, and a phone's below 600 pixels."""
        size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def errors(self):
        """Messages of the console since the page was opened, other than notices."""
        log = self.driver.get_log("browser")
        return [each["message"] for each in log if each["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """Addresses that the page asked for since it was opened, itself and data: left out."""
        import json

        messages = [json.loads(each["message"]) for each in self.driver.get_log("performance")]
        asked = [
            each["message"]["params"]["request"]["url"]
            for each in messages
            if each["message"]["method"] == "Network.requestWillBeSent"
        ]
        return [each for each in asked if not each.startswith(("data:", self.driver.current_url))]


@contextlib.contextmanager
def opened(driver, path):
    """A Page that by the end has logged no error and asked for nothing."""
    page = Page(driver, path)
    yield page
    assert page.errors() == []
    assert page.requests() == []


def driver(binaries, width_px=1280):
    """A selenium driver of a headless Chromium that logs its console and its network."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, chromedriver = binaries
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        f"--window-size={width_px},900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(chromedriver))
