"""Fixtures that several rooms' tests share."""

import os
import pathlib
import signal

import pytest

from replicate import contracts
from tfrecords import manifest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


def pytest_configure():
    """Ctrl-C's signal as a terminal leaves it; every file of the kit is held against its contract.

    Started in the background by a script, pytest inherits the signal ignored, and hands that on to
    every tool that a test interrupts. The tools inherit the checking of the contracts likewise.
    """
    os.environ[contracts.CHECKED] = "1"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared():
    """The folder of reference material beside the checkout; tests that need it skip without it."""
    if not (SHARED / "README.md").exists():
        pytest.skip(f"needs the reference material in {SHARED}, which is not part of the project")
    return SHARED


@pytest.fixture(scope="module")
def driver():
    """A headless Chromium; see `tests.report.browsing`."""
    from tests.report import browsing

    made = browsing.driver(browsing.binaries())
    yield made
    made.quit()


@pytest.fixture(scope="session", autouse=True)
def conversions_are_checked():
    """Manifests and ledgers, which `tfrecords` writes without knowing of contracts, are too."""
    write, write_ledger = manifest.write, manifest.write_ledger

    def checked(output_path, made, *rest):
        contracts.checked("manifest", made)
        write(output_path, made, *rest)

    def checked_lines(output_path, entries, *rest):
        entries = [contracts.checked("ledger_line", each) for each in entries]
        write_ledger(output_path, entries, *rest)

    manifest.write, manifest.write_ledger = checked, checked_lines
    yield
    manifest.write, manifest.write_ledger = write, write_ledger
