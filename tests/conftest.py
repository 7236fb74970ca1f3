"""Fixtures that several rooms' tests share."""

import pathlib
import signal

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


def pytest_configure():
    """Ctrl-C's signal as a terminal leaves it.

    Started in the background by a script, pytest inherits it ignored, and hands that on to every
    tool that a test interrupts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared():
    """The folder of reference material beside the checkout; tests that need it skip without it."""
    if not (SHARED / "README.md").exists():
        pytest.skip(f"needs the reference material in {SHARED}, which is not part of the project")
    return SHARED
