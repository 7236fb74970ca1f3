"""Near-duplicates: copies are found as what they are, other pictures are not."""

import io

import numpy as np
import pytest
import scipy.fft
from PIL import Image, ImageEnhance

from replicate.errors import UserError
from replicate.inspection import duplicates
from tests.report import making


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Folder of twelve drawn images."""
    _, folder = making.groundtruth(tmp_path_factory.mktemp("drawn"), images=12)
    return folder


def _again(image):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=60)
    return Image.open(stream).convert("RGB")


COPIES = {
    "the same": lambda image: image,
    "recompressed": _again,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "cut by two percent": lambda image: image.crop((3, 3, image.width - 3, image.height - 3)),
}


@pytest.mark.parametrize("what", COPIES)
def test_a_copy_is_found_and_no_other(images, tmp_path, what):
    import pathlib

    paths = sorted(pathlib.Path(images).glob("*.jpg"))
    (tmp_path / "val" / "deep").mkdir(parents=True)
    with Image.open(paths[4]) as image:
        COPIES[what](image.convert("RGB")).save(tmp_path / "val" / "deep" / "copy.png")
    (tmp_path / "val" / "no picture.jpg").write_text("no")
    told, pictures = duplicates.of(images, tmp_path / "val")
    assert told["pairs"] == 1 and told["val"]["unreadable"] == 1
    (pair,) = told["drawn"]
    assert (pair["train"], pair["val"]) == (paths[4].name, "deep/copy.png")
    assert set(pictures) == {f"train-{paths[4].name}", "val-deep/copy.png"}


def test_the_hash_by_hand():
    """Signs of the 64 lowest frequencies about their median, the first of them most significant."""
    grey = np.random.default_rng(0).uniform(0, 255, (32, 32)).astype(np.float32)
    low = scipy.fft.dct(scipy.fft.dct(grey, axis=0, norm="ortho"), axis=1, norm="ortho")[:8, :8]
    bits = "".join("1" if value > np.median(low.ravel()[1:]) else "0" for value in low.ravel())
    assert duplicates.phash(grey) == int(bits, 2)


def test_photographs_are_told_apart(shared):
    """The 128 images of val128: no pair of different ones, and the bounds lie far from any."""
    found = duplicates.hashed(shared / "coco" / "val128" / "val2017")
    pairs = duplicates.pairs(found, found)
    assert len(pairs) == len(found.names) == 128
    assert all(pair["train"] == pair["val"] and pair["distance"] == 0 for pair in pairs)
    near = duplicates.pairs(found, found, max_distance=13, least_correlation=-1)
    assert len(near) == 128


def test_no_folder_no_image(images, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        duplicates.of(images, tmp_path / "gone")
    with pytest.raises(UserError, match="no image in it can be read"):
        duplicates.of(images, tmp_path)
