"""A slice of the Object Detection API's own tests; `make test-odapi` runs them all."""

import subprocess
import sys

import pytest

from tests.conftest import PROJECT
from tests.odapi import api_suite


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_slice_of_the_apis_own_tests_passes():
    done = subprocess.run(
        [sys.executable, "-m", "tests.odapi.api_suite", "--slice"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (sums,) = (line for line in done.stdout.splitlines() if line.startswith("| all "))
    _, files, passed, _, _ = (cell.strip() for cell in sums.strip("|").split("|"))
    assert int(files) == len(api_suite.files(api_suite.KNOWN["slice"]))
    assert int(passed) > 100


def test_every_entry_of_the_list_names_something():
    every = [path.relative_to(api_suite.package()) for path in api_suite.package().rglob("*.py")]
    for glob in [*api_suite.KNOWN["left_out"], *api_suite.KNOWN["fails"]]:
        assert any(path.match(glob.partition("::")[0]) for path in every), glob
    for path in api_suite.KNOWN["slice"]:
        assert (api_suite.package() / path).exists(), path
