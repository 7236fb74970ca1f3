"""Unpacking: complete, resumable, and never outside the folder."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import os
import stat
import tarfile
import threading
import zipfile
from types import SimpleNamespace

import pytest

from tfrecords import archives, coco_download, fetch
from tfrecords.errors import InputError

FILES = {"val/a.jpg": b"A" * 5000, "val/b.jpg": b"B" * 70, "val/ünïcode 图.jpg": b"C"}


def make_zip(path, files, links=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")


def make_tar(path, files, links=()):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)


KINDS = {"archive.zip": make_zip, "archive.tar.gz": make_tar}


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(params=KINDS)
def archive(request, tmp_path):
    return tmp_path / request.param, KINDS[request.param]


def test_unpacks_every_file(archive, tmp_path):
    path, make = archive
    make(path, FILES)
    assert archives.extract(path, tmp_path / "out", progress=False) == 3
    assert tree(tmp_path / "out") == FILES


def test_continues_where_it_was_stopped(archive, tmp_path):
    path, make = archive
    make(path, FILES)
    archives.extract(path, tmp_path / "out", progress=False)
    (tmp_path / "out/val/b.jpg").unlink()
    (tmp_path / "out/val/a.jpg").write_bytes(b"A" * 10)  # as a crash may leave it
    untouched = tmp_path / "out/val/ünïcode 图.jpg"
    before = untouched.stat().st_mtime_ns
    archives.extract(path, tmp_path / "out", progress=False)
    assert tree(tmp_path / "out") == FILES
    assert untouched.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "name",
    ["../outside", "val/../../outside", "/tmp/outside", "C:/outside", "val\\..\\..\\outside"],
)
def test_names_that_leave_the_folder(name, archive, tmp_path):
    path, make = archive
    make(path, FILES | {name: b"evil"})
    with pytest.raises(InputError, match="leaves the folder") as raised:
        archives.extract(path, tmp_path / "deep/out", progress=False)
    assert str(path) in str(raised.value) and "outside" in str(raised.value)
    assert os.listdir(tmp_path) == [path.name]  # nothing was unpacked, not even the good names


def test_links_are_refused(archive, tmp_path):
    path, make = archive
    make(path, FILES, links=["val/link.jpg"])
    with pytest.raises(InputError, match="holds a link, 'val/link.jpg'"):
        archives.extract(path, tmp_path / "out", progress=False)
    assert os.listdir(tmp_path) == [path.name]


def test_truncated_archive(archive, tmp_path):
    path, make = archive
    make(path, {"val/a.jpg": os.urandom(100_000)})
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(InputError, match="cut off, damaged or not an archive"):
        archives.extract(path, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists() or tree(tmp_path / "out") == {}


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"no tar" * 1000, mtime=0)])
def test_what_is_no_archive_is_told_in_one_line(content, tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match="not an archive") as told:
        archives.extract(tmp_path / "a.tar.gz", tmp_path / "out", progress=False)
    assert "\n" not in str(told.value)


def test_damaged_content_is_not_kept(tmp_path):
    content = b"0123456789" * 100
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("val/a.jpg", content)
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780", 1))
    with pytest.raises(InputError, match="Bad CRC-32"):
        archives.extract(path, tmp_path / "out", progress=False)
    assert tree(tmp_path / "out") == {}


def test_no_free_space(archive, tmp_path, monkeypatch):
    path, make = archive
    make(path, FILES)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=2000))
    with pytest.raises(InputError, match="unpacking .* needs"):
        archives.extract(path, tmp_path / "out", progress=False)
    assert os.listdir(tmp_path) == [path.name]


@pytest.fixture
def mirror(tmp_path):
    """A local mirror that holds a small 'val2017' archive, its URL, and the split's description."""
    root = tmp_path / "www"
    (root / "zips").mkdir(parents=True)
    make_zip(root / "zips/val2017.zip", {f"val2017/{n}.jpg": bytes([n]) * 900 for n in range(9)})
    data = (root / "zips/val2017.zip").read_bytes()
    split = dataclasses.replace(
        coco_download.SPLITS["val2017"],
        size=len(data),
        checksum="md5:" + hashlib.md5(data).hexdigest(),
        files=9,
    )

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", split
        server.shutdown()


def test_a_split_is_downloaded_unpacked_and_found_again(mirror, tmp_path):
    url, split = mirror
    folder = coco_download.get(split, tmp_path / "coco", base_url=url, progress=False)
    assert folder == tmp_path / "coco/val2017"
    assert tree(tmp_path / "coco") == {f"val2017/{n}.jpg": bytes([n]) * 900 for n in range(9)}
    # found: nobody is asked
    assert coco_download.get(split, tmp_path / "coco", base_url="http://x", progress=False)


def test_a_split_that_lacks_files(mirror, tmp_path):
    url, split = mirror
    split = dataclasses.replace(split, files=10)
    with pytest.raises(InputError, match=r"does not hold 10 files \*\.jpg"):
        coco_download.get(split, tmp_path / "coco", base_url=url, progress=False)


def test_space_for_a_split_is_asked_for_first(mirror, tmp_path, monkeypatch):
    url, split = mirror
    monkeypatch.setattr(
        fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * split.size - 1)
    )
    with pytest.raises(InputError, match=r"val2017\.zip and what is in it needs"):
        coco_download.get(split, tmp_path / "coco", base_url=url, progress=False)
    assert not (tmp_path / "coco").exists()
