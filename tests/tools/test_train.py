"""tools/train.py makes a run directory, as tools/replicate.py does."""

import json
import re
import shutil
import sys

import pytest

import tfrecords
from replicate import config, identity
from replicate.demo import drawing
from replicate.run import RunDir, read_json
from tests.faults.tools import content
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


@pytest.fixture
def kept_records(data):
    """The records are put back after the test."""
    folder = data[0].parent / "records"
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    yield
    shutil.rmtree(folder)
    kept.rename(folder)


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


def _swap_two_ids(folder):
    path = folder / "records" / "label_map.pbtxt"
    path.write_text(re.sub(r"id: ([12])\b", lambda id_: f"id: {3 - int(id_[1])}", path.read_text()))


def _convert_others(folder):
    """Other records under the same names, with the manifest of their own conversion."""
    source = next((folder).rglob("instances_train.json"))
    document = json.loads(source.read_text())
    document["annotations"][0]["bbox"][2] -= 1
    other = source.with_name("other.json")
    other.write_text(json.dumps(document))
    for path in (folder / "records").glob("*train*"):
        path.unlink()
    images = next(path for path in folder.iterdir() if path.name == "train")
    tfrecords.convert(other, images, str(folder / "records" / "train"), 1, progress=False)
    other.unlink()


# What happens to the data, flags, what is said.
OTHER_RUNS = {
    "label map": (_swap_two_ids, (), "1 was 'disc', is 'square', 2 was 'square', is 'disc'"),
    "records": (_convert_others, (), "train records have other content"),
    "precision": (None, ("--precision=bfloat16",), "precision was float32, is bfloat16"),
    "seed": (None, ("--seed=3",), "seed was 0, now 3"),
}


@pytest.mark.parametrize("steps", [2, 3], ids=["at its end", "to go on"])
@pytest.mark.parametrize("what", OTHER_RUNS)
def test_another_run_is_refused_and_nothing_changes(data, trained, kept_records, what, steps):
    change, flags, said = OTHER_RUNS[what]
    if change is not None:
        change(data[0].parent)
    before = content(trained[0].root)
    refused = _train(data[0], trained[0].root, f"--num_train_steps={steps}", *flags)
    assert refused.returncode == 2
    assert said in " ".join(refused.stderr.split())  # preflight's table breaks its lines
    assert content(trained[0].root) == before


def test_fewer_steps_than_are_done_are_refused_and_nothing_changes(data, trained):
    before = content(trained[0].root)
    refused = _train(data[0], trained[0].root, "--num_train_steps=1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "has trained 2 steps, more than the 1 that are asked for" in refused.stderr
    assert content(trained[0].root) == before


def test_what_is_accepted_at_a_runs_end_is_told_and_not_kept(data, trained, kept_records, tmp_path):
    """Two fields in one flag; no step is left, so the run stays what was trained."""
    run = RunDir.at(tmp_path / "run")
    shutil.copytree(trained[0].root, run.root)
    before = run.identity.read_bytes()
    _convert_others(data[0].parent)
    refused = _train(data[0], run.root)
    assert refused.returncode == 2 and "--accept=train_records" in refused.stderr
    went_on = _train(data[0], run.root, "--accept=train_records,train_annotations")
    assert went_on.returncode == 0, went_on.stderr
    assert "nothing is left to train, so it stays what was trained" in went_on.stderr
    assert run.identity.read_bytes() == before and "accepted" not in read_json(run.spec)
    assert identity.accepted_notes(run) == []


def test_a_replication_is_not_trained_over(data, tmp_path):
    run = RunDir.at(tmp_path / "run")
    run.root.mkdir()
    run.spec.write_text('{"format": 1, "request": {}, "command": ""}')
    refused = _train(data[0], run.root)
    assert refused.returncode == 2 and "a run of another tool" in refused.stderr
