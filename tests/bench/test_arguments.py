"""A mistake in a benchmark's command line ends with 2 and one message; 1 is a missed target's."""

import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("input --images=4", "4 is below 8"),
        ("input --turns=0", "0 is below 1"),
        ("input --recipes=nosuch", "unknown zoo model 'nosuch'"),
        ("input --records=/nonexist", "no file matches /nonexist"),
        ("input --records=pyproject.toml", "--records and --label_map go together"),
        ("evaluate --images=0", "0 is below 1"),
        ("evaluate --images_from=foo", "'foo' is not ANNOTATIONS:FOLDER"),
        ("evaluate --images_from=foo:bar", "foo is not a file"),
        ("train --batch_size=0", "0 is below 1"),
        ("train --sides=ours", "invalid choice"),
        ("diff --turns=0", "0 is below 1"),
        ("score --images=many", "invalid"),
    ],
)
def test_a_mistake_ends_with_two(command, said):
    name, *flags = command.split()
    done = _run(name, *flags)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr.splitlines()[-1] or said in done.stderr.splitlines()[-2]


def test_help_names_each_choice_of_sides_once():
    told = _run("train", "--help").stdout
    assert "{" not in told
    assert "ours,theirs, or theirs,theirs" in told


def _run(name, *flags):
    command = [sys.executable, FOLDER / f"bench_{name}.py", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parents[1])
