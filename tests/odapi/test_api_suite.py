"""A slice of the Object Detection API's own tests; `make test-odapi` runs them all."""

import json
import sys

import pytest

from tests.odapi import api_suite


def suite(monkeypatch, *arguments):
    """The exit status of `python -m tests.odapi.api_suite ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["api_suite", *map(str, arguments)])
    return api_suite.main()


@pytest.mark.timeout(3600)
def test_a_slice_of_the_apis_own_tests_passes(monkeypatch, capfd):
    status = suite(monkeypatch, "--slice")
    shown = capfd.readouterr()
    assert status == 0, shown.out + shown.err
    (sums,) = (line for line in shown.out.splitlines() if line.startswith("| all "))
    _, files, passed, _, _ = (cell.strip() for cell in sums.strip("|").split("|"))
    assert int(files) == len(api_suite.files(api_suite.KNOWN["slice"]))
    assert int(passed) > 300


def test_results_are_kept_and_a_failure_that_is_not_listed_is_told(monkeypatch, capfd, tmp_path):
    path = "box_coders/square_box_coder_test.py"
    assert suite(monkeypatch, f"--kept={tmp_path}", path) == 0
    assert "| box_coders | 1 | 5 | 1 | 0 |" in capfd.readouterr().out
    (kept,) = tmp_path.rglob("*_test.py.json")
    results = json.loads(kept.read_text())
    test = next(test for test, outcome in results.items() if outcome == "passed")
    kept.write_text(json.dumps({**results, test: "failed"}))
    assert suite(monkeypatch, f"--kept={tmp_path}", path) == 1
    shown = capfd.readouterr().out
    assert "| box_coders | 1 | 4 | 1 | 1 |" in shown
    assert f"investigate**: `{test}`" in shown


def test_a_listed_failure_that_passes_is_told(monkeypatch, capfd):
    listed = next(iter(api_suite.FAILS))
    monkeypatch.setattr(api_suite, "run", lambda paths, folder: {listed: "passed"})
    assert suite(monkeypatch) == 1
    assert f"take it out of api_suite.json: {listed}" in capfd.readouterr().err
    monkeypatch.setattr(api_suite, "run", lambda paths, folder: {listed: "failed"})
    assert suite(monkeypatch) == 0
    assert api_suite.FAILS[listed] in capfd.readouterr().out


def test_every_entry_of_the_list_names_something():
    for name in [*api_suite.LEFT_OUT, *api_suite.FAILS, *api_suite.KNOWN["slice"]]:
        path, _, test = name.partition("::")
        assert (api_suite.package() / path).exists(), name
        if test:
            assert test.rpartition("::")[2] in (api_suite.package() / path).read_text(), name
