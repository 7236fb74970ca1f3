"""A module that says it imports no TensorFlow imports none: each is imported on its own."""

import re
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

_CLAIM = re.compile(
    r"imports? no tensorflow|no tensorflow is imported|without (?:importing )?tensorflow"
    r"|tensorflow is not imported|imports nothing heavy",
    re.IGNORECASE,
)
_ALONE = "import sys, {module}; sys.exit('tensorflow' in sys.modules)"


def _claiming():
    """Modules of the kit whose docstring makes the claim, and rooms of which README does."""
    for room in ("replicate", "tfrecords"):
        for path in sorted((PROJECT / room).rglob("*.py")):
            docstring = path.read_text(encoding="utf-8").split('"""')[1:2]
            if docstring and _CLAIM.search(docstring[0]):
                parts = path.relative_to(PROJECT).with_suffix("").parts
                yield ".".join(part for part in parts if part != "__init__")


# Rooms of which WORKSPACE_NOTES.md or a page of docs/ says so.
_OF_DOCUMENTS = ("replicate.doctor", "replicate.zoo", "replicate.devices", "replicate.weights")
CLAIMING = sorted({*_claiming(), *_OF_DOCUMENTS})


def test_the_claims_are_found():
    assert {"replicate.config", "replicate.preflight", "tfrecords"} <= set(CLAIMING)


@pytest.mark.parametrize("module", CLAIMING)
def test_it_imports_none(module):
    done = subprocess.run(
        [sys.executable, "-c", _ALONE.format(module=module)], cwd=PROJECT, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode() or f"{module} imports TensorFlow"
