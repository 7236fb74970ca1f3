"""Bad input is told in one message that names the file or id; nothing is lost silently."""

import errno
import io
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

import tfrecords
from tfrecords import example, framing
from tfrecords.errors import InputError

RNG = np.random.default_rng(1)
HEIGHT, WIDTH = 30, 40


def convert(dataset, tmp_path, **options):
    return tfrecords.convert(
        dataset.annotations, dataset.images, tmp_path / "out" / "set", 2, progress=False, **options
    )


def ledger(summary):
    return [json.loads(line) for line in pathlib.Path(summary.ledger_path).open(encoding="utf-8")]


def records(summary):
    return [example.decode(record) for path in summary.shard_paths for record in framing.read(path)]


def picture(mode="RGB", width=WIDTH, height=HEIGHT):
    channels = len(mode) if mode != "L" else 1
    pixels = RNG.integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode=mode)


def encoded(image, image_format, **options):
    file = io.BytesIO()
    image.save(file, format=image_format, **options)
    return file.getvalue()


def png_head(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + b"\0\0\0\1IDAT"


def truncated(dataset):
    path = dataset.path(3)
    path.write_bytes(path.read_bytes()[:-200])


def rotated(dataset):
    """Annotated as a viewer shows it; the pixels lie on their side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    dataset.path(3).write_bytes(encoded(picture(width=HEIGHT, height=WIDTH), "JPEG", exif=exif))


def other(image_format):
    return lambda dataset: dataset.path(3).write_bytes(encoded(picture(), image_format))


BAD_IMAGES = {
    "truncated JPEG": (truncated, "image_truncated", "cut off or damaged"),
    "PNG under a .jpg name": (other("PNG"), "image_format", "a PNG under a JPEG's name"),
    "WebP under a .jpg name": (other("WEBP"), "image_format", "a WEBP under a JPEG's name"),
    "GIF under a .jpg name": (other("GIF"), "image_format", "a GIF under a JPEG's name"),
    "EXIF-rotated": (rotated, "image_size", "EXIF orientation (6)"),
    "of another size": (
        lambda d: picture(width=WIDTH + 1).save(d.path(3)),
        "image_size",
        "41x30 pixels, annotated as 40x30",
    ),
    "empty file": (lambda d: d.path(3).write_bytes(b""), "image_unreadable", "the file is empty"),
    "of too many pixels": (
        lambda d: d.path(3).write_bytes(png_head(60_000, 60_000)),
        "image_unreadable",
        "decompression bomb",
    ),
    "no image": (lambda d: d.path(3).write_text("<html>404"), "image_unreadable", "not an image"),
    "missing": (lambda d: d.path(3).unlink(), "image_missing", "are missing"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_image(dataset, tmp_path, case):
    damage, reason, message = BAD_IMAGES[case]
    damage(dataset)
    image_id = dataset.document["images"][3]["id"]

    with pytest.raises(InputError) as error:
        convert(dataset, tmp_path)
    for part in ("003.jpg", f"image {image_id}", message, "--on_error=skip"):
        assert part in str(error.value)
    assert not list((tmp_path / "out").glob("*manifest*")) + list(tmp_path.rglob("*.partial"))

    summary = convert(dataset, tmp_path, on_error="skip")
    counts = summary.manifest["counts"]
    assert counts["images_skipped"] == {reason: 1} and counts["dropped"] == {reason: 3}
    assert counts["images"] == 6 and counts["annotations_written"] == 6
    lost = [a["id"] for a in dataset.document["annotations"] if a["image_id"] == image_id]
    assert [e["annotation_id"] for e in ledger(summary)] == [None, *lost]
    assert {(e["image_id"], e["reason"]) for e in ledger(summary)} == {(image_id, reason)}


@pytest.mark.parametrize(
    "content, note",
    [
        (encoded(picture("L"), "JPEG"), {"greyscale": 1}),
        (encoded(picture("CMYK"), "JPEG"), {"cmyk": 1}),
        (encoded(picture(), "JPEG", progressive=True) + b"\0\0", {}),
    ],
    ids=["greyscale", "CMYK", "padded"],
)
def test_unusual_jpegs_arrive_and_are_noted(dataset, tmp_path, content, note):
    dataset.path(3).write_bytes(content)
    summary = convert(dataset, tmp_path)
    assert summary.manifest["counts"]["notes"] == note
    (features,) = [f for f in records(summary) if f["image/encoded"][1] == [content]]
    assert features["image/format"][1] == [b"jpeg"]


def test_unusual_jpegs_decode_to_three_channels_in_tensorflow(dataset):
    """What the notes promise. CMYK is compared with Pillow's conversion, coarsely."""
    tf = pytest.importorskip("tensorflow")
    for mode in ("L", "CMYK"):
        flat = Image.new(mode, (16, 16), {"L": 90, "CMYK": (200, 30, 90, 20)}[mode])
        content = encoded(flat, "JPEG", quality=95)
        pixels = tf.io.decode_jpeg(content, channels=3).numpy()
        reference = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int32)
        assert np.abs(pixels - reference).max() <= 25


def test_png_under_its_own_name_says_png(dataset, tmp_path):
    content = encoded(picture(), "PNG")
    (dataset.images / "003.png").write_bytes(content)
    dataset.change(lambda d: d["images"][3].update(file_name="003.png"))
    found = [f for f in records(convert(dataset, tmp_path)) if f["image/encoded"][1] == [content]]
    assert [f["image/format"][1] for f in found] == [[b"png"]]


def test_a_camera_s_two_pictures_in_one_file_are_a_jpeg(dataset, tmp_path):
    """MPO, which phones write under .jpg: decoders read its first picture."""
    path = dataset.path(1)
    picture().save(path, "MPO", save_all=True, append_images=[picture(width=8, height=8)])
    summary = convert(dataset, tmp_path)
    formats = {record["image/format"][1][0] for record in records(summary)}
    assert formats == {b"jpeg"}


def test_non_ascii_names(dataset, tmp_path):
    name = "naïve 犬 картина.jpg"
    dataset.path(3).rename(dataset.images / name)
    dataset.change(lambda d: d["images"][3].update(file_name=name))
    dataset.change(lambda d: d["categories"][1].update(name="зубная щётка"))
    summary = convert(dataset, tmp_path)
    found = [f for f in records(summary) if f["image/filename"][1] == [name.encode()]]
    assert len(found) == 1 and len(found[0]["image/object/class/text"][1]) == 3
    path = tmp_path / "map.pbtxt"
    tfrecords.write_label_map(dataset.annotations, path)
    assert tfrecords.label_map.read(path) == {1: "person", 90: "зубная щётка"}


BAD_FILES = {
    "duplicate image id": (
        lambda d: d["images"][2].update(id=d["images"][1]["id"]),
        "image id(s) occur more than once: 107",
    ),
    "duplicate annotation id": (
        lambda d: d["annotations"][2].update(id=1000),
        "annotation id(s) occur more than once: 1000",
    ),
    "unknown image": (
        lambda d: d["annotations"][2].update(image_id=5),
        "annotation 1002 (image 5): unknown image",
    ),
    "unknown category": (
        lambda d: d["annotations"][2].update(category_id=3),
        "annotation 1002 (image 114): unknown category",
    ),
    "leaves the folder": (
        lambda d: d["images"][2].update(file_name="../../etc/passwd"),
        "image 114 has file_name '../../etc/passwd', which leaves the image folder",
    ),
    "absolute name": (
        lambda d: d["images"][2].update(file_name="/etc/passwd"),
        "image 114 has file_name '/etc/passwd', which leaves the image folder",
    ),
    "Windows' ..": (
        lambda d: d["images"][2].update(file_name="..\\x.jpg"),
        "which leaves the image folder",
    ),
    "no size": (lambda d: d["images"][2].update(height=0), "image 114 (002.jpg) is 40x0 pixels"),
    "no images": (lambda d: d.pop("images"), "it has no 'images'"),
    "images no list": (lambda d: d.update(images={}), "'images' is not a list"),
    "bbox of three": (
        lambda d: d["annotations"][2].update(bbox=[1, 2, 3]),
        "annotations[2], id 1002: Expected `array` of length 4",
    ),
    "no area": (
        lambda d: d["annotations"][2].pop("area"),
        "annotations[2], id 1002: Object missing required field `area`",
    ),
    "iscrowd 2": (
        lambda d: d["annotations"][2].update(iscrowd=2),
        "iscrowd is neither 0 nor 1 in annotation(s) 1002",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_annotation_file(dataset, tmp_path, case):
    edit, message = BAD_FILES[case]
    dataset.change(edit)
    with pytest.raises(InputError) as error:
        convert(dataset, tmp_path)
    assert message in str(error.value) and "instances.json" in str(error.value)
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("text", ["", "[1, 2]", "no JSON", '{"images": [{"id": 1, "fi', "\xff"])
def test_no_coco_file(dataset, tmp_path, text):
    dataset.annotations.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"instances\.json: not (JSON|COCO)"):
        convert(dataset, tmp_path)


def test_truncated_file(dataset, tmp_path):
    text = dataset.annotations.read_bytes()
    dataset.annotations.write_bytes(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"instances\.json: not JSON, or cut off"):
        convert(dataset, tmp_path)


def test_unknown_image_and_category_in_the_ledger(dataset, tmp_path):
    def edit(document):
        document["annotations"][4].update(image_id=5)  # the crowd region
        document["annotations"][2].update(category_id=3)

    dataset.change(edit)
    summary = convert(dataset, tmp_path, on_error="skip")
    counts = summary.manifest["counts"]
    assert counts["dropped"] == {"unknown_image": 1, "unknown_category": 1}
    assert (counts["crowd"], counts["crowd_dropped"]) == (0, 1)
    assert [(e["image_id"], e["annotation_id"], e["reason"]) for e in ledger(summary)] == [
        (5, 1004, "unknown_image"),
        (114, 1002, "unknown_category"),
    ]


NAN = float("nan")
BOXES = {  # box: (dropped by skip, dropped by clip, clipped corners x0 y0 x1 y1 in pixels)
    "nan": ([NAN, 2, 3, 4], "box_not_finite", "box_not_finite", None),
    "infinite": ([1, 2, float("inf"), 4], "box_not_finite", "box_not_finite", None),
    "empty": ([1, 2, 0, 4], "box_empty", "box_empty", None),
    "negative size": ([1, 2, 3, -4], "box_empty", "box_empty", None),
    "negative corner": ([-1.5, -2, 3, 4], "box_negative", None, (0, 0, 1.5, 2)),
    "right": ([38, 2, 3, 4], "box_outside_image", None, (38, 2, 40, 6)),
    "below": ([1, 20, 3, 11.5], "box_outside_image", None, (1, 20, 4, 30)),
    "below by a rounding": (
        [1, 20, 3, 10.5],
        "box_outside_image_by_less_than_a_pixel",
        None,
        (1, 20, 4, 30),
    ),
    "left by a rounding": (
        [-0.4, 2, 3, 4],
        "box_negative_by_less_than_a_pixel",
        None,
        (0, 2, 2.6, 6),
    ),
    "elsewhere": ([50, 2, 3, 4], "box_outside_image", "box_outside_image", None),
}


@pytest.mark.parametrize("case", BOXES)
def test_invalid_box(dataset, tmp_path, case):
    box, skipped, not_clipped, corners_px = BOXES[case]
    dataset.change(lambda d: d["annotations"][2].update(bbox=box))

    summary = convert(dataset, tmp_path)
    assert summary.manifest["counts"]["dropped"] == {skipped: 1}
    (entry,) = ledger(summary)
    assert (entry["image_id"], entry["annotation_id"], entry["reason"]) == (114, 1002, skipped)

    with pytest.raises(InputError, match=f"annotation 1002 of image 114 .*{skipped}"):
        convert(dataset, tmp_path / "error", invalid_boxes="error")

    clipped = convert(dataset, tmp_path / "clip", invalid_boxes="clip")
    counts = clipped.manifest["counts"]
    assert counts["dropped"] == ({not_clipped: 1} if not_clipped else {})
    assert counts["boxes_clipped"] == int(corners_px is not None)
    if corners_px:
        (features,) = [f for f in records(clipped) if f["image/source_id"][1] == [b"114"]]
        sides = ("xmin", "ymin", "xmax", "ymax")
        written = [features[f"image/object/bbox/{side}"][1][1] for side in sides]
        np.testing.assert_allclose(written, np.divide(corners_px, (40, 30, 40, 30)), rtol=1e-7)


@pytest.mark.parametrize(
    "segmentation, reason",
    [
        (None, "there is no segmentation"),
        ([], "the segmentation"),
        ([[1, 2]], "a polygon of no three corners"),
        ("mask", "the segmentation is neither polygons nor RLE"),
        ({"size": [3, 4], "counts": [12]}, "covers [3, 4], the image is [30, 40]"),
    ],
)
def test_unusable_segmentation(dataset, tmp_path, segmentation, reason):
    def edit(document):
        document["annotations"][2]["segmentation"] = segmentation
        if segmentation is None:
            del document["annotations"][2]["segmentation"]

    dataset.change(edit)
    with pytest.raises(InputError) as error:
        convert(dataset, tmp_path, include_masks=True)
    assert "annotation 1002 of image 114" in str(error.value) and reason in str(error.value)
    summary = convert(dataset, tmp_path, include_masks=True, on_error="skip")
    assert summary.manifest["counts"]["dropped"] == {"segmentation": 1}
    assert len(ledger(summary)) == 1


@pytest.mark.parametrize("area_px", [-1e300, 1e39])
def test_an_area_that_a_record_cannot_hold(dataset, tmp_path, area_px):
    """A record holds float32, of which it would be an infinity."""
    dataset.change(lambda document: document["annotations"][2].update(area=area_px))
    summary = convert(dataset, tmp_path)
    assert summary.manifest["counts"]["dropped"] == {"area_not_finite": 1}
    written = [each for features in records(summary) for each in features["image/object/area"][1]]
    assert len(written) == 8 and np.isfinite(written).all()


def test_images_without_annotations(dataset, tmp_path):
    kept = convert(dataset, tmp_path)
    assert kept.manifest["counts"]["images"] == 7 and "2 without annotations (kept)" in str(kept)
    left_out = convert(dataset, tmp_path / "b", keep_images_without_annotations=False)
    assert left_out.manifest["counts"]["images_skipped"] == {"no_annotations": 2}
    assert "2 without annotations (left out)" in str(left_out)
    assert {f["image/source_id"][1][0] for f in records(kept)} - {
        f["image/source_id"][1][0] for f in records(left_out)
    } == {b"100", b"128"}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image_dir": "nowhere"}, "nowhere: no such image folder"),
        ({"annotations_file": "nothing.json"}, "nothing.json: no such annotation file"),
        ({"output_path": "out/"}, "out/: is a folder"),
        ({"num_shards": 0}, "0 shards"),
    ],
)
def test_bad_arguments(dataset, change, message):
    arguments = {
        "annotations_file": str(dataset.annotations),
        "image_dir": str(dataset.images),
        "output_path": "out/set",
        "num_shards": 1,
    }
    with pytest.raises(InputError, match=message):
        tfrecords.convert(**(arguments | change), progress=False)


def test_no_space_is_told_before_the_work(dataset, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="0.0 GB free, the records need about"):
        convert(dataset, tmp_path)
    assert not list((tmp_path / "out").glob("*.tfrecord"))


def test_no_space_during_the_work(dataset, tmp_path, monkeypatch):
    """The disk fills at the second shard; the first is kept, the same call continues."""
    real, written = framing.Writer.write, []

    def full(writer, record):
        written.append(record)
        if len(written) == 6:  # the first shard has four
            raise OSError(errno.ENOSPC, "No space left on device")
        real(writer, record)

    monkeypatch.setattr(framing.Writer, "write", full)
    with pytest.raises(InputError, match="no space left; finished shards are kept"):
        convert(dataset, tmp_path, num_workers=1)
    assert [p.name for p in (tmp_path / "out").glob("*tfrecord*")] == [
        "set-00000-of-00002.tfrecord"
    ]
    monkeypatch.undo()
    assert convert(dataset, tmp_path).manifest["counts"]["images"] == 7


def test_a_data_set_that_loses_every_object_is_no_success(tmp_path, dataset):
    """The ledger has each; the tool does not end as if there were something to train on."""
    document = json.loads(pathlib.Path(dataset.annotations).read_text(encoding="utf-8"))
    for annotation in document["annotations"]:
        annotation["bbox"] = [0, 0, -1, 5]
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(document), encoding="utf-8")
    tool = pathlib.Path(__file__).resolve().parents[2] / "tools" / "create_coco_tf_record.py"
    done = subprocess.run(
        [sys.executable, tool, f"--annotations_file={broken}", f"--image_dir={dataset.images}"]
        + [f"--output_path={tmp_path / 'out' / 'set'}", "--num_shards=1"],
        capture_output=True,
        text=True,
    )
    count = len(document["annotations"])
    assert done.returncode == 2, done.stderr
    assert f"none of the {count} annotations was written" in done.stderr
    assert len((tmp_path / "out" / "dropped-set.jsonl").read_text().splitlines()) >= count
