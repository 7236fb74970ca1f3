"""Fixtures that several rooms' tests share."""

import pathlib

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


@pytest.fixture(scope="session")
def shared():
    """The folder of reference material beside the checkout; tests that need it skip without it."""
    if not (SHARED / "README.md").exists():
        pytest.skip(f"needs the reference material in {SHARED}, which is not part of the project")
    return SHARED
