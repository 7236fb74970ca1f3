"""The other side's own code, in an environment of its own (requirements-publish.txt)."""

import os
import pathlib
import subprocess

import pytest

from tests.conftest import PROJECT

_NAMED = "REPLICATE_PUBLISH_PYTHON"


def python():
    """That environment's Python, or a skip that says how it is made."""
    named = os.environ.get(_NAMED)
    path = pathlib.Path(named) if named else PROJECT / "build" / "publish" / "bin" / "python"
    if not path.exists():
        pytest.skip(f"needs an environment of its own: make venv-publish, or name it by {_NAMED}")
    return path


def run(code, *arguments):
    """Runs code there: (exit status, what it printed)."""
    command = [python(), "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr
