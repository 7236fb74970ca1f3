"""Other formats: hand-worked boxes, what survives, and what each one refuses."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tfrecords import coco, formats
from tfrecords.errors import InputError
from tfrecords.formats import albumentations, mask_pngs, voc, yolo

# One box in four layouts, as Albumentations' documentation works them out for a 640x480 image.
XYWH_PX = [98, 345, 322, 117]
ALBUMENTATIONS = [0.153125, 0.71875, 0.65625, 0.9625]
YOLO = [0.4046875, 0.840625, 0.503125, 0.24375]
VOC = {"xmin": 99, "ymin": 346, "xmax": 420, "ymax": 462}  # pixels counted from 1, inclusive


@pytest.fixture
def one_box(tmp_path):
    """An annotation file with that box on dog.jpg, and the folder of the image."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (640, 480)).save(folder / "dog.jpg")
    content = formats.document(
        [{"id": 7, "file_name": "dog.jpg", "height": 480, "width": 640}],
        [
            {
                "id": 3,
                "image_id": 7,
                "category_id": 18,
                "bbox": XYWH_PX,
                "area": 30000.5,
                "iscrowd": 0,
            }
        ],
        {1: "person", 18: "dog"},
    )
    path = tmp_path / "one.json"
    path.write_text(json.dumps(content))
    return path, folder, content


def test_albumentations_corners(one_box, tmp_path):
    path, _, content = one_box
    counts = albumentations.write(coco.load(path), tmp_path / "one.jsonl")
    (line,) = [json.loads(line) for line in (tmp_path / "one.jsonl").open()]
    assert line["bboxes"] == [pytest.approx(ALBUMENTATIONS)]
    assert (line["labels"], line["ids"], line["areas"]) == (["dog"], [3], [30000.5])
    assert counts == {"images": 1, "annotations": 1, "unknown_image_or_category": 0}
    back = albumentations.read(tmp_path / "one.jsonl")
    assert back["images"] == content["images"]
    assert back["annotations"] == [content["annotations"][0] | {"bbox": pytest.approx(XYWH_PX)}]
    assert back["categories"] == [{"id": 18, "name": "dog"}]


def test_albumentations_without_the_optional_lists(tmp_path):
    line = {
        "file_name": "dog.jpg",
        "height": 480,
        "width": 640,
        "bboxes": [ALBUMENTATIONS],
        "labels": ["dog"],
        "category_ids": [1],
    }
    (tmp_path / "one.jsonl").write_text(json.dumps(line))
    (annotation,) = albumentations.read(tmp_path / "one.jsonl")["annotations"]
    assert annotation == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": pytest.approx(XYWH_PX),
        "area": pytest.approx(322 * 117),
        "iscrowd": 0,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bboxes": [[0, 0, 1]]}, ":1: not enough values"),
        ({"labels": []}, ":1: 0 labels for 1 bboxes"),
        ({"height": None}, ":1: "),
        ({"file_name": ...}, ":1: lacks 'file_name'"),
    ],
)
def test_albumentations_refused(change, message, tmp_path):
    line = {
        "file_name": "a.jpg",
        "height": 4,
        "width": 4,
        "bboxes": [[0, 0, 1, 1]],
        "labels": ["dog"],
        "category_ids": [1],
    } | change
    line = {key: value for key, value in line.items() if value is not ...}
    (tmp_path / "x.jsonl").write_text(json.dumps(line))
    with pytest.raises(InputError, match=message):
        albumentations.read(tmp_path / "x.jsonl")


def test_voc_corners(one_box, tmp_path):
    path, _, content = one_box
    assert voc.write(path, tmp_path / "voc")["annotations"] == 1
    xml = (tmp_path / "voc/Annotations/dog.xml").read_text()
    for name, value in VOC.items():
        assert f"<{name}>{value}</{name}>" in xml
    back = voc.read(tmp_path / "voc")
    (annotation,) = back["annotations"]
    assert annotation["bbox"] == XYWH_PX
    assert {c["id"]: c["name"] for c in back["categories"]}[annotation["category_id"]] == "dog"
    assert back["images"] == [content["images"][0] | {"id": 1}]


def test_yolo_centres(one_box, tmp_path):
    path, images, content = one_box
    assert yolo.write(path, tmp_path / "yolo")["annotations"] == 1
    label, *box = (tmp_path / "yolo/dog.txt").read_text().split()
    assert label == "1"  # the second category, counted from 0
    assert [float(value) for value in box] == pytest.approx(YOLO, abs=1e-6)
    back = yolo.read(tmp_path / "yolo", images)
    (annotation,) = back["annotations"]
    assert annotation["bbox"] == pytest.approx(XYWH_PX, abs=1e-3)
    assert back["images"] == [content["images"][0] | {"id": 1}]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("written", [voc, yolo])
def test_a_packed_file_and_one_with_a_byte_order_mark(one_box, tmp_path, written, packed):
    """The library that writes these formats takes neither by itself."""
    path = one_box[0]
    counts = written.write(path, tmp_path / "plain")
    content = b"\xef\xbb\xbf" + path.read_bytes()
    other = tmp_path / ("other.json.gz" if packed else "other.json")
    other.write_bytes(gzip.compress(content) if packed else content)
    assert written.write(other, tmp_path / "other") == counts
    files = sorted(each for each in (tmp_path / "plain").rglob("*") if each.is_file())
    assert files
    for file in files:
        same = tmp_path / "other" / file.relative_to(tmp_path / "plain")
        assert same.read_text().replace("other", "plain") == file.read_text()


def test_crowds_in_voc_and_yolo(dataset, tmp_path):
    crowds = sum(a["iscrowd"] for a in dataset.document["annotations"])
    total = len(dataset.document["annotations"])
    assert crowds == 1
    assert voc.write(dataset.annotations, tmp_path / "voc")["crowd_as_difficult"] == crowds
    assert sum(a["iscrowd"] for a in voc.read(tmp_path / "voc")["annotations"]) == crowds
    counts = yolo.write(dataset.annotations, tmp_path / "yolo")
    assert (counts["skipped_crowd"], counts["annotations"]) == (crowds, total - crowds)


def test_mask_numbers_become_instances(tmp_path):
    """Two instances worked out by hand, in the numbering of Penn-Fudan."""
    (tmp_path / "PNGImages").mkdir()
    (tmp_path / "PedMasks").mkdir()
    numbers = np.zeros((20, 30), np.uint8)
    numbers[2:6, 10:13] = 1  # 3 wide, 4 high
    numbers[8:18, 1:3] = 2
    numbers[9, 2] = 0  # a hole
    Image.new("RGB", (30, 20)).save(tmp_path / "PNGImages/FudanPed00001.png")
    Image.fromarray(numbers).save(tmp_path / "PedMasks/FudanPed00001_mask.png")
    content = mask_pngs.read(tmp_path / "PedMasks", tmp_path / "PNGImages")
    assert content["images"] == [
        {"id": 1, "file_name": "FudanPed00001.png", "height": 20, "width": 30}
    ]
    assert content["categories"] == [{"id": 1, "name": "pedestrian"}]
    first, second = content["annotations"]
    assert (first["bbox"], first["area"]) == ([10, 2, 3, 4], 12)
    assert (second["bbox"], second["area"]) == ([1, 8, 2, 10], 19)
    assert np.array_equal(coco_mask.decode(second["segmentation"]), numbers == 2)


def test_masks_there_and_back(dataset, tmp_path):
    """Every non-crowd mask comes back, up to pixels that a smaller instance covers."""
    counts = mask_pngs.write(coco.load(dataset.annotations, segmentations=True), tmp_path / "m")
    document = dataset.document
    assert counts["images"] == len(document["images"])
    assert counts["skipped_crowd"] == 1
    assert counts["annotations"] + counts["hidden"] + 1 == len(document["annotations"])
    back = mask_pngs.read(tmp_path / "m", dataset.images)
    names = {image["id"]: image["file_name"] for image in back["images"]}
    for image in document["images"]:
        drawn = np.zeros((image["height"], image["width"]), bool)
        for annotation in document["annotations"]:
            if annotation["image_id"] == image["id"] and not annotation["iscrowd"]:
                rles = coco_mask.frPyObjects(annotation["segmentation"], *drawn.shape)
                drawn |= coco_mask.decode(coco_mask.merge(rles)) > 0
        found = np.zeros_like(drawn)
        for annotation in back["annotations"]:
            if names[annotation["image_id"]] == image["file_name"]:
                instance = coco_mask.decode(annotation["segmentation"]) > 0
                assert not (found & instance).any()
                found |= instance
        assert np.array_equal(found, drawn)


def _no_images(folder):
    (folder / "PNGImages").mkdir()
    return "no image a"


def _other_size(folder):
    (folder / "PNGImages").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "PNGImages/a.png")
    return "is 9x9, its mask a_mask.png 4x4"


def _coloured(folder):
    (folder / "PNGImages").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "PNGImages/a.png")
    Image.new("RGB", (4, 4)).save(folder / "PedMasks/a_mask.png")
    return "mode RGB"


@pytest.mark.parametrize("prepare", [_no_images, _other_size, _coloured])
def test_masks_refused(prepare, tmp_path):
    (tmp_path / "PedMasks").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "PedMasks/a_mask.png")
    message = prepare(tmp_path)
    with pytest.raises(InputError, match=message):
        mask_pngs.read(tmp_path / "PedMasks", tmp_path / "PNGImages")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda folder: voc.read(folder), "holds no"),
        (lambda folder: voc.read(folder / "nowhere"), "not Pascal VOC annotations"),
        (lambda folder: yolo.read(folder, folder), "no label files"),
        (lambda folder: mask_pngs.read(folder, folder), "holds no masks"),
        (lambda folder: albumentations.read(folder / "nowhere"), "cannot be read"),
    ],
)
def test_nothing_to_read(read, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_yolo_label_without_image(one_box, tmp_path):
    path, images, _ = one_box
    yolo.write(path, tmp_path / "yolo")
    (images / "dog.jpg").rename(images / "cat.jpg")
    with pytest.raises(InputError, match=r"no image for dog\.txt"):
        yolo.read(tmp_path / "yolo", images)


def test_an_existing_folder_is_left_alone(one_box, tmp_path):
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        voc.write(one_box[0], tmp_path / "voc")
    assert [path.name for path in (tmp_path / "voc").iterdir()] == ["mine.txt"]


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, "tools/convert_annotations.py", *map(str, arguments)],
        capture_output=True,
        text=True,
    )


def test_tool_there_and_back(one_box, tmp_path):
    path, _, content = one_box
    out = tmp_path / "voc"
    done = run_tool("--from=coco", f"--input={path}", "--to=voc", f"--output={out}")
    assert (done.returncode, "annotations 1" in done.stdout) == (0, True), done.stderr
    back = tmp_path / "back.json"
    done = run_tool("--from=voc", f"--input={out}", "--to=coco", f"--output={back}")
    written = back.read_bytes()
    again = run_tool("--from=voc", f"--input={out}", "--to=coco", f"--output={back}")
    assert again.returncode == 2 and f"{back}: exists already" in again.stderr
    assert back.read_bytes() == written
    assert done.returncode == 0, done.stderr
    assert json.loads(back.read_text())["annotations"][0]["bbox"] == XYWH_PX


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from=voc", "--to=yolo", "--output=o"], "convert in two steps"),
        (["--from=yolo", "--to=coco", "--output=o"], "needs --image_dir"),
        (["--from=coco", "--to=tfrecord", "--output=o"], "create_coco_tf_record"),
        (["--from=parquet", "--to=tfrecord", "--output=o"], "needs --num_shards"),
        (["--from=voc", "--to=coco"], "missing --output"),
    ],
)
def test_tool_tells_mistakes_with_status_2(arguments, message, tmp_path):
    done = run_tool(*arguments, f"--input={tmp_path}")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
