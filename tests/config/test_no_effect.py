"""Fields that do nothing: the list is the API's source's; diff and lint tell them."""

import subprocess
import sys

import pytest

from replicate import config
from replicate.config import build_rules, no_effect
from tests.conftest import PROJECT
from tests.odapi import fields_read

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


def test_the_list_is_that_of_the_source():
    assert no_effect.listed() == set(fields_read.derived())


def test_fields_that_are_read_are_not_in_it():
    for path in (
        *("train_config.batch_size", "train_config.freeze_batchnorm", "model.ssd.num_classes"),
        *("train_config.gradient_clipping_by_norm", "model.ssd.freeze_batchnorm"),
        *("train_config.optimizer.use_moving_average", "eval_config.metrics_set"),
        "train_config.fine_tune_checkpoint_type",
    ):
        assert not no_effect.of(path)


SETS = {
    "train_config.freeze_variables": (
        lambda m: m.train_config.freeze_variables.append(".*"),
        "--freeze=",
    ),
    "train_config.update_trainable_variables": (
        lambda m: m.train_config.update_trainable_variables.append("x"),
        "--freeze=",
    ),
    "train_config.bias_grad_multiplier": (
        lambda m: setattr(m.train_config, "bias_grad_multiplier", 2.0),
        "no effect",
    ),
    "graph_rewriter": (lambda m: setattr(m.graph_rewriter.quantization, "delay", 5), "quantize"),
}


@pytest.mark.parametrize("path", SETS)
def test_told_by_lint_and_diff(path):
    before, after = config.template(FPNLITE), config.template(FPNLITE)
    SETS[path][0](after)
    (found,) = build_rules.unread(after)
    assert (found.level, found.path) == ("warning", path) and SETS[path][1] in found.message
    operations = config.diff(before, after)
    assert {operation.cls for operation in operations} == {"no effect in TensorFlow 2"}
    assert "1 no effect in TensorFlow 2" in config.view.summary(operations)


def test_published_configs_are_not_warned_of():
    for name in config.template_names():
        assert list(build_rules.unread(config.template(name))) == []


def test_told_by_render(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, str(PROJECT / "tools" / "render_config.py"), f"--model={FPNLITE}"),
            *(f"--output={tmp_path / 'x.config'}", "--set=train_config.freeze_variables=['.*']"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "warning: train_config.freeze_variables: no effect" in done.stderr
    assert "no effect in TensorFlow 2" in done.stdout
