"""A slice of every kind of fault, by chance that repeats; `long_run` has the rest."""

import pytest

from replicate.demo import drawing
from tests.faults import long_run, series
from tests.faults.tools import Figures


def assert_survived(figures, least):
    assert figures.injected >= least
    assert figures.clean(), "\n".join(figures.notes)


def test_conversions_stopped_at_any_moment(tools, tmp_path):
    assert_survived(series.conversions_stopped(tools, tmp_path, faults=6), 6)


def test_reports_stopped_at_any_moment(tools, finished, tmp_path):
    assert_survived(series.reports_stopped(tools, finished, tmp_path, faults=3), 3)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files(tools, finished, tmp_path, seed):
    """Ten files of a run, damaged; each of five tools gives a message or its right numbers."""
    found = series.damages(tools, finished, tmp_path, series.readers(), faults=3, seed=seed)
    assert_survived(found, 15)


def test_no_room_for_a_file(tools, drawn, finished, tmp_path):
    writers = series.writers(drawn, finished)
    some = {name: writers[name] for name in ("conversion", "score", "voc")}
    assert_survived(series.no_room(tools, tmp_path, some, (0, 4096)), 6)


def test_full_and_read_only_disks(tools, drawn, finished, tmp_path):
    figures = series.full_disks(tools, tmp_path, series.writers(drawn, finished))
    if not figures.injected:
        pytest.skip("a small file system cannot be mounted here")
    assert_survived(figures, 12)


def test_two_of_everything_at_once(tools, drawn, finished, tmp_path):
    assert_survived(series.two_at_once(tools, tmp_path, series.writers(drawn, finished)), 6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_replications_stopped_at_any_moment(tools, tmp_path):
    data = drawing.draw(tmp_path / "drawn", train_images=12, val_images=4)
    command, whole = long_run.replication(data), tmp_path / "whole"
    seconds = series.undisturbed(tools, command(whole))
    found = series.replications_stopped(tools, whole, seconds, tmp_path, command, faults=4)
    assert_survived(found, 4)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_damaged_half_trained_run_is_continued(tools, tmp_path):
    """An emptied checkpoint that is not the last, one whose index is null, a lost ledger."""
    command = long_run.replication(drawing.draw(tmp_path / "drawn", train_images=12, val_images=4))
    whole, half, folder = (tmp_path / name for name in ("whole", "half", "folder"))
    folder.mkdir()
    series.undisturbed(tools, command(whole))
    series.half_done(tools, command(half), half, "ckpt-4")
    pairs = [
        ("checkpoints/ckpt-2.data-00000-of-00001", "empty"),
        ("checkpoints/ckpt-4.index", "null"),
        ("data/dropped-train.jsonl", "missing"),
    ]
    found = series.damages_continued(tools, whole, half, folder, command, pairs=pairs)
    assert_survived(found, 3)
    assert sorted(found.kinds) == ["empty, continued", "missing, continued", "null, continued"]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_long_run(tmp_path):
    found = long_run.run(tmp_path, 2, long_run.SIZES)
    assert found["all"].clean(), "\n".join(found["all"].notes)


def test_what_was_not_survived_is_counted():
    """The figures can say no: a traceback, a changed result, a partial file, lost work each do."""
    for fault in ({"traceback": True}, {"changed": True}, {"partial": 2}, {"lost": 7}):
        figures = Figures()
        figures.fault("a")
        assert figures.clean()
        figures.fault("b", **fault)
        assert not figures.clean() and figures.notes == ["b"]
        ended = Figures()
        ended.fault("a")
        ended.end("c", **fault)
        assert not ended.clean() and (ended.injected, ended.survived) == (1, 0)
