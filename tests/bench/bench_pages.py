"""How long the report's pages take in a browser, with 5,000 images and with 50 runs.

    python tests/bench/bench_pages.py

Makes a drawn run, then pages far larger than it, and prints what a reader waits for: loading,
moving the confidence slider, turning a gallery page, filtering and sorting the table of runs. Pages
are to be loaded within 2 s and to answer within 100 ms. The peer of loading is a page without
script or picture that has the same values as plain text, loaded in turns with ours: the ratio, with
its 95 % interval, is what script and gallery cost. Exit status 1 where every turn misses a goal;
where some do, the run cannot tell. Without Chromium nothing is measured, and that is said.
"""

import html
import pathlib
import re
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from replicate import report
from replicate.run import read_json
from tests.bench import paired
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


TURNS = 5
LOADED_MS, ANSWERED_MS = 2000.0, 100.0


def main():
    binaries = browsing._found()
    if not binaries:
        print("not measured: no Chromium with its chromedriver (Debian: chromium-driver)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run = making.run_directory(folder / "run", *making.groundtruth(folder / "data", images=16))
        report.write(run)
        told = read_json(run.report / "report.json")
        driver = browsing.driver(binaries)
        try:
            answers = _measure(
                driver,
                crowds.page_of_images(told, 5000, folder / "images.html"),
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
            scripts = {
                "slider (3 moves)": _SLIDE,
                "filter, 11 shown": _FILTER.format("run-4"),
                "curves, 11 shown": _CURVES,
                "filter, all shown": _FILTER.format(""),
                "curves, all shown": _CURVES,
                "sort": _SORT,
            }
            answers += _measure(driver, runs, scripts)
        finally:
            driver.quit()
    return 1 if paired.MISSED in answers else 0


def _measure(driver, path, scripts):
    """Prints a page's figures; what each says of its goal."""
    bare = _without_scripts(path)
    loaded = {path: [], bare: []}
    answered = {name: [] for name in scripts}
    for turn in range(TURNS + 1):  # the first warms the browser
        for each, milliseconds in loaded.items():
            page = browsing.Page(driver, each)
            milliseconds += [page.run(_LOADED)] if turn else []
            if each == path:
                for name, script in scripts.items():
                    answered[name] += [page.milliseconds(script)] if turn else []
    ratios = [plain / ours for ours, plain in zip(*loaded.values(), strict=True)]
    print(f"{path.stem}: {path.stat().st_size / 1e6:.1f} MB, in {TURNS} turns")
    answers = [_told("loaded", loaded[path], LOADED_MS)]
    print(f"    as fast as a page without scripts: {paired.text(ratios)}")
    for name, milliseconds in answered.items():
        moves = 3 if "3 moves" in name else 1
        answers.append(_told(name, milliseconds, moves * ANSWERED_MS))
    return answers


def _told(name, milliseconds, goal_ms):
    """Prints the median; what the turns say of the goal."""
    answer = paired.CANNOT_TELL
    if max(milliseconds) <= goal_ms:
        answer = paired.REACHED
    elif min(milliseconds) > goal_ms:
        answer = paired.MISSED
    spread = f"{min(milliseconds):.1f} to {max(milliseconds):.1f}"
    print(
        f"  {name:18} {statistics.median(milliseconds):7.1f} ms ({spread}; "
        f"goal {goal_ms:.0f}: {answer})",
        flush=True,
    )
    return answer


def _without_scripts(path):
    """The page's values as plain text: what its scripts hold but pictures, and no script."""
    text = re.sub(r"data:image[^\"')]*", "", path.read_text(encoding="utf-8"))
    held = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    lines = (f"<p>{html.escape(line)}</p>" for each in held for line in each.split("},"))
    bare = path.with_name(f"{path.stem}-bare.html")
    whole = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    bare.write_text(whole.replace("</body>", "\n".join(lines) + "</body>"), encoding="utf-8")
    return bare


if __name__ == "__main__":
    sys.exit(main())
