"""Released archives: read, unpacked safely and whole, accepted wherever a model is."""

import dataclasses
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading

import numpy as np
import pytest

from replicate import archive, config, zoo
from replicate.errors import UserError
from tests.conftest import PROJECT
from tfrecords.errors import InputError

MODEL = "centernet_mobilenetv2fpn_512x512_coco17_od"  # its config is in the archive alone
CONTENTS = {
    "pipeline.config": None,
    "checkpoint/checkpoint": b'model_checkpoint_path: "ckpt-0"',
    "checkpoint/ckpt-0.index": b"index",
    "checkpoint/ckpt-0.data-00000-of-00001": bytes(range(256)) * 4096,
    "saved_model/saved_model.pb": b"graph",
}


def packed(path, contents=None, members=()):
    """An archive as the zoo releases them."""
    text = config.to_text(config.template("centernet_hg104_512x512_coco17_tpu-8")).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, data in (CONTENTS if contents is None else contents).items():
            data = text if data is None else data
            member = tarfile.TarInfo(f"{MODEL}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in members:
            tar.addfile(member)
    return path


@pytest.fixture
def released(tmp_path):
    return packed(tmp_path / f"{MODEL}.tar.gz")


def test_unpack(released, tmp_path):
    folder = archive.unpack(released)
    assert folder == tmp_path / MODEL
    for name, data in CONTENTS.items():
        if data is not None:
            assert (folder / name).read_bytes() == data
    assert archive.checkpoint(folder) == str(folder / "checkpoint/ckpt-0")
    assert sorted(path.name for path in tmp_path.iterdir()) == [MODEL, f"{MODEL}.tar.gz"]


def test_unpacked_once(released):
    folder = archive.unpack(released)
    (folder / "note").write_text("mine")
    assert archive.unpack(released) == folder
    assert (folder / "note").read_text() == "mine"


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("/outside"),
        member(f"{MODEL}/../../outside"),
        member(f"{MODEL}/link", tarfile.SYMTYPE, "/etc/passwd"),
        member(f"{MODEL}/link", tarfile.LNKTYPE, "../outside"),
        member(f"{MODEL}/device", tarfile.CHRTYPE),
    ],
    ids=["dotdot", "absolute", "dotdot inside", "absolute link", "hard link out", "device"],
)
def test_what_would_leave_the_folder_is_refused(tmp_path, bad):
    path = packed(tmp_path / f"{MODEL}.tar.gz", members=[bad])
    with pytest.raises(InputError, match="nothing was unpacked"):
        archive.unpack(path)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_a_cut_archive_leaves_nothing(released, tmp_path, keep):
    data = released.read_bytes()
    released.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match="cut off, damaged or not an archive"):
        archive.unpack(released)
    assert os.listdir(tmp_path) == [released.name]


def test_an_archive_of_something_else(tmp_path):
    path = packed(tmp_path / "other.tar.gz", contents={"readme": b"hello"})
    for function in (archive.unpack, archive.read_config, config.read):
        with pytest.raises(UserError, match="no pipeline.config in it"):
            function(path)
    assert os.listdir(tmp_path) == [path.name]


class Server:
    """Serves one archive, and cuts the first `cuts` answers off after 1.5 MB."""

    def __init__(self, data, cuts=0):
        self.data, self.cuts, self.ranges = data, cuts, []

    def __enter__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("ETag", '"one"')
                self.send_header("Content-Length", str(len(outer.data) - first))
                if asked:
                    last = len(outer.data) - 1
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(outer.data)}")
                self.end_headers()
                end = first + 1_500_000 if outer.cuts > 0 else len(outer.data)
                outer.cuts -= 1
                self.wfile.write(outer.data[first:end])

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/{MODEL}.tar.gz"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def random_archive(tmp_path):
    """Bytes of an archive too random to compress: about 4 MB."""
    blob = np.random.default_rng(0).bytes(4_000_000)
    contents = {"pipeline.config": None, "checkpoint/ckpt-0.index": blob}
    (tmp_path / "server").mkdir()
    return packed(tmp_path / "server" / "a.tar.gz", contents).read_bytes()


def test_fetch_continues_and_records_the_checksum(tmp_path, random_archive):
    with Server(random_archive, cuts=2) as server:
        row = dataclasses.replace(zoo.find(MODEL), url=server.url)
        path = archive.fetch(row, tmp_path / "zoo")
        assert path == tmp_path / "zoo" / f"{MODEL}.tar.gz"
        assert path.read_bytes() == random_archive
        # cut twice, and continued with what had arrived
        first, *later = server.ranges
        starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in later]
        assert first is None and len(starts) == 2 and 1_000_000 < starts[0] < starts[1]
    digest = hashlib.sha256(random_archive).hexdigest()
    assert (tmp_path / "zoo" / f"{MODEL}.tar.gz.sha256").read_text() == (
        f"{digest}  {MODEL}.tar.gz\n"
    )
    checked = subprocess.run(["sha256sum", "--check", f"{path}.sha256"], cwd=path.parent)
    assert checked.returncode == 0
    # there already: no request (the server is gone), and the checksum still fits
    assert archive.fetch(row, tmp_path / "zoo") == path
    path.write_bytes(random_archive[:-1] + b"?")
    with pytest.raises(InputError, match="is there already, but its sha256 is"):
        archive.fetch(row, tmp_path / "zoo")


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert archive.sha256(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_accepted_wherever_a_model_is(released):
    message = config.render(str(released), overrides=[("train_config.num_steps", "7")])
    (operation,) = config.deviations(message, str(released))
    assert (operation.path, operation.b) == ("train_config.num_steps", 7)
    assert config.deviations(message, str(archive.unpack(released))) == [operation]


@pytest.mark.parametrize(
    "arguments",
    [
        ["tools/zoo.py", "show"],
        ["tools/show_schedule.py"],
        ["tools/diff_config.py", "centernet_hg104_512x512_coco17_tpu-8"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_tools_take_it(released, arguments):
    done = subprocess.run(
        [sys.executable, *arguments, str(released)], cwd=PROJECT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_download_tool(tmp_path, random_archive, monkeypatch):
    """`tools/download.py zoo MODEL`, the row's URL turned to a local server."""
    from tools import download

    with Server(random_archive) as server:
        here = dataclasses.replace(zoo.find(MODEL), url=server.url)
        monkeypatch.setattr(zoo, "find", lambda name: here)
        download._zoo([MODEL], tmp_path / "zoo")
    assert sorted(os.listdir(tmp_path / "zoo")) == [
        MODEL,
        f"{MODEL}.tar.gz",
        f"{MODEL}.tar.gz.sha256",
    ]
    assert (tmp_path / "zoo" / MODEL / "pipeline.config").is_file()


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "say what to download: coco, zoo MODEL, or starting MODEL; got nothing"),
        (["zoo"], "say what to download"),
        (["zoo", "ssd_mobilenet_v2"], "unknown zoo model 'ssd_mobilenet_v2'"),
        (["zoo", "faster_rcnn_resnet50_v1_fpn_640x640_coco17_tpu-8"], "no archive was released"),
    ],
)
def test_the_download_tool_on_mistakes(arguments, told):
    done = subprocess.run(
        [sys.executable, "tools/download.py", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
