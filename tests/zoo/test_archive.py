"""Released archives: read, unpacked safely and whole, accepted wherever a model is."""

import io
import os
import subprocess
import sys
import tarfile

import pytest

from replicate import archive, config
from replicate.errors import UserError
from tests.conftest import PROJECT

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
        member(f"{MODEL}/../../outside"),
        member(f"{MODEL}/link", tarfile.SYMTYPE, "/etc/passwd"),
        member(f"{MODEL}/link", tarfile.SYMTYPE, "../../outside"),
        member(f"{MODEL}/link", tarfile.LNKTYPE, "../outside"),
        member(f"{MODEL}/device", tarfile.CHRTYPE),
    ],
    ids=["dotdot", "dotdot inside", "absolute link", "link out", "hard link out", "device"],
)
def test_what_would_leave_the_folder_is_refused(tmp_path, bad):
    path = packed(tmp_path / f"{MODEL}.tar.gz", members=[bad])
    with pytest.raises(UserError, match="would write outside its own folder"):
        archive.unpack(path)
    assert os.listdir(tmp_path) == [path.name]


def test_an_absolute_name_stays_inside(tmp_path):
    # the "data" filter takes the leading slash off
    path = packed(tmp_path / f"{MODEL}.tar.gz", members=[member("/tmp-of-the-root/file")])
    archive.unpack(path)
    assert not os.path.exists("/tmp-of-the-root")


@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_a_cut_archive_leaves_nothing(released, tmp_path, keep):
    data = released.read_bytes()
    released.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match="not a whole archive"):
        archive.unpack(released)
    assert os.listdir(tmp_path) == [released.name]


def test_an_archive_of_something_else(tmp_path):
    path = packed(tmp_path / "other.tar.gz", contents={"readme": b"hello"})
    for function in (archive.unpack, archive.read_config, config.read):
        with pytest.raises(UserError, match="no pipeline.config in it"):
            function(path)
    assert os.listdir(tmp_path) == [path.name]


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
