"""The seam: whichever engine's config, the rest is told the same things of it."""

import importlib

import pytest

from replicate import engine
from replicate.errors import UserError

SSD = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
MASKS = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"
SECOND_STAGE = "model.faster_rcnn.second_stage_post_processing"


@pytest.mark.parametrize(
    ("source", "name", "classes", "masks", "batch_size", "num_steps"),
    [
        # of the published configs: 90 classes, and TF-Vision's 91 with the background
        (SSD, engine.ODAPI, 90, False, 128, 50000),
        (MASKS, engine.ODAPI, 90, True, 16, 200000),
        ("retinanet_mobilenetv2_256", engine.TFVISION, 90, False, 256, 277200),
        ("maskrcnn_spinenet49_640", engine.TFVISION, 90, True, 256, 231000),
    ],
)
def test_a_config_is_described(source, name, classes, masks, batch_size, num_steps):
    config = engine.read(source)
    assert engine.of(config) == name
    described = engine.describe(config)
    assert (described.num_classes, described.predicts_masks) == (classes, masks)
    assert (described.batch_size, described.num_steps) == (batch_size, num_steps)
    assert (described.label_map is None) == (name == engine.TFVISION)


def test_what_fills_a_part_is_there():
    """Every name of the table; the detectors' rooms load TensorFlow and are looked at as files."""
    for parts in engine._FILLED.values():
        for place in parts.values():
            module, _, attribute = place.partition(":")
            spec = importlib.util.find_spec(module)
            assert f" {attribute}" in spec.loader.get_source(module), place


def test_a_part_that_an_engine_lacks_is_told():
    with pytest.raises(UserError, match="the kit has no saved_model of it yet"):
        engine._part(engine.ODAPI, "saved_model")


@pytest.mark.parametrize("source", [SSD, "retinanet_mobilenetv2_256"])
def test_a_config_is_read_again_from_its_text(source):
    config = engine.read(source)
    again = engine.parse(engine.text(config, source), "a run's config")
    assert engine.of(again) == engine.of(config) and engine.diff(config, again) == []
    assert engine.deviations(again, source) == []
    assert engine.deviations(engine.stopping_at(again, 7), source) != []
    assert engine.describe(again).num_steps == 7


def test_configs_of_two_engines_are_not_compared():
    with pytest.raises(UserError, match="have no field in common"):
        engine.diff(engine.read(SSD), engine.read("retinanet_mobilenetv2_256"))
    with pytest.raises(UserError, match="is no model of TF-Vision"):
        engine.deviations(engine.read("retinanet_mobilenetv2_256"), SSD)


@pytest.mark.parametrize(
    ("source", "path", "value"),
    [
        (SSD, "model.ssd.post_processing.batch_non_max_suppression.iou_threshold", "0.25"),
        (MASKS, f"{SECOND_STAGE}.batch_non_max_suppression.iou_threshold", "0.25"),
        (
            "retinanet_mobilenetv2_256",
            "task.model.detection_generator.nms_iou_threshold",
            "0.25",
        ),
    ],
)
def test_a_config_detects_as_another(source, path, value):
    """Suppression is taken over, and nothing else; the config itself stays."""
    config, other, steps = engine.read(source), engine.read(source), engine.STEPS
    engine.set_field(other, path, value)
    engine.set_field(other, steps[engine.of(other)], "7")
    made = engine.detecting_as(config, other)
    assert [each.path for each in engine.diff(config, made)] == [path]
    assert engine.describe(made).num_steps == engine.describe(config).num_steps


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("retinanet_mobilenetv2_256", SSD),
        (SSD, MASKS),
        ("retinanet_mobilenetv2_256", "maskrcnn_resnet50fpn_640"),
    ],
)
def test_no_config_detects_as_one_of_another_kind(source, other):
    """Of two engines, or kinds of model: what one suppresses by, the other does not have."""
    assert engine.detecting_as(engine.read(source), engine.read(other)) is None
