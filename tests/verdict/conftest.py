"""No test sees the official files that someone's cache folder remembers."""

import pytest


@pytest.fixture(autouse=True)
def _no_remembered_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))
