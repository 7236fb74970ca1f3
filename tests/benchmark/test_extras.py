"""The tests of optional adapters, run by the environment that has what they need.

The kit's own environment stays without: there these tests are skipped. `make test` builds
build/extras, which lies over it; REPLICATE_EXTRAS_PYTHON names another one.
"""

import pathlib
import re
import subprocess

import pytest

from tests.other_pythons import python_with

PROJECT = pathlib.Path(__file__).resolve().parents[2]
NEEDS = ("onnx", "onnxruntime", "supervision", "tf2onnx")


@pytest.fixture(scope="module")
def python():
    """A Python with the optional libraries."""
    return python_with("ONNX and supervision", "extras")


def _ran(python, *arguments):
    done = subprocess.run(
        [python, "-m", "pytest", "-p", "no:xdist", "-q", "-rs", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    last = done.stdout.strip().splitlines()[-1]
    assert "skipped" not in last, done.stdout[-3000:]
    return int(re.search(r"(\d+) passed", last)[1])


def test_it_has_what_they_need(python):
    imported = f"import {', '.join(NEEDS)}; print('all there')"
    done = subprocess.run([python, "-c", imported], capture_output=True, text=True)
    assert "all there" in done.stdout, done.stderr[-2000:]


@pytest.mark.timeout(600)
def test_detectors_of_other_frameworks(python):
    files = ("test_supervision.py", "test_onnx.py", "test_another_python.py")
    assert _ran(python, *(f"tests/benchmark/{name}" for name in files)) > 30


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_onnx_form(python):
    assert _ran(python, "-m", "slow", "tests/export/test_forms.py", "-k", "other_forms") == 1
