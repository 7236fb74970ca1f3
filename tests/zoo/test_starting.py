"""Where the weights that training starts from were published, and how they are fetched."""

import csv
import hashlib
import http.server
import io
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import threading

import pytest

from replicate import archive, config, zoo
from replicate.errors import UserError
from replicate.preflight import starting
from tests.conftest import PROJECT

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


def test_every_template_has_one_starting_point_or_a_note():
    for name in config.template_names():
        (point,) = [each for each in zoo.starting_points() if name in each.templates]
        assert zoo.starting_point(name) == point
        assert bool(point.archive) == bool(point.url) and bool(point.archive) != bool(point.note)
        assert bool(point.archive) == (not name.startswith("centernet"))
    named = [name for point in zoo.starting_points() for name in point.templates]
    assert sorted(named) == config.template_names()


def test_the_recipes_name_the_checkpoint():
    """The file in fine_tune_checkpoint, and of the EfficientDets the backbone, tell which it is."""
    for name in config.template_names():
        message, point = config.template(name), zoo.starting_point(name)
        file = message.train_config.fine_tune_checkpoint.partition("/")[2]
        assert file == point.checkpoint
        if not point.archive:
            continue
        assert message.train_config.fine_tune_checkpoint_type == "classification"
        extractor = config.facts(message).feature_extractor
        if number := re.search(r"efficientnet-(b\d)", extractor):
            assert point.archive == f"efficientnet_{number[1]}"
        else:
            assert point.archive.startswith(file.partition(".")[0])
            assert point.archive.removesuffix("_v1") in extractor.replace("keras", "")


def test_urls_are_the_published_ones(shared):
    with open(shared / "zoo/classification.csv", newline="") as table:
        published = {line["archive"]: line["url"] for line in csv.DictReader(table)}
    ours = {each.archive: each.url for each in zoo.starting_points() if each.archive}
    assert len(ours) == 14 and ours == published


@pytest.fixture
def server(tmp_path):
    """The classification zoo's paths on a local server, with mobilenet_v2 in a small archive."""
    home = tmp_path / "server"
    path = home / zoo.starting_point(FPNLITE).url.partition("download.tensorflow.org/")[2]
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as tar:
        for name in ("mobilenet_v2.ckpt-1.index", "mobilenet_v2.ckpt-1.data-00000-of-00001"):
            member = tarfile.TarInfo(f"mobilenet_v2/{name}")
            member.size = 5
            tar.addfile(member, io.BytesIO(b"12345"))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(home))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}", path
        serving.shutdown()


def _download(*arguments, cwd):
    return subprocess.run(
        [sys.executable, PROJECT / "tools/download.py", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def test_the_command_that_preflight_prints(tmp_path, server):
    """Word for word, against a local server: what it prints names a checkpoint that is there."""

    class Material:
        finetunes = False

        class intent:
            model = FPNLITE

    address, published = server
    fix = starting._where(Material, config.template(FPNLITE).train_config)
    told = re.match(r"python tools/download\.py (\S+ \S+) fetches the recipe's (\S+) and", fix)
    done = _download(*told[1].split(), f"--mirror={address}/", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    prefix = done.stdout.strip().removeprefix("--fine_tune_checkpoint=")
    assert prefix == f"data/starting/mobilenet_v2/{told[2]}"
    assert (tmp_path / f"{prefix}.index").read_bytes() == b"12345"
    recorded = (tmp_path / "data/starting/mobilenet_v2.tar.gz.sha256").read_text().split()[0]
    assert recorded == hashlib.sha256(published.read_bytes()).hexdigest()
    # README's first command names the same file.
    assert prefix in (PROJECT / "README.md").read_text()
    # Again, without a server: nothing is fetched twice.
    again = _download(*told[1].split(), "--mirror=http://127.0.0.1:1", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, done.stdout)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("centernet_hg104_512x512_coco17_tpu-8", "ExtremeNet detection checkpoint"),
        ("centernet_resnet50_v2_512x512_kpts_coco17_tpu-8", "has ResNets v1 alone"),
        ("faster_rcnn_inception_resnet_v2_640x640_coco17_tpu-8", "no published training config"),
        ("ssd_mobilenet_v2_fpnlite_320", f"did you mean {FPNLITE}?"),
    ],
)
def test_models_without_published_starting_weights(tmp_path, model, told):
    done = _download("starting", model, cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        (["a.ckpt-1", "b.ckpt-1"], "b.ckpt-1", "b.ckpt-1"),
        (["model.ckpt-0"], "ckpt-0", "model.ckpt-0"),
        (["a.ckpt-1", "b.ckpt-1"], "c.ckpt-1", None),
        ([], "c.ckpt-1", None),
    ],
)
def test_the_checkpoint_in_an_archive(tmp_path, files, name, found):
    for file in files:
        (tmp_path / f"{file}.index").touch()
    if found is None:
        with pytest.raises(UserError, match="no c.ckpt-1.index in it"):
            archive.starting_checkpoint(tmp_path, name)
    else:
        assert pathlib.Path(archive.starting_checkpoint(tmp_path, name)).name == found
