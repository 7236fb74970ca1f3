"""The verdict on an input, and the settings that decide it."""

import re

import pytest

from replicate import config as configs
from replicate import odapi

odapi.load()

from replicate.inspection import answer, recipe_input, sources
from replicate.verdict import official

MODEL = "ssd_mobilenet_v2_320x320_coco17_tpu-8"
FASTER = "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8"
CENTERNET = "centernet_hourglass104_512x512_coco17_tpu-8"


def _source(images=recipe_input.TRAIN2017_IMAGES, categories=None):
    return sources.StreamSource(
        "records", [], None, categories or official.categories(), images, {}, ""
    )


def _compared(model, overrides, **source):
    config = configs.render(model, overrides=list(overrides.items()), label_map="mine.pbtxt")
    return recipe_input.compare(config, _source(**source), model)


@pytest.mark.parametrize(
    "model, path, value, decides",
    [
        (MODEL, "train_config.data_augmentation_options[1].ssd_random_crop.operations.min_area",
         "0.5", True),
        (MODEL, "train_config.batch_size", "8", True),
        (MODEL, "train_input_reader.load_instance_masks", "true", True),
        (MODEL, "model.ssd.matcher.argmax_matcher.matched_threshold", "0.6", True),
        (MODEL, "model.ssd.anchor_generator.ssd_anchor_generator.min_scale", "0.1", True),
        (MODEL, "model.ssd.image_resizer.fixed_shape_resizer.height", "320", True),
        (MODEL, "model.ssd.loss.random_example_sampler.positive_sample_fraction", "0.1", True),
        (FASTER, "model.faster_rcnn.first_stage_minibatch_size", "128", True),
        (FASTER, "model.faster_rcnn.clip_anchors_to_image", "false", True),
        (CENTERNET, "model.center_net.object_center_params.min_box_overlap_iou", "0.5", True),
        (CENTERNET, "model.center_net.feature_extractor.bgr_ordering", "false", True),
        (MODEL, "train_config.num_steps", "10", False),
        (MODEL, "model.ssd.loss.classification_weight", "2.0", False),
        (MODEL, "eval_config.batch_size", "4", False),
        (FASTER, "model.faster_rcnn.first_stage_nms_iou_threshold", "0.5", False),
    ],
)  # fmt: skip
def test_settings_that_decide_the_input(model, path, value, decides):
    compared = _compared(model, {path: value})
    assert recipe_input.same(compared) == (not decides)
    if decides:
        (setting,) = compared["settings"]
        assert path.split("[")[0].startswith(setting["path"].split("[")[0])


@pytest.mark.parametrize(
    "source, differing, said",
    [
        ({}, [], "the same 80"),
        ({"images": 80}, ["images"], "80"),
        ({"categories": {1: "disc", 2: "person"}}, ["categories"], "2: 1 of COCO's and 1 others"),
        (
            {"categories": dict(enumerate(official.categories().values(), 1))},
            ["categories"],
            "the same 80 names under other ids; --label_map gives the recipe's",
        ),
    ],
)
def test_data_beside_the_recipes(source, differing, said):
    compared = _compared(MODEL, {}, **source)
    assert [row["what"] for row in compared["data"] if not row["same"]] == differing
    assert said in [row["ours"] for row in compared["data"]]


def _content(**changes):
    content = {
        "recipe": None,
        "objects": {
            "recorded": 10, "crowd": 0, "trained": 8, "not_in_label_map": 0,
            "trained_without_class": 0,
        },
        "model": {"num_classes": 90},
        "source": {"dropped": {}},
        "anchors": {
            "rule": {"matched_threshold": 0.5},
            "by_size": {"all": {"without_anchor": 0.25}, "small": {"without_anchor": None}},
        },
        "heat_maps": None,
    }  # fmt: skip
    return content | changes


@pytest.mark.parametrize(
    "changes, verdict, said",
    [
        ({}, "NOT COMPARED", "25.0% of the objects have none at IoU 0.5"),
        ({"recipe": {"recipe": "m", "settings": [], "data": []}}, "AS PUBLISHED", "as in the"),
        ({"recipe": {"recipe": "m", "settings": [{}], "data": []}}, "DIFFERS", "1 differ from"),
        ({"source": {"dropped": {"x": 3}}}, "NOT COMPARED", "8 of 10 objects; 3 more were not"),
        (
            {"anchors": None, "heat_maps": {"by_size": {"all": {"recalled": 0.5}}}},
            "NOT COMPARED",
            "50.0% of the objects have a peak of their own",
        ),
    ],
)
def test_the_answer(changes, verdict, said):
    found = answer.answer(_content(**changes))
    assert found["verdict"] == verdict
    assert any(said in fact["text"] for fact in found["facts"])


@pytest.mark.parametrize(
    "field, said",
    [
        ("not_in_label_map", "4 objects have names that are not in the label map"),
        ("trained_without_class", r"4 objects have an id above num_classes \(90\)"),
    ],
)
def test_objects_without_a_class_are_told(field, said):
    content = _content()
    content["objects"][field] = 4
    (fact,) = [each for each in answer.answer(content)["facts"] if each["label"] == "Labels"]
    assert fact["ok"] is False
    assert re.search(said, fact["text"])
