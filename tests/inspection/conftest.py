"""Records of drawn images for the tests of the inspection."""

import pytest

import tfrecords
from replicate.demo import drawing


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """(annotation file, image folder) of drawn images with polygons."""
    return drawing.draw(tmp_path_factory.mktemp("drawn"), train_images=12, val_images=1)["train"]


@pytest.fixture(scope="session")
def records(drawn, tmp_path_factory):
    """Folder with train-* records of the drawn images, with masks, and label_map.pbtxt."""
    folder = tmp_path_factory.mktemp("records")
    annotations, images = drawn
    tfrecords.convert(
        annotations, images, str(folder / "train"), 2, include_masks=True, progress=False
    )
    tfrecords.write_label_map(annotations, str(folder / "label_map.pbtxt"))
    return folder
