"""COCO to records and back: nothing but annotation ids changes."""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

import tfrecords
from tfrecords import inverse, label_map, masks
from tfrecords.errors import InputError

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
CATEGORIES = {1: "person", 7: "Straßenbahn", 90: 'a "quoted" \\ name'}


@st.composite
def documents(draw):
    """COCO documents of a few small images whose boxes are all valid."""
    document = {
        "images": [],
        "annotations": [],
        "categories": [{"id": key, "name": name} for key, name in CATEGORIES.items()],
    }
    ids = draw(st.lists(st.integers(0, 2**40), min_size=1, max_size=4, unique=True))
    for number, image_id in enumerate(ids):
        width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
        document["images"].append(
            {"id": image_id, "file_name": f"{number}.png", "width": width, "height": height}
        )
        for _ in range(draw(st.integers(0, 3))):
            document["annotations"].append(
                {"id": len(document["annotations"]) + 1, "image_id": image_id}
                | draw(annotations(width, height))
            )
    return document


def annotations(width, height):
    fraction = st.floats(0, 1, width=32)

    def make(x0, y0, w, h, area, crowd, category, seed, polygon):
        x, y = x0 * width * 0.9, y0 * height * 0.9
        box = [x, y, max(1e-3, w * (width - x) * 0.999), max(1e-3, h * (height - y) * 0.999)]
        x1, y1 = x + box[2], y + box[3]
        mask = np.random.default_rng(seed).random((height, width)) < 0.4
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        return {
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
            "category_id": category,
            "segmentation": [[x, y, x1, y, x1, y1, x, y1]]
            if polygon
            else {"size": [height, width], "counts": rle["counts"].decode()},
        }

    return st.builds(
        make,
        *(fraction, fraction, fraction, fraction, st.floats(0, 1e6), st.booleans()),
        *(st.sampled_from(sorted(CATEGORIES)), st.integers(0, 2**32), st.booleans()),
    )


@given(document=documents(), num_shards=st.integers(1, 5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_round_trip(document, num_shards):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for image in document["images"]:
            Image.new("L", (image["width"], image["height"])).save(folder / image["file_name"])
        (folder / "in.json").write_text(json.dumps(document), encoding="utf-8")
        try:
            summary = tfrecords.convert(
                folder / "in.json",
                folder,
                folder / "set",
                num_shards,
                include_masks=True,
                progress=False,
            )
        except tfrecords.InputError as error:  # all boxes within a pixel: taken for fractions
            assume("fractions" not in str(error))
            raise
        tfrecords.write_label_map(folder / "in.json", folder / "map.pbtxt")
        categories = label_map.read(folder / "map.pbtxt")
        back = inverse.to_coco(summary.shard_paths, categories, progress=False)

    assert categories == CATEGORIES
    assert back["categories"] == document["categories"]
    assert back["images"] == sorted(document["images"], key=lambda image: image["id"])
    sizes = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    expected = [
        annotation
        for annotation in sorted(document["annotations"], key=lambda each: each["image_id"])
        if coco_mask.area(masks.rle_of(annotation["segmentation"], sizes[annotation["image_id"]]))
    ]
    empty = len(document["annotations"]) - len(expected)
    assert summary.manifest["counts"]["dropped"].get("mask_empty", 0) == empty
    assert len(back["annotations"]) == len(expected)
    for got, want in zip(back["annotations"], expected, strict=True):
        height, width = sizes[want["image_id"]]
        for key in ("image_id", "category_id", "iscrowd"):
            assert got[key] == want[key]
        assert got["area"] == np.float32(want["area"])
        x, y, w, h = want["bbox"]
        corners = np.float32([x / width, y / height, (x + w) / width, (y + h) / height])
        x0, y0, x1, y1 = corners.astype(float)
        exact = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height]
        assert got["bbox"] == exact
        polygons = want["segmentation"]
        if isinstance(polygons, list):
            polygons = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        np.testing.assert_array_equal(
            coco_mask.decode(got["segmentation"]), coco_mask.decode(polygons)
        )


def test_real_annotations_by_the_tools(shared, tmp_path):
    """The COCO annotations of 80 images through both tools; scored with themselves, AP is 1."""
    tiny = shared / "coco" / "tiny"
    annotations_file = tiny / "annotations" / "instances_val2017.json"
    out = tmp_path / "data"
    commands = [
        [
            *("create_coco_tf_record.py", f"--annotations_file={annotations_file}"),
            *(f"--image_dir={tiny / 'val2017'}", f"--output_path={out}/val", "--num_shards=3"),
            *("--include_masks", f"--label_map={out}/map.pbtxt"),
        ],
        [
            *("tf_record_to_coco.py", f"--records={out}/val", f"--label_map={out}/map.pbtxt"),
            f"--output={out}/back.json",
        ],
    ]
    for tool, *arguments in commands:
        subprocess.run([sys.executable, TOOLS / tool, *arguments], check=True, capture_output=True)
    taken = subprocess.run(  # a file that is no label map, before anything is converted
        [
            *(sys.executable, TOOLS / commands[0][0], *commands[0][1:3], "--num_shards=1"),
            *(f"--output_path={out}/more", f"--label_map={annotations_file}"),
        ],
        capture_output=True,
        text=True,
    )
    assert taken.returncode == 2 and "cannot be read as a label map" in taken.stderr
    assert not list(out.glob("more*"))
    back = json.loads((out / "back.json").read_text())
    real = json.loads(annotations_file.read_text())
    assert len(back["annotations"]) == len(real["annotations"])

    import hotcoco

    detections = [a | {"score": 1.0} for a in back["annotations"] if not a["iscrowd"]]
    groundtruth = hotcoco.COCO(str(annotations_file))
    for iou_type in ("bbox", "segm"):
        evaluation = hotcoco.COCOeval(groundtruth, groundtruth.load_res(detections), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0)


def test_category_that_the_label_map_lacks(dataset, tmp_path):
    summary = tfrecords.convert(
        dataset.annotations, dataset.images, tmp_path / "set", 1, progress=False
    )
    with pytest.raises(InputError, match="no category 'tooth brush' in the label map"):
        inverse.to_coco(summary.shard_paths, {1: "person"}, progress=False)


def test_no_records(tmp_path):
    with pytest.raises(InputError, match="no records found"):
        inverse.shard_paths(tmp_path / "nothing")
