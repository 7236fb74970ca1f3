"""Lint's errors are the API's refusals: of mutated configs the two say the same."""

import random
import re

import pytest

from replicate import config
from replicate.config import build_rules, lint_rules
from tests.config import mutating

#: Errors of lint that the API meets only when it traces the model or has trained nothing: the
#: pyramid's levels are looked up with the first image, as are the anchors', num_steps 0 ends before
#: the first step, a crop is drawn of an image, and boxes are decoded at the first step.
LATER = re.compile(
    r"feature_extractor\.fpn|feature_extractor\.bifpn\S*: .*above max_level|train_config\.num_steps"
    r"|multiscale_anchor_generator\.m\w+_level: anchors of levels|random_crop_image\.m\w+:"
    r"|\.box_code_size:"
)
#: Rules about files and other parts of the config.
NOT_OF_BUILDING = {
    *("required_paths", "fine_tuning", "class_count", "label_maps", "moving_averages", "metrics"),
}
RULES = [rule for rule in lint_rules.RULES if rule.__name__ not in NOT_OF_BUILDING]


@pytest.fixture(scope="module", autouse=True)
def api():
    from replicate import odapi

    odapi.load()


def differing(seeds, names, keypoints):
    """What API and lint say differently of the mutations of `seeds`; and how many were refused."""
    found, refused = [], 0
    for seed in seeds:
        generator = random.Random(seed)
        message = config.template(generator.choice(names))
        if message.model.center_net.keypoint_estimation_task:
            message.model.center_net.keypoint_label_map_path = keypoints
        path, before, now = mutating.mutate(message, generator)
        refusal = mutating.refusal(message)
        errors = [
            f"{problem.path}: {problem.message}"
            for rule in RULES
            for problem in rule(message)
            if problem.level == "error"
        ]
        refused += refusal is not None
        if not errors if refusal else not all(LATER.search(error) for error in errors):
            found.append(f"{seed}: {path} {before} -> {now}; API: {refusal}; lint: {errors}")
    return found, refused


@pytest.fixture(scope="module")
def keypoints(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "person.pbtxt"
    points = " ".join(f"keypoints {{ id: {i} label: '{name}' }}" for i, name in enumerate(POINTS))
    path.write_text(f"item {{ id: 1 name: 'person' display_name: 'person' {points} }}\n")
    return str(path)


POINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)


def test_a_slice_of_mutations(keypoints):
    quick = [
        name
        for name in config.template_names()
        if not name.startswith("centernet") and "efficientdet" not in name
    ]
    found, refused = differing(range(150), quick, keypoints)
    assert found == [] and refused > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", config.template_names())
def test_mutations_of_all_configs(keypoints, name):
    first = 10_000 + 100 * config.template_names().index(name)
    found, _ = differing(range(first, first + 34), [name], keypoints)  # 1,224 of all 36
    assert found == []


def test_no_published_config_has_an_error():
    for name in config.template_names():
        message = config.template(name)
        errors = [
            problem for rule in RULES for problem in rule(message) if problem.level == "error"
        ]
        assert errors == []


FRCNN = "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8"
FPN = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
MASK = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"
NMS = "model.ssd.post_processing.batch_non_max_suppression"
_KEEP = "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer"
_RATE = "train_config.optimizer.momentum_optimizer.learning_rate"
_INITIALIZER = (
    "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor.fc_hyperparams"
    ".initializer.variance_scaling_initializer"
)
_CODED = "weight_shared_convolutional_box_predictor.box_code_size"
CASES = [  # template, what is set, level, path of the finding, told
    (FPN, {f"{NMS}.score_threshold": "0.5"}, "warning", f"{NMS}.score_threshold", "0.5 cuts off"),
    (FPN, {"train_config.batch_size": "0"}, "warning", "train_config.batch_size", "nothing"),
    (
        FPN,
        {"eval_input_reader[0].num_epochs": "3"},
        "warning",
        "eval_input_reader[0].num_epochs",
        "each image so often",
    ),
    (
        FPN,
        {"eval_input_reader[0].sample_1_of_n_examples": "4"},
        "warning",
        "eval_input_reader[0].sample_1_of_n_examples",
        "a part of the images",
    ),
    (
        MASK,
        {"train_input_reader.load_instance_masks": "false"},
        "warning",
        "train_input_reader.load_instance_masks",
        "mask head",
    ),
    (
        FRCNN,
        {f"{_KEEP}.pad_to_max_dimension": "false"},
        "warning",
        f"{_KEEP}.pad_to_max_dimension",
        "different shapes",
    ),
    *(
        (
            FPN,
            {f"{_RATE}.{kind}.{field}": "0"},
            "warning",
            f"{_RATE}.{kind}.{field}",
            "no weight ever changes",
        )
        for kind, field in (
            ("constant_learning_rate", "learning_rate"),
            ("cosine_decay_learning_rate", "learning_rate_base"),
            ("exponential_decay_learning_rate", "initial_learning_rate"),
            ("manual_step_learning_rate", "initial_learning_rate"),
        )
    ),
    (
        FPN,
        {f"{NMS}.max_detections_per_class": "0"},
        "warning",
        f"{NMS}.max_detections_per_class",
        "nothing is detected",
    ),
    (
        FPN,
        {"model.ssd.image_resizer.fixed_shape_resizer.height": "0"},
        "warning",
        "model.ssd.image_resizer.fixed_shape_resizer.height",
        "of no image",
    ),
    (
        FRCNN,
        {f"{_INITIALIZER}.factor": "0"},
        "error",
        f"{_INITIALIZER}.factor",
        "above 0",
    ),
    (
        "efficientdet_d0_coco17_tpu-32",
        {"model.ssd.feature_extractor.bifpn.min_level": "0"},
        "error",
        "model.ssd.feature_extractor.bifpn.min_level",
        "no feature map below level 1",
    ),
    (
        FPN,
        {"model.ssd.feature_extractor.fpn.min_level": "9"},
        "error",
        "model.ssd.feature_extractor.fpn.min_level",
        "above max_level",
    ),
    (
        FPN,
        {f"model.ssd.box_predictor.{_CODED}": "-1"},
        "error",
        f"model.ssd.box_predictor.{_CODED}",
        "4 numbers a box",
    ),
    (
        FRCNN,
        {"model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor.box_code_size": "5"},
        "error",
        "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor.box_code_size",
        "4 numbers a box",
    ),
]


@pytest.mark.parametrize("name, changes, level, path, told", CASES)
def test_single_findings(name, changes, level, path, told):
    message = config.template(name)
    for each, value in changes.items():
        config.set_field(message, each, value)
    (found,) = [problem for rule in build_rules.RULES for problem in rule(message)]
    assert (found.level, found.path) == (level, path) and told in found.message


def test_a_keypoint_label_map_without_the_class(tmp_path):
    message = config.template("centernet_resnet50_v2_512x512_kpts_coco17_tpu-8")
    path = tmp_path / "map.pbtxt"
    path.write_text("item { id: 1 name: 'people' }")
    message.model.center_net.keypoint_label_map_path = str(path)
    (found,) = build_rules.keypoint_class(message)
    assert found.level == "error" and "is no label of" in found.message


def test_a_centernet_s_fine_tune_is_detection():
    message = config.template("centernet_hourglass104_512x512_coco17_tpu-8")
    message.train_config.fine_tune_checkpoint = "x"
    message.train_config.fine_tune_checkpoint_type = "fine_tune"
    (found,) = lint_rules.fine_tuning(message)
    assert "is detection under another name" in found.message
