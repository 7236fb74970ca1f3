"""Checkpoints: fed as tools/evaluate.py feeds them, whatever their resizer; moving averages."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from replicate import odapi

odapi.load()


from replicate import config as configs
from replicate import score
from replicate.benchmarking import Dataset
from replicate.explain import from_model
from replicate.explain.rigs import Running, rig_of
from tests.evaluate.conftest import Case

_KEEP = "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer"
_AVERAGES = [
    ("train_config.optimizer.use_moving_average", "true"),
    ("eval_config.use_moving_averages", "true"),
]


def _of_many_shapes(case):
    """Cuts the case's drawn images so that they are wide, tall and square."""
    document = json.loads(pathlib.Path(case.annotations_file).read_text())
    for number, each in enumerate(document["images"]):
        path = pathlib.Path(case.image_dir) / each["file_name"]
        each["width"], each["height"] = ((256, 150), (131, 256), (256, 256))[number % 3]
        with Image.open(path) as image:
            cut = image.crop((0, 0, each["width"], each["height"]))
        cut.save(path, quality=95)
    pathlib.Path(case.annotations_file).write_text(json.dumps(document))


def _evaluated(case):
    """The detections of `tools/evaluate.py`."""
    evaluation = case.evaluation()
    evaluation.restore(str(case.checkpoint_dir))
    return [each for found in evaluation.by_image(progress=False) for each in found.as_results()]


def _measured(case, **how):
    return from_model(
        str(case.checkpoint_dir),
        case.annotations_file,
        case.image_dir,
        num_images=None,
        pipeline_config=str(case.config_path),
        samples=0,
        **how,
    )


def _rows(measured, step):
    return {each["value"]: each for each in measured["changes"] if each["step"] == step}


@pytest.mark.parametrize(
    "family, overrides, only",
    [
        pytest.param("centernet", [], [], id="centernet"),
        pytest.param("faster_rcnn", [], ["resize"], id="faster_rcnn", marks=pytest.mark.slow),
        pytest.param(
            "faster_rcnn",
            [(f"{_KEEP}.min_dimension", "64")],
            ["resize"],
            id="a range of sides",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_resizer_that_keeps_the_aspect(family, overrides, only, tmp_path):
    case = Case(tmp_path, family, overrides)
    _of_many_shapes(case)
    case.make_objects()
    expected = _evaluated(case)
    measured = _measured(case, only=["aspect", *only])
    theirs = score.score(case.annotations_file, expected, evaluator="hotcoco").metrics
    for name, value in measured["baseline"]["figures"].items():
        assert value == pytest.approx(theirs[name], abs=1e-6) and value > 0
    assert measured["baseline"]["aspect"] == "kept"
    assert _rows(measured, "nothing")["the same once more"]["identical"]
    assert all(each["pixel_difference"] > 0 for each in _rows(measured, "resize").values())
    assert [each["value"] for each in measured["left_out"] if each["step"] == "aspect"] == (
        ["kept, padded", "stretched"] if overrides else ["kept, padded"]
    )
    if not overrides:
        stretched = _rows(measured, "aspect")["stretched"]
        assert not stretched["identical"] and stretched["pixel_difference"] is not None


def test_moving_averages_off_is_the_weights_themselves(tmp_path):
    """Averages of a trained kind, weights of zeros: on finds objects, off scores all alike."""
    case = Case(tmp_path, "ssd", _AVERAGES, checkpoint=False)
    case.save_averages(3)
    dataset = Dataset(case.annotations_file, case.image_dir)
    rig = rig_of(case.checkpoint_dir, dataset, pipeline_config=str(case.config_path))
    assert "averages" not in rig.without
    names = json.loads(pathlib.Path(case.annotations_file).read_text())["images"]
    images = [(each["id"], pathlib.Path(case.image_dir) / each["file_name"]) for each in names]

    def found(**how):
        return rig.detect(images[:2], rig.steps, Running(**how))

    theirs = {each["score"] for each in _evaluated(case)}
    on, off = found(), found(averages=False)
    assert found(averages=True) == on
    assert len({each["score"] for each in on}) > 20
    assert all(np.isclose(list(theirs), each["score"], atol=1e-6).any() for each in on)
    assert len({each["score"] for each in off}) <= 2, "zeros score every anchor alike"


def test_a_checkpoint_without_averages_says_so(tmp_path):
    case = Case(tmp_path, "ssd")
    dataset = Dataset(case.annotations_file, case.image_dir)
    rig = rig_of(case.checkpoint_dir, dataset, pipeline_config=str(case.config_path))
    assert "keeps no moving averages" in rig.without["averages"]
    assert not configs.read(case.config_path).eval_config.use_moving_averages
