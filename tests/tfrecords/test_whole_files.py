"""Files appear whole or not at all."""

import os
import re
import signal
import subprocess
import sys

import pytest

from tfrecords import whole_files
from tfrecords.whole_files import written_whole


def names(folder):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("sync", (True, False))
def test_appears_at_the_end_of_the_block(tmp_path, sync):
    path = tmp_path / "made" / "with it" / "file.txt"
    with written_whole(path, sync=sync) as file:
        file.write("Ä\n")
        assert not path.exists()
        (partial,) = path.parent.iterdir()
        assert str(os.getpid()) in partial.name
    assert names(path.parent) == ["file.txt"] and path.read_bytes() == "Ä\n".encode()


def test_an_exception_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), written_whole(path, "wb") as file:
        file.write(b"after")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["file"] and path.read_bytes() == b"before"


def test_on_the_disk_before_it_appears(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append((tmp_path / "file").exists()))
    for sync in (True, False):
        with written_whole(tmp_path / "file", "wb", sync=sync) as file:
            file.write(b"x")
    assert synced == [False]


def test_a_temporary_folder_of_a_dead_process_goes_with_the_next(tmp_path):
    """Killed, it leaves its folder; the next start of its kind removes that, and no other's."""
    script = """
import os, signal, sys
from tfrecords.whole_files import temporary_folder
folder = temporary_folder("preflight-", sys.argv[1])
(folder / "ckpt-1.data").write_bytes(b"0" * 1000)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert ended.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    mine = whole_files.temporary_folder("inspect-", tmp_path)
    assert left.exists()  # of another kind
    first = whole_files.temporary_folder("preflight-", tmp_path)
    second = whole_files.temporary_folder("preflight-", tmp_path)  # a living process's stays
    assert sorted(tmp_path.iterdir()) == sorted([mine, first, second])


def test_the_trials_folder_is_of_that_kind(tmp_path, monkeypatch):
    from replicate.preflight.standby import Standby

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Standby() as standby:
        folder = standby.folder()
        assert re.fullmatch(r"\.preflight-.*\.\d+\.partial", folder.name) and folder.is_dir()
    assert not list(tmp_path.iterdir())
