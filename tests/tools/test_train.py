"""tools/train.py makes a run directory, as tools/replicate.py does."""

import sys

import pytest

import tfrecords
from replicate import config
from replicate.demo import drawing
from replicate.run import RunDir, read_json
from tests.tools.running import PROJECT, run_tool

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
SMALL = [
    ("model.ssd.image_resizer.fixed_shape_resizer.height", "96"),
    ("model.ssd.image_resizer.fixed_shape_resizer.width", "96"),
    ("model.ssd.feature_extractor.depth_multiplier", "0.35"),
    ("train_config.batch_size", "2"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    splits = drawing.draw(folder, train_images=8, val_images=2)
    for split, (annotations, images) in splits.items():
        tfrecords.convert(annotations, images, str(folder / "records" / split), 1, progress=False)
    tfrecords.write_label_map(splits["train"][0], str(folder / "records" / "label_map.pbtxt"))
    message = config.render(
        MODEL,
        train_records=str(folder / "records" / "train-?????-of-?????.tfrecord"),
        val_records=str(folder / "records" / "val-?????-of-?????.tfrecord"),
        label_map=str(folder / "records" / "label_map.pbtxt"),
        fine_tune_checkpoint="",
        num_steps=2,
        overrides=SMALL,
    )
    path = folder / "pipeline.config"
    path.write_text(config.text_of(message, MODEL))
    return path, *splits["val"]


def _train(path, run_dir, *more):
    tool = (sys.executable, str(PROJECT / "tools" / "train.py"))
    return run_tool(
        [
            *(*tool, f"--pipeline_config_path={path}", f"--model_dir={run_dir}"),
            *("--rehearsal", "--notrial", *more),
        ]
    )


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    path, annotations, images = data
    run_dir = tmp_path_factory.mktemp("runs") / "a"
    done = _train(path, run_dir, f"--val_annotations={annotations}", f"--val_images={images}")
    assert done.returncode == 0, done.stderr
    return RunDir.existing(run_dir), done


def test_every_file_of_a_run_directory(data, trained):
    run, done = trained
    path, annotations, images = data
    assert done.stdout.strip() == str(run.checkpoints / "ckpt-2")
    spec = read_json(run.spec)
    assert spec["kind"] == "training" and spec["command"].startswith("python tools/train.py --pipe")
    assert spec["request"]["model"] == MODEL
    assert (spec["request"]["val_annotations"], spec["request"]["val_images"]) == (
        annotations,
        images,
    )
    assert config.load(run.pipeline_config) == config.load(path)
    deviations = config.operations_to_json(config.deviations(config.load(path), MODEL))
    assert read_json(run.deviations) == deviations
    assert read_json(run.environment)["packages"]["tensorflow"]
    assert read_json(run.preflight)["rehearsal"] is True
    assert read_json(run.training)["state"] == "done"
    # Preflight held the run against its recipe and looked at the images it will be scored on.
    assert "published 6,400,000" in done.stderr and "2 images, " in done.stderr


def test_again_it_has_nothing_to_do(data, trained):
    run, _ = trained
    before = {path: path.stat().st_mtime_ns for path in run.root.rglob("*") if path.is_file()}
    done = _train(data[0], run.root)  # the evaluation set is known from the first start
    assert done.returncode == 0, done.stderr
    assert read_json(run.spec)["request"]["val_annotations"] == data[1]
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


def test_another_config_or_seed_is_refused(data, trained, tmp_path):
    path, *_ = data
    run, _ = trained
    refused = _train(path, run.root, "--seed=3")
    assert refused.returncode == 2 and "seed was 0, now 3" in refused.stderr
    message = config.load(path)
    message.train_config.batch_size = 4
    other = tmp_path / "other.config"
    other.write_text(config.to_text(message))
    refused = _train(other, run.root)
    assert refused.returncode == 2
    assert "train_config.batch_size was 2, now 4" in refused.stderr


def test_a_replication_is_not_trained_over(data, tmp_path):
    run = RunDir.at(tmp_path / "run")
    run.root.mkdir()
    run.spec.write_text('{"format": 1, "request": {}, "command": ""}')
    refused = _train(data[0], run.root)
    assert refused.returncode == 2 and "a run of another tool" in refused.stderr
