"""A drawn data set and a run directory on it, made once."""

import shutil

import pytest

from replicate import report
from tests.report import making

# What outside data may hold: it must be shown, never run.
HOSTILE = "<script>document.title='run'</script>"


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """(annotations_file, image_dir) of 16 drawn images; one category has a hostile name."""
    folder = tmp_path_factory.mktemp("drawn")
    return making.groundtruth(folder, images=16, names=("disc", HOSTILE, "tri|angle"))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, drawn):
    """RunDir of a whole run with its report; not to be changed."""
    run = making.run_directory(tmp_path_factory.mktemp("runs") / "finished", *drawn)
    report.write(run)
    return run


@pytest.fixture
def run(tmp_path, finished_run):
    """A copy of the run directory, without its report, for a test to break."""
    root = tmp_path / "run"
    shutil.copytree(finished_run.root, root, ignore=shutil.ignore_patterns("report"))
    return type(finished_run)(root)
