"""Every record equals the one that the Object Detection API's own converter writes."""

import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tfrecords
from tfrecords import example, framing

MASK = "image/object/mask"


def run_api(*jobs):
    """Runs the API's converter on jobs, as tests/tfrecords/api_convert.py takes them."""
    script = pathlib.Path(__file__).with_name("api_convert.py")
    texts = [json.dumps(job, default=str) for job in jobs]
    subprocess.run([sys.executable, script, *texts], check=True, capture_output=True)


def api_records(annotations, images, folder, num_shards, masks, *keypoints):
    """[[features] for every shard] of the API's converter."""
    run_api([annotations, images, folder / "api", num_shards, masks, *keypoints])
    return read_api_records(folder / "api", num_shards)


def read_api_records(output, num_shards):
    return [
        [example.decode(record) for record in framing.read(f"{output}-{i:05d}-of-{num_shards:05d}")]
        for i in range(num_shards)
    ]


def our_records(summary):
    return [[example.decode(r) for r in framing.read(path)] for path in summary.shard_paths]


def decoded(features):
    """The features with mask PNGs replaced by (size, pixel values)."""
    if MASK not in features:
        return features
    masks = [np.asarray(Image.open(io.BytesIO(png))) for png in features[MASK][1]]
    return features | {MASK: [(mask.shape, mask.astype(np.uint8).tobytes()) for mask in masks]}


@pytest.fixture(scope="module")
def real_images(shared, tmp_path_factory):
    """{(split, masks): (annotation file, image folder, output path of the API's records)}."""
    tiny, folder = shared / "coco" / "tiny", tmp_path_factory.mktemp("api")
    cases = {
        (split, masks): (
            *(tiny / "annotations" / f"instances_{split}.json", tiny / split),
            folder / f"{split}-{masks}",
        )
        for split in ("train2017", "val2017")
        for masks in (False, True)
    }
    run_api(*([*case, 3, masks] for (_, masks), case in cases.items()))
    return cases


@pytest.mark.parametrize("split", ["train2017", "val2017"])
@pytest.mark.parametrize("masks", [False, True])
def test_real_images(real_images, tmp_path, split, masks):
    annotations, images, api_output = real_images[split, masks]
    summary = tfrecords.convert(
        annotations, images, tmp_path / "ours", 3, include_masks=masks, progress=False
    )
    ours = our_records(summary)
    assert sum(map(len, ours)) == 80
    for our_shard, their_shard in zip(ours, read_api_records(api_output, 3), strict=True):
        for our, their in zip(our_shard, their_shard, strict=True):
            assert decoded(our) == decoded(their)


def test_keypoints(dataset, tmp_path):
    """Persons with and without keypoints beside objects that are none."""
    rng = np.random.default_rng(5)
    people = [a for a in dataset.document["annotations"] if a["category_id"] == 1]
    keypoints = [
        {
            "id": a["id"],
            "image_id": a["image_id"],
            "num_keypoints": int(rng.integers(0, 18)),
            "keypoints": np.stack(
                [rng.integers(0, 40, 17), rng.integers(0, 30, 17), rng.integers(0, 3, 17)], axis=1
            )
            .ravel()
            .tolist(),
        }
        for a in people[::2]
    ]
    path = tmp_path / "person_keypoints.json"
    path.write_text(json.dumps(dataset.document | {"annotations": keypoints}))
    theirs = api_records(dataset.annotations, dataset.images, tmp_path, 2, False, path)
    summary = tfrecords.convert(
        dataset.annotations,
        dataset.images,
        tmp_path / "ours",
        2,
        keypoints_file=path,
        progress=False,
    )
    assert our_records(summary) == theirs
    written = sum(sum(f["image/object/keypoint/num"][1]) for s in theirs for f in s)
    assert written == sum(k["num_keypoints"] for k in keypoints) > 0


def test_boxes_that_the_api_drops(dataset, tmp_path):
    """Empty boxes, and boxes that end outside the image by as little as a rounding error."""
    changes = {0: [3, 4, 0, 5], 1: [3, 4, 5, -1], 2: [30, 4, 10.000001, 5], 3: [1, 28, 4, 2.5]}
    dataset.change(lambda d: [d["annotations"][k].update(bbox=box) for k, box in changes.items()])
    theirs = api_records(dataset.annotations, dataset.images, tmp_path, 2, False)
    summary = tfrecords.convert(
        dataset.annotations, dataset.images, tmp_path / "ours", 2, progress=False
    )
    assert our_records(summary) == theirs
    assert summary.manifest["counts"]["dropped"] == {
        "box_empty": 2,
        "box_outside_image_by_less_than_a_pixel": 2,
    }
    ledger = list(map(json.loads, pathlib.Path(summary.ledger_path).read_text().splitlines()))
    expected = {dataset.document["annotations"][k]["id"] for k in changes}
    assert {entry["annotation_id"] for entry in ledger} == expected
