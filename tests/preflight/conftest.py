"""A small experiment with a recipe of its own, on which every reason passes."""

import dataclasses

import pytest

import tfrecords
from replicate import config as configs
from replicate import preflight, replication
from replicate.demo import drawing
from tests.doctor.conftest import cuda_without, driver_of_two  # noqa: F401  (fixtures)

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
SMALL = (
    ("model.ssd.image_resizer.fixed_shape_resizer.height", "96"),
    ("model.ssd.image_resizer.fixed_shape_resizer.width", "96"),
    ("model.ssd.feature_extractor.depth_multiplier", "0.35"),
    ("train_config.batch_size", "8"),
)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """{"train" or "val": (annotation file, image folder)}; read only."""
    return drawing.draw(tmp_path_factory.mktemp("drawn"), train_images=30, val_images=6)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    """A config file that stands for the published recipe of the drawn data."""
    path = tmp_path_factory.mktemp("recipe") / "published.config"
    message = configs.render(
        MODEL, num_classes=3, fine_tune_checkpoint="", overrides=SMALL, global_batch_size=None
    )
    path.write_text(configs.to_text(message))
    return path


@pytest.fixture
def intent(drawn, recipe, tmp_path):
    """A function: what would be launched, with changes.

    `overrides` and `model` are the request's, what `edit` does to the config is a drift that
    nobody asked for, other fields are the Intent's.
    """

    def make(edit=None, overrides=(), model=None, num_steps=None, **fields):
        request = replication.ReplicationRequest(
            model=str(model or recipe),
            train_annotations=str(fields.pop("train_annotations", drawn["train"][0])),
            train_images=str(fields.pop("train_images", drawn["train"][1])),
            val_annotations=str(fields.pop("val_annotations", drawn["val"][0])),
            val_images=str(fields.pop("val_images", drawn["val"][1])),
            overrides=tuple(overrides),
            num_steps=num_steps,
            fine_tune_checkpoint=fields.pop("fine_tune_checkpoint", ""),
        )
        run_dir = fields.pop("run_dir", tmp_path / "run")
        made = replication.intent(request, run_dir)
        if edit:
            edit(made.message)
        return dataclasses.replace(made, **fields)

    return make


@pytest.fixture
def records(drawn, tmp_path):
    """The records of the drawn data in the run directory, as replicate makes them."""
    folder = tmp_path / "run" / "data"
    for split, shards in (("train", 3), ("val", 2)):
        tfrecords.convert(*drawn[split], str(folder / split), shards, progress=False)
    tfrecords.write_label_map(drawn["train"][0], str(folder / "label_map.pbtxt"))
    return folder


@pytest.fixture
def told():
    """A function: {number: Result} of an Intent, without the trial."""

    def check(intent, **fields):
        answer = preflight.check(dataclasses.replace(intent, **fields), trial=False, progress=False)
        return {result.number: result for result in answer.results}

    return check
