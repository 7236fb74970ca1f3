"""Records and label map of a run are found from any folder, and after the run was moved."""

import pytest

from replicate.config import placed


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run in PROJECT/runs/a, the working directory elsewhere."""
    folder = tmp_path / "project" / "runs" / "a"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "train-00000-of-00001.tfrecord").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return folder


def test_relative_to_a_folder_above_the_config(run):
    records = run.parents[1] / "tfrecords"
    records.mkdir()
    (records / "train-00000-of-00002").touch()
    assert placed("tfrecords/train-*", run) == str(records / "train-*")
    expected = str(run / "data" / "train-?????-of-00001.tfrecord")
    assert placed("runs/a/data/train-?????-of-00001.tfrecord", run) == expected


def test_what_the_working_directory_has_comes_first(run, monkeypatch):
    monkeypatch.chdir(run.parents[1])
    pattern = "runs/a/data/train-*"
    assert placed(pattern, "runs/a") == pattern


def test_a_moved_run(run):
    moved = run.rename(run.with_name("b"))
    expected = str(moved / "data" / "train-*")
    assert placed(f"{run}/data/train-*", moved) == expected


def test_what_is_nowhere_stays_as_it_is(run):
    for named in ("/nowhere/val-*", "nowhere/label_map.pbtxt", ""):
        assert placed(named, run) == named
    assert placed("data/train-*", None) == "data/train-*"
