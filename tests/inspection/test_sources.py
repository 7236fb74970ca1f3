"""Shards, COCO and Parquet give the same examples; mistakes are told."""

import glob
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from replicate import odapi

odapi.load()

from replicate.errors import UserError
from replicate.inspection import sources, stream
from replicate.odapi import build_model
from tests.inspection import making
from tests.tfrecords.vision import run as vision
from tests.tools.running import started
from tfrecords import coco
from tfrecords.errors import InputError
from tfrecords.formats import parquet


@pytest.fixture(scope="module")
def config():
    """Without a shuffle, so that the order is that of the source."""
    return making.config("ssd", {"train_input_reader.shuffle": "false"}, num_classes=3)


@pytest.fixture(scope="module")
def hub(drawn, tmp_path_factory):
    """The drawn images as the hub stores them."""
    annotations, images = drawn
    folder = tmp_path_factory.mktemp("hub") / "data"
    parquet.write(coco.load(annotations), images, folder, "train", rows_a_file=5)
    return folder


@pytest.fixture(scope="module")
def model(config):
    return build_model(config.model, is_training=True)


def _examples(config, model, **request):
    with sources.opened(config, sources.InspectionRequest(**request)) as source:
        place = {"seed": 1, "first_example": 0, "count": 12}
        found = list(stream.examples(source.config, model, **place))
    return source, sorted(found, key=lambda example: int(example.decoded["source_id"]))


def test_every_source_gives_the_same_records(config, model, drawn, records, hub, tmp_path):
    """As the API decodes them; parquet keeps images and boxes, so nothing may differ."""
    annotations, images = drawn
    label_map = str(records / "label_map.pbtxt")
    asked = {
        "records": {"records": f"{records}/train-*.tfrecord", "label_map": label_map},
        "coco": {"coco": str(pathlib.Path(annotations).parent), "image_dir": images},
        "parquet": {"parquet": str(hub)},
        "TF-Vision's": {"records": str(tmp_path / "theirs"), "label_map": label_map},
    }
    vision("convert", annotations, images, tmp_path / "theirs", 2)
    found = {name: _examples(config, model, **request) for name, request in asked.items()}
    _, expected = found.pop("records")
    assert [int(example.decoded["source_id"]) for example in expected] == list(range(1, 13))
    for name, (source, examples) in found.items():
        assert source.categories == {1: "disc", 2: "square", 3: "triangle"}, name
        assert source.images == 12
        for ours, theirs in zip(examples, expected, strict=True):
            assert ours.decoded.keys() == theirs.decoded.keys()
            for field in theirs.decoded:
                np.testing.assert_array_equal(ours.decoded[field], theirs.decoded[field], field)


@pytest.mark.parametrize("name", ["", "train", "train-*.tfrecord"])
def test_records_by_folder_prefix_and_pattern(name, config, records):
    label_map = str(records / "label_map.pbtxt")
    request = sources.InspectionRequest(
        records=f"{records}/{name}".rstrip("/"), label_map=label_map
    )
    with sources.opened(config, request) as source:
        (pattern,) = source.config.train_input_reader.tf_record_input_reader.input_path
        assert sorted(glob.glob(pattern)) == sorted(map(str, records.glob("train-*.tfrecord")))
        assert source.images == 12


def test_no_more_is_read_than_asked_for(config, drawn, hub, monkeypatch):
    """Of twelve images five: a choice of COCO's by the seed, the first of Parquet's."""
    annotations, images = drawn
    read = []
    original = sources.shards.read_image
    monkeypatch.setattr(
        sources.shards, "read_image", lambda path: read.append(path) or original(path)
    )
    ids = {}
    for seed in (1, 2):
        request = sources.InspectionRequest(
            coco=annotations, image_dir=images, max_images=5, seed=seed
        )
        with sources.opened(config, request) as source:
            (shard,) = source.config.train_input_reader.tf_record_input_reader.input_path
            ids[seed] = _ids(shard)
        assert not pathlib.Path(shard).exists()
    assert len(read) == 10 and len(ids[1]) == len(ids[2]) == 5 and ids[1] != ids[2]
    with sources.opened(
        config, sources.InspectionRequest(parquet=str(hub), max_images=5)
    ) as source:
        (shard,) = source.config.train_input_reader.tf_record_input_reader.input_path
        assert _ids(shard) == [1, 2, 3, 4, 5]


def _ids(shard):
    from tfrecords import example, framing

    return [int(example.decode(record)["image/source_id"][1][0]) for record in framing.read(shard)]


def test_what_the_converter_would_leave_out_is_counted(config, drawn, tmp_path):
    annotations, images = drawn
    document = json.loads(pathlib.Path(annotations).read_text())
    document["images"][0]["file_name"] = "absent.jpg"
    lost = sum(each["image_id"] == 1 for each in document["annotations"])
    document["annotations"][-1]["bbox"][2] = 0
    (tmp_path / "instances.json").write_text(json.dumps(document))
    request = sources.InspectionRequest(coco=str(tmp_path), image_dir=images)
    with sources.opened(config, request) as source:
        assert source.dropped == {
            "images: image_missing": 1,
            "annotations: image_missing": lost,
            "annotations: box_empty": 1,
        }


def test_images_are_found_beside_the_annotations(config, tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "pictures" / "a.jpg")
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "disc"}],
        "annotations": [],
    }
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(document))
    with sources.opened(config, sources.InspectionRequest(coco=str(tmp_path))) as source:
        assert source.paths[1] == str(tmp_path / "pictures")
    (tmp_path / "pictures" / "a.jpg").unlink()
    with (
        pytest.raises(UserError, match=r"a\.jpg, is in no folder beside it; give --image_dir"),
        sources.opened(config, sources.InspectionRequest(coco=str(tmp_path))),
    ):
        pass


PROJECT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_it_leaves_nothing_behind(number, drawn, tmp_path):
    with started(
        [
            *(sys.executable, str(PROJECT / "tools" / "inspect_pipeline.py")),
            f"--pipeline_config_path={making.MODELS['ssd'][0]}",
            *(f"--coco={drawn[0]}", f"--image_dir={drawn[1]}", f"--output={tmp_path / 'page'}"),
        ],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not list(tmp_path.glob(".inspect-*/*")):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        process.send_signal(number)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in told
    assert not list(tmp_path.glob(".inspect-*"))


def _two(folder):
    for name in ("instances_a.json", "instances_b.json"):
        (folder / name).write_text("{}")
    return {"coco": str(folder)}


@pytest.mark.parametrize(
    "request_of, message",
    [
        (lambda folder: {"records": "a", "coco": "b"}, "one of --records, --coco: .*different"),
        (lambda folder: {"records": str(folder / "x-*")}, "--records=.*no file matches"),
        (lambda folder: {"records": ""}, "train_input_reader.input_path: no file matches"),
        (lambda folder: {"coco": str(folder / "no.json")}, "no such annotation file or folder"),
        (_two, "found .*instances_a.json, .*instances_b.json; give the file"),
        (lambda folder: {"parquet": str(folder)}, "no Parquet files there"),
    ],
)
def test_mistakes_are_told(request_of, message, config, tmp_path):
    with (
        pytest.raises((UserError, InputError), match=message),
        sources.opened(config, sources.InspectionRequest(**request_of(tmp_path))),
    ):
        pass


def test_records_want_their_label_map(config, records):
    with (
        pytest.raises(UserError, match="label_map_path: PATH.*no such file; give --label_map"),
        sources.opened(config, sources.InspectionRequest(records=str(records))),
    ):
        pass


@pytest.mark.parametrize(
    "overrides, request_of, message",
    [
        ({"train_input_reader.num_keypoints": 17}, "coco", "trains keypoints"),
        ({"train_input_reader.load_instance_masks": "true"}, "parquet", "trains masks"),
    ],
)
def test_what_a_source_does_not_hold(overrides, request_of, message, drawn, hub):
    given = {"coco": {"coco": drawn[0]}, "parquet": {"parquet": str(hub)}}[request_of]
    config = making.config("ssd", overrides)
    with (
        pytest.raises(UserError, match=message),
        sources.opened(config, sources.InspectionRequest(**given)),
    ):
        pass
