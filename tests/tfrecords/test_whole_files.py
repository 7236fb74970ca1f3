"""Files appear whole or not at all."""

import os

import pytest

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
