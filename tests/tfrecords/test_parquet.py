"""Parquet datasets of the hub's layouts, local and over HTTP, to records and to COCO JSON."""

import contextlib
import functools
import http.server
import io
import json
import os
import pathlib
import re
import sys
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tfrecords
from replicate import contracts
from tfrecords import coco, framing, label_map, streaming, verification
from tfrecords.errors import InputError
from tfrecords.formats import parquet

NAMES = ["person", "bicycle", "dog"]
COCO_IDS = {1: "person", 2: "bicycle", 18: "dog"}
# One image of each dataset, by hand: 40 x 30 pixels, a dog at x 24 y 5 of size 6 x 7, a crowd.
XYWH = [[24.0, 5.0, 6.0, 7.0], [0.0, 0.0, 39.5, 29.5]]
XYXY = [[24.0, 5.0, 30.0, 12.0], [0.0, 0.0, 39.5, 29.5]]


def jpeg():
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(out, "JPEG")
    return out.getvalue()


def hub_metadata(label_key, features_as):
    label = {"names": NAMES, "_type": "ClassLabel"}
    objects = {label_key: label, "bbox": {}}
    wrapped = {
        "sequence": {"feature": objects, "_type": "Sequence"},
        "list": [objects],
        "lists": {key: {"feature": value, "_type": "List"} for key, value in objects.items()},
    }
    features = {"objects": wrapped[features_as]}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def write_table(path, rows, metadata):
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.replace_schema_metadata(metadata), path)


def first_kind(path, box=XYXY, features_as="sequence"):
    """As detection-datasets/coco: bbox_id, category, corners; no crowd flag."""
    row = {
        "image_id": 9,
        "image": {"bytes": jpeg(), "path": None},
        "width": 40,
        "height": 30,
        "objects": {"bbox_id": [33, 34], "category": [2, 0], "bbox": box, "area": [20.5, 900.0]},
    }
    write_table(path, [row], hub_metadata("category", features_as))


def second_kind(path):
    """As rafaelpadilla/coco2017: id, label, iscrowd, COCO's boxes."""
    objects = {
        "id": [33, 34],
        "label": [2, 0],
        "bbox": XYWH,
        "area": [20.5, 900.0],
        "iscrowd": [False, True],
    }
    row = {"image_id": 9, "image": {"bytes": jpeg(), "path": "a.jpg"}, "objects": objects}
    row |= {"width": 40, "height": 30}
    write_table(path, [row], hub_metadata("label", "list"))


def third_kind(path):
    """Objects as a list of structs, without ids, areas, crowd or image size."""
    objects = [{"bbox": box, "label": label} for box, label in zip(XYXY, [2, 0], strict=True)]
    row = {"image_id": 9, "image": {"bytes": jpeg(), "path": "a.jpg"}, "objects": objects}
    write_table(path, [row], hub_metadata("label", "sequence"))


# writer, options, (file name, ids, areas, crowd)
KINDS = {
    "corners": (first_kind, {}, ("000000000009.jpg", [33, 34], [20.5, 900.0], [0, 0])),
    "corners, as datasets 5 writes": (
        functools.partial(first_kind, features_as="lists"),
        {},
        ("000000000009.jpg", [33, 34], [20.5, 900.0], [0, 0]),
    ),
    "xywh": (second_kind, {}, ("a.jpg", [33, 34], [20.5, 900.0], [0, 1])),
    "structs": (
        third_kind,
        {"box_layout": "xyxy"},
        ("a.jpg", [1, 2], [42.0, 39.5 * 29.5], [0, 0]),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [None, COCO_IDS], ids=["no label map", "COCO's ids"])
def test_the_hubs_layouts(kind, labels, tmp_path):
    write, options, (file_name, ids, areas, crowd) = KINDS[kind]
    write(tmp_path / "val-00000-of-00001.parquet")
    dataset = parquet.ParquetDataset([tmp_path], labels, **options)
    assert dataset.num_images == 1
    assert dataset.categories == (labels or {1: "person", 2: "bicycle", 3: "dog"})
    ((image, encoded),) = dataset.rows()
    assert encoded == jpeg()
    assert (image.id, image.file_name, image.image_hw) == (9, file_name, (30, 40))
    assert image.objects.boxes_xywh_px == XYWH
    assert image.objects.category_ids == ([18, 1] if labels else [3, 1])
    assert (image.objects.ids, image.objects.areas_px, image.objects.crowd) == (ids, areas, crowd)


def test_written_as_the_hub_stores_it(dataset, tmp_path):
    source = coco.load(dataset.annotations)
    counts = parquet.write(source, dataset.images, tmp_path / "data", "val", rows_a_file=3)
    document = dataset.document
    assert counts == {"images": 7, "annotations": len(document["annotations"])}
    names = [f"val-{i:05d}-of-00003.parquet" for i in range(3)]
    assert sorted(os.listdir(tmp_path / "data")) == names
    table = pa.concat_tables([pq.read_table(tmp_path / "data" / name) for name in names])
    rows = table.to_pylist()
    assert [row["image_id"] for row in rows] == [image["id"] for image in document["images"]]
    assert [row["image"]["bytes"] for row in rows] == [
        dataset.path(number).read_bytes() for number in range(7)
    ]
    for row in rows:
        of_image = [a for a in document["annotations"] if a["image_id"] == row["image_id"]]
        assert row["objects"]["bbox"] == [a["bbox"] for a in of_image]
        assert row["objects"]["bbox_id"] == [a["id"] for a in of_image]
        assert row["objects"]["area"] == [a["area"] for a in of_image]
        labels = [[1, 90].index(a["category_id"]) for a in of_image]
        assert row["objects"]["category"] == labels
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["objects"]["feature"]["category"]["names"] == ["person", "tooth brush"]


@pytest.fixture
def stored(dataset, tmp_path):
    """The drawn set as a Parquet folder, and its label map."""
    parquet.write(coco.load(dataset.annotations), dataset.images, tmp_path / "data", "val", 3)
    label_map.write(dataset.annotations, tmp_path / "labels.pbtxt")
    return tmp_path / "data", label_map.read(tmp_path / "labels.pbtxt")


def shards_of(summary):
    return {os.path.basename(p): pathlib.Path(p).read_bytes() for p in summary.shard_paths}


@pytest.fixture
def expected(dataset, tmp_path):
    """The shards that the JSON and the image folder become."""
    summary = tfrecords.convert(
        dataset.annotations, dataset.images, tmp_path / "json/val", 2, progress=False
    )
    return shards_of(summary)


def test_streamed_records_are_those_of_the_json(stored, expected, tmp_path):
    folder, labels = stored
    before = sorted(os.listdir(folder))
    dataset = parquet.ParquetDataset([folder], labels)
    summary = streaming.convert(dataset, tmp_path / "stream/val", 2, progress=False)
    assert shards_of(summary) == expected
    for written in (tmp_path / "stream/manifest-val.json", tmp_path / "json/manifest-val.json"):
        assert contracts.violations("manifest", json.loads(written.read_bytes())) == []
    assert sorted(os.listdir(folder)) == before
    assert sorted(os.listdir(tmp_path / "stream")) == [
        "dropped-val.jsonl",
        "manifest-val.json",
        "val-00000-of-00002.tfrecord",
        "val-00001-of-00002.tfrecord",
    ]
    again = streaming.convert(dataset, tmp_path / "stream/val", 2, progress=False)
    assert again.reused and again.manifest == summary.manifest
    with pytest.raises(InputError, match="other input or settings"):
        streaming.convert(dataset, tmp_path / "stream/val", 2, invalid_boxes="clip", progress=False)


def test_streamed_records_are_verified(stored, dataset, tmp_path):
    folder, labels = stored
    streaming.convert(
        parquet.ParquetDataset([folder], labels), tmp_path / "s/val", 2, progress=False
    )
    options = {"full": True, "progress": False}
    assert verification.verify(tmp_path / "s/val", progress=False) == []
    assert (
        verification.verify(tmp_path / "s/val", annotations_file=dataset.annotations, **options)
        == []
    )
    with pytest.raises(InputError, match="made of a stream"):
        verification.verify(tmp_path / "s/val", **options)
    dataset.change(lambda document: document["annotations"][3]["bbox"].__setitem__(0, 0.25))
    (problem,) = verification.verify(
        tmp_path / "s/val", annotations_file=dataset.annotations, **options
    )
    assert str(dataset.document["annotations"][3]["image_id"]) in problem


def test_a_stream_that_breaks_leaves_no_shard(stored, tmp_path):
    folder, labels = stored
    dataset = parquet.ParquetDataset([folder], labels)
    rows = list(dataset.rows())
    dataset.rows = lambda: iter([*rows, rows[0]])
    with pytest.raises(InputError, match="image id 100 occurs more than once"):
        streaming.convert(dataset, tmp_path / "stream/val", 2, progress=False)
    assert os.listdir(tmp_path / "stream") == []


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """A static server with ranges, as the hub's is."""

    def do_GET(self):
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            self.send_error(404)
            return
        content = pathlib.Path(path).read_bytes()
        asked = re.match(r"bytes=(\d+)-(\d+)?$", self.headers.get("Range", ""))
        first, last = 0, len(content) - 1
        if asked:
            first = int(asked[1])
            last = min(last, int(asked[2])) if asked[2] else last
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(content[first : last + 1])

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder):
    def handler(*args):
        return _Ranges(*args, directory=folder)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_streamed_from_a_url(stored, expected, tmp_path):
    folder, labels = stored
    with served(folder) as url:
        names = [f"{url}/val-{index:05d}-of-00003.parquet" for index in range(3)]
        dataset = parquet.ParquetDataset(names, labels)
        summary = streaming.convert(dataset, tmp_path / "stream/val", 2, progress=False)
        assert shards_of(summary) == expected
        with pytest.raises(InputError, match="nowhere.parquet: cannot be read as Parquet"):
            parquet.ParquetDataset([f"{url}/nowhere.parquet"], labels)


def test_unpacked_to_json(stored, dataset, tmp_path):
    folder, labels = stored
    content = parquet.read(parquet.ParquetDataset([folder], labels), tmp_path / "images")
    document = dataset.document
    assert content["images"] == document["images"]
    assert content["categories"] == document["categories"]
    for found, annotation in zip(content["annotations"], document["annotations"], strict=True):
        assert found | {"segmentation": annotation["segmentation"]} == annotation
    for number in range(7):
        name = document["images"][number]["file_name"]
        assert (tmp_path / "images" / name).read_bytes() == dataset.path(number).read_bytes()


def _empty(folder):
    return "no Parquet files"


def _text(folder):
    (folder / "x.parquet").write_text("not Parquet at all, by any means")
    return "cannot be read as Parquet"


def _columns(folder):
    pq.write_table(pa.table({"text": ["a"]}), folder / "x.parquet")
    return r"lacks the column\(s\) image, objects; it has text"


def _nameless(folder):
    first_kind(folder / "x.parquet")
    table = pq.read_table(folder / "x.parquet")
    pq.write_table(table.replace_schema_metadata({}), folder / "x.parquet")
    return "does not name its labels"


def _undecided(folder):
    first_kind(folder / "x.parquet", box=[[0.0, 0.0, 30.0, 31.0], [0.0, 0.0, 40.0, 30.0]])
    return "do not tell whether boxes are xywh or xyxy"


@pytest.mark.parametrize("prepare", [_empty, _text, _columns, _nameless, _undecided])
def test_refused(prepare, tmp_path):
    message = prepare(tmp_path)
    with pytest.raises(InputError, match=message):
        parquet.ParquetDataset([tmp_path])


def test_a_label_map_of_other_names(tmp_path):
    first_kind(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"label\(s\) bicycle, dog are not in the label map"):
        parquet.ParquetDataset([tmp_path], {1: "person"})


def test_a_label_without_a_name_says_the_row(tmp_path):
    first_kind(tmp_path / "x.parquet")
    dataset = parquet.ParquetDataset([tmp_path])
    dataset._label_ids = dataset._label_ids[:2]
    with pytest.raises(InputError, match=r"x\.parquet: row 0: label 2 is none of the 2"):
        list(dataset.rows())


def test_records_are_framed_once(stored, tmp_path):
    """Every image is in exactly one shard, in the stream's order."""
    folder, labels = stored
    dataset = parquet.ParquetDataset([folder], labels)
    summary = streaming.convert(dataset, tmp_path / "s/val", 3, progress=False)
    counts = [len(list(framing.read(path))) for path in summary.shard_paths]
    assert counts == [3, 2, 2]


@pytest.mark.parametrize("name", ["val-00000-of-00002.parquet", "*.parquet"])
def test_hub_addresses_without_the_hubs_package(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"requirements-hub\.txt"):
        parquet.ParquetDataset([f"hf://datasets/detection-datasets/coco/data/{name}"])
