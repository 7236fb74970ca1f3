"""What a report reads of a run directory that tools/train.py made."""

import pytest

import tfrecords
from replicate import config, opening, train_run
from replicate.demo import drawing
from replicate.report import run_files
from replicate.run import RunDir

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


@pytest.fixture
def run(tmp_path):
    """A run whose records lie elsewhere, as it is before its first step."""
    splits = drawing.draw(tmp_path / "drawn", train_images=4, val_images=2)
    for split, (annotations, images) in splits.items():
        tfrecords.convert(annotations, images, str(tmp_path / "rec" / split), 1, progress=False)
    message = config.render(
        MODEL,
        num_classes=3,
        train_records=str(tmp_path / "rec" / "train-?????-of-?????.tfrecord"),
        val_records=str(tmp_path / "rec" / "val-?????-of-?????.tfrecord"),
    )
    made = RunDir.at(tmp_path / "run")
    request = train_run.TrainingRequest("pipeline.config", MODEL, val_annotations=splits["val"][0])
    opening.write_spec(made, request, "python tools/train.py", [], kind="training")
    opening.write_config(made, message, MODEL)
    return made


def test_the_manifests_of_records_that_lie_elsewhere(run):
    files = run_files.read(run)
    assert {split: each["counts"]["images"] for split, each in files.manifests.items()} == {
        "train": 4,
        "val": 2,
    }
    assert not any("records" in each["what"] for each in files.not_checked)


def test_records_without_a_manifest_are_named(run, tmp_path):
    for path in (tmp_path / "rec").glob("manifest-*.json"):
        path.unlink()
    files = run_files.read(run)
    assert files.manifests == {}
    assert any("records: counts" in each["what"] for each in files.not_checked)


def test_a_run_of_no_known_recipe_was_not_compared(run):
    opening.write_config(run, config.load(run.pipeline_config), None)
    files = run_files.read(run)
    assert files.deviations is None
    assert [each["why"] for each in files.not_checked if "published" in each["what"]] == [
        "it is not known of which zoo model the config is; tools/train.py --model names it"
    ]
