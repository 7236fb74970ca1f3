"""The one reader of annotation files: what it finds, and that it reads a file once."""

import contextlib
import gzip
import hashlib
import json
import os
import sys

import numpy as np
import pytest

from tfrecords import annotation_file, coco
from tfrecords.errors import InputError

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
IMAGES = [
    {"id": 7, "file_name": "b.jpg", "height": 30, "width": 40, "license": 1},
    {"id": 3, "file_name": "a.jpg", "height": 20, "width": 10},
]
SEGMENTATIONS = [[[1, 2.5, 3, 4, 5, 6]], {"counts": [3, 4], "size": [20, 10]}, [], [[1, 2.5]], []]


def annotations():
    for number, segmentation in enumerate(SEGMENTATIONS):
        yield {
            "segmentation": segmentation,
            "note": [],
            "area": 6 + number / 3,
            "iscrowd": number % 2,
            "image_id": (7, 3)[number % 2],
            "bbox": [1, 2.25, 3, 4 + number / 7],
            "category_id": (18, 1)[number // 3],
            "id": 100 - number,
        }


@pytest.fixture
def document():
    return {"images": IMAGES, "annotations": list(annotations()), "categories": CATEGORIES}


def written(path, document, seconds_ago=10):
    """Writes a file that looks settled: one of this instant is not trusted to stay as it is."""
    content = json.dumps(document).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    at = os.stat(path).st_mtime_ns - seconds_ago * 10**9
    os.utime(path, ns=(at, at))
    return path


OPENED = []
sys.addaudithook(lambda event, arguments: event == "open" and OPENED.append(arguments[0]))


@contextlib.contextmanager
def opened(path):
    """The times that a file is opened by this process."""
    OPENED.clear()
    times = []
    yield times
    times += [each for each in OPENED if str(each) == str(path)]


@pytest.mark.parametrize("name", ["instances.json", "instances.json.gz"])
def test_what_is_found(tmp_path, document, name):
    path = written(tmp_path / name, document)
    file = annotation_file.read(path, segmentations=True)
    rows = document["annotations"]
    assert [(i.id, i.file_name, i.height, i.width) for i in file.images] == [
        (7, "b.jpg", 30, 40),
        (3, "a.jpg", 20, 10),
    ]
    assert [(c.id, c.name) for c in file.categories] == [(18, "dog"), (1, "person")]
    for column, key in (("ids", "id"), ("image_ids", "image_id"), ("crowd", "iscrowd")):
        assert getattr(file, column).tolist() == [row[key] for row in rows]
    assert file.category_ids.tolist() == [row["category_id"] for row in rows]
    assert file.areas_px.tolist() == [row["area"] for row in rows]  # to the last bit
    assert file.boxes_xywh_px.tolist() == [row["bbox"] for row in rows]
    assert file.has_box.all() and file.has_annotations and not file.has_nan
    assert json.loads(file.text) == document
    assert [
        json.loads(file.text[start:stop]) for start, stop in file.segmentation_spans.tolist()
    ] == SEGMENTATIONS
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.content_sha256 == hashlib.sha256(json.dumps(document).encode()).hexdigest()


def test_what_is_not_there(tmp_path, document):
    del document["annotations"][1]["bbox"], document["annotations"][2]["iscrowd"]
    del document["annotations"][3]["segmentation"], document["images"][1]["file_name"]
    file = annotation_file.read(written(tmp_path / "a.json", document), segmentations=True)
    assert file.has_box.tolist() == [True, False, True, True, True]
    assert np.isnan(file.boxes_xywh_px).all(axis=1).tolist() == [False, True, False, False, False]
    assert file.crowd.tolist() == [0, 1, file.NOT_SAID, 1, 0]
    assert np.diff(file.segmentation_spans, axis=1).ravel().tolist()[3] == 0
    assert file.images[1].file_name is None
    with pytest.raises(InputError, match=r"images\[1\], id 3: Object missing .* `file_name`"):
        coco.load(file.path)
    document["images"][1]["file_name"] = "a.jpg"
    with pytest.raises(InputError, match=r"annotations\[1\], id 99: .* `bbox`"):
        coco.load(written(tmp_path / "b.json", document))


def test_a_test_sets_file_has_no_annotations(tmp_path, document):
    del document["annotations"]
    path = written(tmp_path / "image_info.json", document)
    file = annotation_file.read(path)
    assert not file.has_annotations and len(file.ids) == 0 and len(file.images) == 2
    with pytest.raises(InputError, match="it has no 'annotations' .*image_info"):
        coco.load(path)


def test_nan_is_null(tmp_path, document):
    document["annotations"][2] |= {"area": float("nan"), "bbox": [1, float("inf"), 3, 4]}
    file = annotation_file.read(written(tmp_path / "a.json", document), segmentations=True)
    assert file.has_nan and np.isnan(file.areas_px).tolist() == [False, False, True, False, False]
    assert np.isnan(file.boxes_xywh_px[2]).tolist() == [False, True, False, False]
    start, stop = file.segmentation_spans[1].tolist()
    assert json.loads(file.text[start:stop]) == SEGMENTATIONS[1]


def test_ids_beyond_64_bits(tmp_path, document):
    document["annotations"][2]["id"] = 2**64
    with pytest.raises(
        InputError, match="id 18446744073709551616: Expected .int. <= 9223372036854775807"
    ):
        annotation_file.read(written(tmp_path / "a.json", document))


def test_read_once(tmp_path, document):
    path = written(tmp_path / "a.json", document)
    with opened(path) as times:
        source = coco.load(path, segmentations=True)
        assert coco.load_categories(path) == {18: "dog", 1: "person"}
        assert coco.load(path).num_annotations == 5
        assert annotation_file.sha256_of(path) == source.sha256
        assert json.loads(annotation_file.read(path).text) == document
    assert len(times) == 1
    assert source.image(0).objects.segmentations == [
        json.dumps(SEGMENTATIONS[number]).encode() for number in (0, 2, 4)
    ]
    with opened(path) as times:
        annotation_file.forget(path)
        coco.load_categories(path)
    assert len(times) == 1


def test_a_large_text_is_let_go(tmp_path, document, monkeypatch):
    monkeypatch.setattr(annotation_file, "_TEXT_KEPT_BYTES", 100)
    path = written(tmp_path / "a.json", document)
    with opened(path) as times:
        file = annotation_file.read(path)
        assert json.loads(file.text) == document
    assert len(times) == 2
    written(path, document | {"info": 1})
    with pytest.raises(InputError, match="has changed while it was in use"):
        assert file.text


def test_a_file_that_changed_is_read_again(tmp_path, document):
    path = written(tmp_path / "a.json", document)
    before = annotation_file.read(path)
    document["categories"][0]["name"] = "cat"  # of the same length
    written(path, document, seconds_ago=5)
    assert annotation_file.read(path).categories[0].name == "cat"
    assert before.categories[0].name == "dog"


def test_a_file_of_this_instant_is_not_kept(tmp_path, document):
    """The clock of files ticks in milliseconds: another content may get the same time."""
    path = written(tmp_path / "a.json", document, seconds_ago=-1)
    with opened(path) as times:
        annotation_file.read(path)
        annotation_file.read(path)
    assert len(times) == 2


def test_some_files_are_kept(tmp_path, document):
    paths = [written(tmp_path / f"{number}.json", document) for number in range(6)]
    for path in paths:
        annotation_file.read(path)
    with opened(paths[-1]) as times:
        annotation_file.read(paths[-1])
    assert not times
    with opened(paths[0]) as times:
        annotation_file.read(paths[0])
    assert len(times) == 1
