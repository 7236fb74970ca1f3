"""Mask PNGs hold the pixels that pycocotools decodes, whoever reads them."""

import io

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from tfrecords import masks

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@given(size=SIZES, data=st.data())
def test_polygons(size, data):
    """Also such as leave the image, are thinner than a pixel or cover nothing."""
    coordinate = st.floats(-5, 45, width=32)
    polygon = st.lists(coordinate, min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0)
    polygons = data.draw(st.lists(polygon, min_size=1, max_size=3))
    assume(any(not 0 <= value <= 1 for outline in polygons for value in outline))  # no fractions
    rle = masks.rle_of(polygons, size)
    reference = coco_mask.decode(coco_mask.frPyObjects(polygons, *size)).max(axis=2)
    np.testing.assert_array_equal(pixels(masks.png_of(rle)), reference)


@given(size=SIZES, seed=st.integers(0, 2**32), fraction=st.sampled_from([0, 0.02, 0.5, 1]))
def test_runs(size, seed, fraction):
    mask = np.random.default_rng(seed).random(size) < fraction
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    png = masks.png_of(masks.rle_of(rle, size))
    np.testing.assert_array_equal(pixels(png), mask)
    assert masks.rle_of_png(png) == {"size": list(size), "counts": rle["counts"].decode()}


@pytest.mark.parametrize(
    "counts", [[3, 2, 7], [0, 12], [12], [0, 0, 3, 2, 7], [3, 2, 4, 0, 3], [3, 2, 7, 0], [12, 0]]
)
def test_runs_of_no_length(counts):
    given_rle = {"size": [3, 4], "counts": counts}
    reference = coco_mask.decode(coco_mask.frPyObjects(given_rle, 3, 4))
    np.testing.assert_array_equal(pixels(masks.png_of(masks.rle_of(given_rle, (3, 4)))), reference)


def test_tensorflow_reads_zeros_and_ones():
    tf = pytest.importorskip("tensorflow")
    mask = np.random.default_rng(3).random((20, 37)) < 0.5
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    decoded = tf.io.decode_png(masks.png_of(rle), channels=1).numpy()[..., 0]
    np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_any_png_is_read(mode):
    mask = np.random.default_rng(3).random((20, 37)) < 0.5
    image = Image.fromarray(np.uint8(mask) * 255).convert(mode)
    file = io.BytesIO()
    image.save(file, format="PNG")
    decoded = coco_mask.decode(masks.rle_of_png(file.getvalue()))
    np.testing.assert_array_equal(decoded, mask)
