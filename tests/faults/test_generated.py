"""Generated and damaged input of every format: a message or a result, nothing else."""

import contextlib
import gzip
import io
import json
import string
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from replicate import config, score
from replicate.errors import UserError
from tfrecords import annotation_file, archives, coco, label_map, masks, segmentation
from tfrecords.errors import InputError
from tfrecords.formats import albumentations, parquet, voc, yolo

TOLD = (UserError, InputError)
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
numbers = st.one_of(
    st.integers(-3, 60),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-10, 60),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.one_of(
    st.sampled_from(["a.jpg", "..", "../a.jpg", "/a", "a\0b", "", "a/b.jpg", ".", "a" * 300]),
    st.text(max_size=6),
)


def told_or_done(call, *arguments, **options):
    """The result; None where it was told what is wrong. Anything else passes."""
    try:
        return call(*arguments, **options)
    except TOLD as error:
        assert str(error).strip()
        return None


image = st.fixed_dictionaries(
    {"id": st.one_of(st.integers(0, 3), numbers), "file_name": names}
    | {"height": st.one_of(st.just(30), numbers), "width": st.one_of(st.just(40), numbers)}
)
segmentations = st.one_of(
    st.lists(st.lists(numbers, max_size=10), max_size=3),
    st.fixed_dictionaries(
        {
            "size": st.one_of(st.just([30, 40]), st.lists(numbers, max_size=3)),
            "counts": st.one_of(
                st.lists(numbers, max_size=6), st.text(string.printable, max_size=9)
            ),
        }
    ),
    anything,
)
annotation = st.fixed_dictionaries(
    {"id": st.one_of(st.integers(0, 9), numbers), "image_id": st.one_of(st.integers(0, 3), numbers)}
    | {"category_id": st.one_of(st.integers(0, 3), numbers), "area": numbers}
    | {"bbox": st.one_of(st.lists(numbers, min_size=4, max_size=4), anything)}
    | {"iscrowd": st.one_of(st.integers(0, 1), numbers), "segmentation": segmentations}
)
category = st.fixed_dictionaries({"id": st.one_of(st.integers(0, 3), numbers), "name": names})
documents = st.one_of(
    st.fixed_dictionaries(
        {
            "images": st.lists(image, max_size=3),
            "annotations": st.lists(annotation, max_size=3),
            "categories": st.lists(category, max_size=3),
        }
    ),
    anything,
)
detections = st.one_of(
    st.lists(
        st.fixed_dictionaries(
            {"image_id": st.one_of(st.integers(0, 3), numbers), "score": numbers}
            | {"category_id": st.one_of(st.integers(0, 3), numbers)}
            | {"bbox": st.lists(numbers, min_size=4, max_size=4), "segmentation": segmentations}
        ),
        max_size=4,
    ),
    anything,
)


@few
@given(document=documents)
def test_annotation_files(document, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    told_or_done(annotation_file.read, path, segmentations=True)
    source = told_or_done(coco.load, path, segmentations=True)
    for index in range(len(source.images) if source else 0):
        entry = source.image(index)
        for text in entry.objects.segmentations:
            with contextlib.suppress(ValueError):  # the ledger's word
                masks.png_of_json(text, entry.image_hw)


@few
@given(document=documents, found=detections, iou_type=st.sampled_from(["bbox", "segm"]))
def test_scores(document, found, iou_type, tmp_path):
    truth, results = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(json.dumps(document))
    results.write_text(json.dumps(found))
    told_or_done(score.score, truth, results, iou_type=iou_type)


@settings(max_examples=300, deadline=None)
@given(value=segmentations)
def test_segmentations_reach_no_c_code_unchecked(value):
    """What passes the check is drawn, twice the same; what does not never gets there."""
    try:
        segmentation.check(value, (30, 40))
    except ValueError:
        return
    once, again = masks.rle_of(value, (30, 40)), masks.rle_of(value, (30, 40))
    assert once == again and once["size"] == [30, 40]


@few
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_label_maps_and_configs_of_any_bytes(content, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(content)
    told_or_done(label_map.read, path)
    told_or_done(config.load, path)
    told_or_done(annotation_file.read, path)
    told_or_done(albumentations.read, path)


@pytest.fixture(scope="module")
def config_text():
    return config.to_text(config.template("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"))


@few
@given(place=st.integers(0, 10**6), put=st.text(max_size=4), cut=st.integers(0, 40))
def test_configs_with_a_change(place, put, cut, config_text):
    place %= len(config_text)
    told_or_done(config.parse, config_text[:place] + put + config_text[place + cut :])


@few
@given(line=st.one_of(image, anything), boxes=st.lists(st.lists(numbers, max_size=5), max_size=3))
def test_albumentations(line, boxes, tmp_path):
    path = tmp_path / "a.jsonl"
    if isinstance(line, dict):
        count = len(boxes)
        line |= {"image_id": line.get("id"), "bboxes": boxes, "labels": ["a"] * count}
        line |= {"category_ids": [1] * count}
    path.write_text(json.dumps(line) + "\n")
    document = told_or_done(albumentations.read, path)
    if document:
        json.dumps(document, allow_nan=False)


PNG = io.BytesIO()
Image.new("RGB", (40, 30)).save(PNG, "PNG")


@few
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "image_id": st.one_of(st.none(), st.integers(0, 3)),
                "path": st.one_of(st.none(), names),
                "encoded": st.one_of(st.none(), st.just(PNG.getvalue()), st.binary(max_size=9)),
                "label": st.integers(-2, 4),
                "box": st.lists(st.one_of(st.floats(-9, 60), st.floats()), min_size=4, max_size=4),
            }
        ),
        max_size=3,
    )
)
def test_parquet(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("p")
    schema = pa.schema(
        [
            ("image_id", pa.int64()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("width", pa.int64()),
            ("height", pa.int64()),
            (
                "objects",
                pa.struct(
                    [("category", pa.list_(pa.int64())), ("bbox", pa.list_(pa.list_(pa.float64())))]
                ),
            ),
        ]
    )
    entries = [
        {
            "image_id": row["image_id"],
            "image": {"bytes": row["encoded"], "path": _text(row["path"])},
            **{"width": 40, "height": 30},
            "objects": {"category": [row["label"]], "bbox": [row["box"]]},
        }
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(entries, schema), folder / "a.parquet")
    dataset = told_or_done(parquet.ParquetDataset, [folder], {1: "a", 2: "b"}, "xywh")
    document = told_or_done(parquet.read, dataset, folder / "images") if dataset else None
    if document:
        json.dumps(document, allow_nan=False)
        written = {path.name for path in (folder / "images").iterdir()}
        assert written == {each["file_name"] for each in document["images"]}
    else:
        assert not (folder / "images").exists()


def _text(name):
    return None if name is None else name.encode("utf-8", "replace").decode()


XML = """<annotation><filename>{name}</filename><size><width>{w}</width><height>{h}</height>
</size><object><name>{label}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>9</xmax>
<ymax>9</ymax></bndbox></object></annotation>"""
words = st.one_of(numbers.map(str), st.sampled_from(["nan", "1e400", "-inf", "", "x", "1"]))


@few
@given(name=names, w=words, h=words, x=words, y=words, label=names)
def test_voc(name, w, h, x, y, label, tmp_path):
    text = XML.format(name=name, w=w, h=h, x=x, y=y, label=label)
    (tmp_path / "a.xml").write_text(text.encode("utf-8", "replace").decode())
    document = told_or_done(voc.read, tmp_path)
    if document:
        json.dumps(document, allow_nan=False)


@few
@given(rows=st.lists(st.lists(words, max_size=6), max_size=3))
def test_yolo(rows, tmp_path):
    (tmp_path / "labels").mkdir(exist_ok=True)
    (tmp_path / "images").mkdir(exist_ok=True)
    (tmp_path / "images" / "a.png").write_bytes(PNG.getvalue())
    (tmp_path / "labels" / "a.txt").write_text("\n".join(" ".join(row) for row in rows))
    (tmp_path / "labels" / "data.yaml").write_text("names:\n  0: a\n  1: b\n")
    document = told_or_done(yolo.read, tmp_path / "labels", tmp_path / "images")
    if document:
        json.dumps(document, allow_nan=False)


FILES = {"m/pipeline.config": b"model {}\n" * 50, "m/checkpoint/ckpt-0.index": bytes(300)}


def _tar():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(content.getvalue(), mtime=0)


def _zip():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    return content.getvalue()


@settings(max_examples=150, deadline=None)
@given(
    archive=st.sampled_from([_tar(), _zip()]), place=st.integers(0, 10**6), bit=st.integers(0, 7)
)
def test_an_archive_with_a_flipped_bit_is_whole_or_told(archive, place, bit, tmp_path_factory):
    """Content that arrives is what was packed: the checksums of both formats are looked at.

    A gzip header's time and flags, and a zip's times, are no content and may differ.
    """
    folder = tmp_path_factory.mktemp("a")
    content = bytearray(archive)
    content[place % len(content)] ^= 1 << bit
    (folder / "a").write_bytes(content)
    if told_or_done(archives.extract, folder / "a", folder / "out", progress=False) is not None:
        arrived = {path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
        assert arrived <= set(FILES.values())
