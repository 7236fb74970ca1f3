"""Foreign formats and archives that are wrong in one place: the place is named, nothing is left."""

import gzip
import http.server
import io
import tarfile
import threading
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfrecords import archives, fetch, shards
from tfrecords.errors import InputError
from tfrecords.formats import albumentations, parquet, voc


@pytest.fixture(scope="module")
def png():
    content = io.BytesIO()
    Image.new("RGB", (40, 30)).save(content, "PNG")
    return content.getvalue()


def _row(png, **changed):
    row = {"image_id": 1, "path": "a.png", "label": 0, "box": [1.0, 2.0, 3.0, 4.0]} | changed
    return {
        "image_id": row["image_id"],
        "image": {"bytes": png, "path": row["path"]},
        **{"width": row.get("width", 40), "height": 30},
        "objects": {"category": [row["label"]], "bbox": [row["box"]]},
    }


# what: (the second row, in the message)
ROWS = {
    "a base name twice": ({"path": "b/a.png", "image_id": 2}, "a second image named 'a.png'"),
    "label -1": ({"path": "b.png", "image_id": 2, "label": -1}, "label -1 is none of the 2"),
    "an id twice": ({"path": "b.png"}, "image id 1 occurs more than once"),
    "a null id": ({"path": "b.png", "image_id": None}, "image id None is no whole number"),
    "a NaN box": (
        {"path": "b.png", "image_id": 2, "box": [1.0, float("nan"), 3.0, 4.0]},
        "not four finite numbers",
    ),
    "the name ..": ({"path": "..", "image_id": 2}, "no name of a file inside"),
    "a NUL in the name": ({"path": "b\0.png", "image_id": 2}, "no name of a file inside"),
    "a negative width": ({"path": "b.png", "image_id": 2, "width": -4}, "-4x30 is no size"),
}


@pytest.mark.parametrize("what", ROWS)
def test_a_row_of_parquet_is_named(what, png, tmp_path):
    changed, said = ROWS[what]
    rows = [_row(png), _row(png, **changed)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    dataset = parquet.ParquetDataset([tmp_path], {1: "cat", 2: "dog"}, "xywh")
    with pytest.raises(InputError, match="x.parquet: row 1: ") as told:
        parquet.read(dataset, tmp_path / "images")
    assert said in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize("value", ["nan", "1e400", "-inf"])
def test_voc_of_no_number(value, tmp_path):
    (tmp_path / "a.xml").write_text(
        "<annotation><filename>a.jpg</filename><size><width>9</width><height>9</height></size>"
        f"<object><name>c</name><bndbox><xmin>{value}</xmin><ymin>1</ymin><xmax>4</xmax>"
        "<ymax>4</ymax></bndbox></object></annotation>"
    )
    with pytest.raises(InputError):
        voc.read(tmp_path)


def test_albumentations_overwrites_nothing(dataset, tmp_path):
    from tfrecords import coco

    (tmp_path / "a.jsonl").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        albumentations.write(coco.load(dataset.annotations), tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == "mine"


def test_a_pipe_for_an_image_is_none(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.jpg")
    assert shards.read_image(tmp_path / "a.jpg") is None


def _tar(*names, mode="w:gz"):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return content.getvalue()


def _changed(content, place, value):
    content = bytearray(content)
    content[place] ^= value
    return bytes(content)


def _encrypted():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a", b"abc")
    content = bytearray(content.getvalue())
    content[6] |= 1  # the flag of the local header, and of the directory's
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


ARCHIVES = {
    "a wrong checksum in the trailer": (_changed(_tar("a"), -8, 1), "damaged"),
    "a wrong size in the trailer": (_changed(_tar("a"), -1, 1), "damaged"),
    "a cut trailer": (_tar("a")[:-4], "cut off"),
    "no deflate at all": (gzip.compress(b"")[:10] + b"\xff" * 20, "damaged or not an archive"),
    "encryption": (_encrypted(), "encrypted"),
    "a name too long": (_tar("a" * 300), "no name that a file can have"),
    "a file beside its folder": (_tar("a", "a/b"), "wants a folder there"),
    "a name twice": (_tar("a", "./a"), "twice"),
    "the name .": (_tar("b/."), "no name that a file can have"),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_is_whole_or_told(what, tmp_path):
    content, said = ARCHIVES[what]
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError) as told:
        archives.extract(tmp_path / "x", tmp_path / "out", progress=False)
    assert said in str(told.value)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_what_lies_there_damaged_is_unpacked_again(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"abc")
    archives.extract(tmp_path / "x.zip", tmp_path / "out", progress=False)
    (tmp_path / "out" / "a").write_bytes(b"abd")  # of the right size
    archives.extract(tmp_path / "x.zip", tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "a").read_bytes() == b"abc"


def test_links_are_checked(tmp_path):
    class Server(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if self.path == "/there" else 404)
            self.send_header("Content-Length", "2000000000")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    assert fetch.head(f"{base}/there") == fetch.Head(True, "2.00 GB")
    assert fetch.head(f"{base}/gone") == fetch.Head(False, "HTTP 404 Not Found")
    server.shutdown()
    server.server_close()
    assert not fetch.head(f"{base}/there", timeout_s=2).there


def test_deep_nesting_is_told(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(InputError, match="a.jsonl:1: "):
        albumentations.read(path)
