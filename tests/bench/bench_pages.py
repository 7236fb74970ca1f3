"""How long the report's pages take in a browser, with 5,000 images and with 50 runs.

    python tests/bench/bench_pages.py

Makes a drawn run, then pages far larger than it, and prints what a reader waits for: loading,
moving the confidence slider, turning a gallery page, filtering and sorting the table of runs.
"""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from replicate import report
from replicate.run import read_json
from tests.report import browsing, crowds, making

_SLIDE = (
    "for (const value of [0.2, 0.5, 0.8]) {const e = document.querySelector('#gallery-score'); "
    "e.value = value; e.dispatchEvent(new Event('input', {bubbles: true}));}"
)
_TURN = "document.querySelector('#gallery-next').click()"
_CLASS = (
    "const e = document.querySelector('#gallery-category'); e.value = '1'; "
    "e.dispatchEvent(new Event('input', {bubbles: true}))"
)
_OF = (
    "const e = document.querySelector('#gallery-{}'); e.value = '{}'; "
    "e.dispatchEvent(new Event('input', {{bubbles: true}}))"
)
_FILTER = (
    "const e = document.querySelector('#runs-words'); e.value = '{}'; "
    "e.dispatchEvent(new Event('input', {{bubbles: true}}))"
)
# The curves' axes follow the filter in a task of their own.
_CURVES = "fitCurves(new Set(shownRuns()))"
_SORT = "document.querySelectorAll('#runs-table thead button')[3].click()"
_LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run = making.run_directory(folder / "run", *making.groundtruth(folder / "data", images=16))
        report.write(run)
        told = read_json(run.report / "report.json")
        driver = browsing.driver(browsing.binaries())
        try:
            images = crowds.page_of_images(told, 5000, folder / "images.html")
            _print(
                driver,
                images,
                {
                    "slider (3 moves)": _SLIDE,
                    "next": _TURN,
                    "class": _CLASS,
                    "size": _OF.format("size", "small"),
                    "error kind": _OF.format("error", "Cls"),
                    "order by missed": _OF.format("sort", "missed"),
                },
            )
            runs = crowds.page_of_runs(run, 50, folder / "runs.html")
            _print(
                driver,
                runs,
                {
                    "slider (3 moves)": _SLIDE,
                    "filter, 11 shown": _FILTER.format("run-4"),
                    "curves, 11 shown": _CURVES,
                    "filter, all shown": _FILTER.format(""),
                    "curves, all shown": _CURVES,
                    "sort": _SORT,
                },
            )
        finally:
            driver.quit()


def _print(driver, path, scripts):
    page = browsing.Page(driver, path)
    print(f"{path.stem}: {path.stat().st_size / 1e6:.1f} MB, loaded in {page.run(_LOADED):.0f} ms")
    for name, script in scripts.items():
        print(f"  {name:18} {page.milliseconds(script):7.1f} ms")


if __name__ == "__main__":
    main()
