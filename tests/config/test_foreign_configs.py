"""Configs of TensorFlow 1 and of another engine: where, and what TensorFlow 2 has instead."""

import subprocess
import sys

import pytest

from replicate.config import lint
from tests.conftest import PROJECT

TYPE = (11, 25, "model.ssd.feature_extractor.type")
START = (19, 1, "train_config.fine_tune_checkpoint_version")
VERSION = "write fine_tune_checkpoint_version: V2"
CASES = {  # file: {(line, column, field): what is said} of its errors, files that are missing aside
    "ssd_mobilenet_v2": {
        TYPE: "(TensorFlow 1's) is no feature extractor of TensorFlow 2; did you mean "
        "ssd_mobilenet_v2_keras",
        START: VERSION,
    },
    "ssd_inception_v2": {
        TYPE: "(TensorFlow 1's, which TensorFlow 2 has no counterpart of)",
        START: VERSION,
    },
    "wrong_family": {TYPE: "'faster_rcnn_inception_v2' (TensorFlow 1's", START: VERSION},
    "empty_type": {TYPE: "'' is no feature extractor of TensorFlow 2; it has", START: VERSION},
    "keras_bnfalse": {},
    "keras_v1fields": {},
}
WARNED = {  # of what TensorFlow 2 leaves alone or does otherwise
    "ssd_mobilenet_v2": "train_config.from_detection_checkpoint",
    "keras_bnfalse": "train_config.fine_tune_checkpoint",
    "keras_v1fields": "eval_config.metrics_set",
}


@pytest.fixture
def cases(shared):
    return shared / "cases" / "08-tf1-config"


def test_every_case_has_its_answer(cases):
    assert {path.stem for path in cases.glob("*.config")} == set(CASES)
    assert [path.name for path in cases.glob("*.yaml")] == ["garden.yaml"]


@pytest.mark.parametrize("case", CASES)
def test_told_at_its_place(cases, case):
    text = (cases / f"{case}.config").read_text()
    findings = lint.lint(text, case)
    errors = {
        (finding.line, finding.column, finding.path): finding.message
        for finding in findings
        if finding.level == "error" and "PATH_TO_BE_CONFIGURED" not in finding.message
    }
    assert errors.keys() == CASES[case].keys()
    for place, said in CASES[case].items():
        assert said in errors[place]
    if case in WARNED:
        assert WARNED[case] in [each.path for each in findings if each.level == "warning"]


SIBLINGS = {
    "ssd_resnet50_v1_fpn": "did you mean ssd_resnet50_v1_fpn_keras",
    "ssd_mobilenet_v3_small": "has no counterpart of",
    "ssd_mobiledet_cpu": "has no counterpart of",
    "faster_rcnn_resnet101_keras": "(of faster_rcnn) is no feature extractor of ssd",
    "hourglass_104": "(of center_net) is no feature extractor of ssd",
    "SSD_MobileNet_v2_keras": "is no feature extractor of TensorFlow 2",
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_siblings(cases, name):
    text = (cases / "empty_type.config").read_text().replace('type: ""', f'type: "{name}"')
    (said,) = [each.message for each in lint.lint(text, "x") if each.path == TYPE[2]]
    assert SIBLINGS[name] in said


def test_a_tf_vision_experiment_is_named(cases):
    path = str(cases / "garden.yaml")
    for command in (["lint_config.py", path], ["diff_config.py", FPNLITE, path]):
        done = subprocess.run(
            [sys.executable, str(PROJECT / "tools" / command[0]), *command[1:]],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2 and "lint_config.py " not in done.stderr
        assert "TF-Vision" in done.stderr or "two engines" in done.stderr


FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
