"""axe-core, fetched from npm once into a folder of the tests' own; never part of the kit."""

import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import pytest

VERSION = "4.14.1"


def script():
    """The text of axe.min.js; skips the test with the reason where it cannot be had."""
    folder = pathlib.Path(tempfile.gettempdir()) / f"axe-core-{VERSION}"
    kept = folder / "package" / "axe.min.js"
    if not kept.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core: no npm here to fetch it with")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "pack", f"axe-core@{VERSION}", "--silent"],
            cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        archive = folder / f"axe-core-{VERSION}.tgz"
        if done.returncode or not archive.is_file():
            pytest.skip(f"axe-core: npm pack gave {done.stderr.strip()[-200:] or 'no archive'}")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    return kept.read_text(encoding="utf-8")


def serious(page, theme):
    """Serious and critical violations of the page in a theme: list of sentences.

    Colour transitions and what is folded away are tested as they stand; axe runs by the browser's
    own protocol, which the page's content security policy does not bind.
    """
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": theme}]},
    )
    try:
        page.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": script()})
        found = page.driver.execute_cdp_cmd(
            "Runtime.evaluate",
            {
                "expression": "axe.run().then((r) => r.violations"
                ".filter((v) => ['serious', 'critical'].includes(v.impact))"
                ".map((v) => `${v.id}: ${v.help}: ` + v.nodes.slice(0, 4)"
                ".map((n) => n.target + ' ' + (n.any[0]?.message ?? '')).join(' | ')))",
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    return found["result"]["value"]
