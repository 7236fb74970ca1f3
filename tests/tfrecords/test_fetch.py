"""Downloads against a local server that misbehaves."""

import hashlib
import http.server
import os
import random
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from tfrecords import fetch
from tfrecords.errors import InputError

CONTENT = random.Random(7).randbytes(3_000_000)
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`; the attributes say how it misbehaves, `log` what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.etag = CONTENT, '"v1"'
        self.cut_after = None  # bytes of body after which a connection is closed
        self.cuts = 0  # how many connections are cut
        self.ranges = True
        self.statuses = []  # answered first, one a request
        self.busy_after = None  # requests after which the answer is 503
        self.wrong_start = 0  # added to the first byte of ranges
        self.length_header = True
        self.log = []

    def handle_error(self, request, client_address):
        pass  # a client that goes away, as one that refuses the offered size does

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.log.append(asked)
        busy = server.busy_after is not None and len(server.log) > server.busy_after
        if server.statuses or busy:
            self.send_response(503 if busy else server.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first = 0
        if asked and server.ranges and self.headers.get("If-Range") == server.etag:
            first = int(re.match(r"bytes=(\d+)-$", asked)[1]) + server.wrong_start
        body = server.content[first:]
        self.send_response(206 if first else 200)
        if first:
            end, total = len(server.content) - 1, len(server.content)
            self.send_header("Content-Range", f"bytes {first}-{end}/{total}")
        if server.length_header:
            self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            body = body[: server.cut_after]
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def get(server, path, **options):
    defaults = {"size": len(CONTENT), "checksum": MD5, "wait_s": 0.001, "progress": False}
    return fetch.fetch(server.url, path, **(defaults | options))


# what is asked of the server: (its behaviour, the options, the ranges it must have been asked for)
ARRIVES = {
    "plain": ({}, {}, [None]),
    "sha256": ({}, {"checksum": SHA256}, [None]),
    "size unknown": ({}, {"size": None}, [None]),
    "checksum unknown": ({}, {"checksum": None}, [None]),
    "no length header": ({"length_header": False}, {}, [None]),
    "cut once": (
        {"cut_after": 1_000_000, "cuts": 1},
        {},
        [None, "bytes=1000000-"],
    ),
    "cut twice": (
        {"cut_after": 1_000_000, "cuts": 2},
        {},
        [None, "bytes=1000000-", "bytes=2000000-"],
    ),
    "cut more often than attempts, with progress each time": (
        {"cut_after": 500_000, "cuts": 5},
        {"attempts": 2},
        [None, *(f"bytes={n}00000-" for n in (5, 10, 15, 20, 25))],
    ),
    "cut, then ranges ignored: from the start again": (
        {"cut_after": 1_000_000, "cuts": 1, "ranges": False},
        {},
        [None, "bytes=1000000-"],
    ),
    "cut, without a version to continue": (
        {"cut_after": 1_000_000, "cuts": 1, "etag": ""},
        {},
        [None, None],
    ),
    "busy at first": ({"statuses": [503, 429, 500]}, {}, [None, None, None, None]),
}


@pytest.mark.parametrize("case", ARRIVES)
def test_arrives_in_spite_of(case, server, tmp_path):
    behaviour, options, asked = ARRIVES[case]
    for name, value in behaviour.items():
        setattr(server, name, value)
    path = get(server, tmp_path / "new" / "file.bin", **options)
    assert path.read_bytes() == CONTENT
    assert server.log == asked
    assert os.listdir(path.parent) == ["file.bin"]


REFUSED = {
    "not found": ({"statuses": [404]}, {}, "HTTP 404"),
    "another size offered": ({}, {"size": 5}, "offers 3000000 bytes, 5 are expected"),
    "wrong bytes": ({"content": CONTENT[:-1] + b"\0"}, {}, "its md5 is"),
    "wrong bytes, sha256": ({"content": b"\0" + CONTENT[1:]}, {"checksum": SHA256}, "its sha256"),
    "always busy": ({"statuses": [503] * 9}, {"attempts": 3}, "after 3 attempts"),
    "short, without a length header": (
        {"content": CONTENT[:10], "length_header": False, "etag": ""},
        {"attempts": 2},
        "ended after 10 of 3000000 bytes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_without_a_file(case, server, tmp_path):
    behaviour, options, message = REFUSED[case]
    for name, value in behaviour.items():
        setattr(server, name, value)
    with pytest.raises(InputError, match=message) as raised:
        get(server, tmp_path / "file.bin", **options)
    assert server.url in str(raised.value)
    assert not (tmp_path / "file.bin").exists()


def test_wrong_bytes_leave_nothing_to_continue(server, tmp_path):
    server.content = bytes(len(CONTENT))
    with pytest.raises(InputError):
        get(server, tmp_path / "file.bin")
    assert os.listdir(tmp_path) == []
    server.content = CONTENT
    assert get(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_second_call_continues_the_first(server, tmp_path):
    server.cut_after, server.cuts = 1_000_000, 1
    server.busy_after = 1
    with pytest.raises(InputError, match="file.bin.part; run the same command to continue"):
        get(server, tmp_path / "file.bin", attempts=2)
    assert (tmp_path / "file.bin.part").stat().st_size == 1_000_000
    server.busy_after, server.log = None, []
    assert get(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.log == ["bytes=1000000-"]


def test_of_what_has_not_arrived_nothing_is_said_to_stay(server, tmp_path):
    server.busy_after = 0
    with pytest.raises(InputError, match="Run the same command to continue") as caught:
        get(server, tmp_path / "file.bin", attempts=2)
    assert "stays" not in str(caught.value) and os.listdir(tmp_path) == []


@pytest.mark.parametrize("change", ["etag", "url"])
def test_another_version_is_not_continued(change, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(bytes(1_000_000))  # of what was there before
    noted = {"etag": (server.url, '\\"v0\\"'), "url": ("http://elsewhere/file.bin", '\\"v1\\"')}
    url, version = noted[change]
    (tmp_path / "file.bin.part.json").write_text(f'{{"url": "{url}", "version": "{version}"}}')
    assert get(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_range_from_elsewhere_is_not_appended(server, tmp_path):
    server.cut_after, server.cuts, server.wrong_start = 1_000_000, 1, 5
    assert get(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.log == [None, "bytes=1000000-", None]


def test_a_finished_download_is_not_repeated(server, tmp_path):
    get(server, tmp_path / "file.bin")
    get(server, tmp_path / "file.bin")
    assert server.log == [None]


def test_a_foreign_file_under_the_name_is_named_and_kept(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already, but it has 4 bytes"):
        get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == b"mine"


def test_no_free_space_is_told_before_the_first_byte(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=2000))
    with pytest.raises(InputError, match=r"needs 0\.00 GB, 0\.00 GB are free"):
        get(server, tmp_path / "file.bin")
    assert os.listdir(tmp_path) == []


def test_nobody_listens(tmp_path):
    with Server() as closed:
        url = closed.url
    with pytest.raises(InputError, match="after 2 attempts"):
        fetch.fetch(url, tmp_path / "x", attempts=2, wait_s=0.001, progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["coco"], "say which --split"),
        (["--split=val2017"], "say what to download: coco"),
        (["coco", "--split=test2031"], "val2017"),
        (["coco", "--split=val2017", "--base_url={url}"], "offers 3000000 bytes, 815585330"),
    ],
)
def test_tool_tells_mistakes_with_status_2(arguments, message, server, tmp_path):
    arguments = [argument.format(url=server.url) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "tools/download.py", *arguments, f"--dest={tmp_path}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []
