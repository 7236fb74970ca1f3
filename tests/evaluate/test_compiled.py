"""Evaluation with its forward pass compiled by XLA: close to the one without, recorded, refused."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from replicate import engine, odapi

odapi.load()

import tensorflow as tf

from replicate.errors import UserError
from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator
from replicate.run import RunDir, read_json
from replicate.score import text
from tests.evaluate.conftest import Case

PROJECT = pathlib.Path(__file__).resolve().parents[2]
#: Two compilers' sums of float32: of scores, and of boxes in pixels of images about 200 px wide.
SCORES_APART, BOXES_APART_PX = 2e-5, 2e-2


def _columns(case, **arguments):
    """(inference, [n, 7] image, category, score and box of each detection)."""
    evaluation = case.evaluation(batch_size=4, **arguments)
    found, _ = evaluation.detect(str(case.checkpoint_dir), progress=False)
    rows = [[each["image_id"], each["category_id"], each["score"], *each["bbox"]] for each in found]
    return evaluation.inference, np.array(rows)


def _alone(ours, theirs):
    """The rows of `ours` that have no like in `theirs`: of image, category, score and box."""
    apart = np.abs(ours[:, np.newaxis] - theirs)
    like = (apart[..., :2] == 0).all(axis=2)
    like &= apart[..., 2] <= SCORES_APART
    like &= (apart[..., 3:] <= BOXES_APART_PX).all(axis=2)
    return ours[~like.any(axis=1)]


def hold(case):
    """Asserts that detections with XLA are those without, but for ties; returns the inference."""
    inference, compiled = _columns(case, jit_compile=True)
    plain_inference, plain = _columns(case)
    assert inference == plain_inference | {"jit_compile": True}
    assert len(plain) > 20 and np.ptp(plain[:, 2]) > 1e-3, "scores that tell boxes apart"
    for ours, theirs in ((compiled, plain), (plain, compiled)):
        alone = _alone(ours, theirs)
        # Which of two is the last one kept, or suppresses the other, rounding decides where their
        # scores are equal but for it.
        assert len(alone) <= len(ours) * 0.01, f"{len(alone)} of {len(ours)}: {alone[:5]}"
    return inference


@pytest.mark.timeout(900)
def test_an_ssd_detects_with_xla_what_it_detects_without(ssd):
    hold(ssd)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", ["efficientdet", "centernet"])
def test_other_families_do_so(family, tmp_path):
    hold(Case(tmp_path / "case", family))


@pytest.mark.parametrize(
    ("recipe", "padded", "reason"),
    [
        ("centernet_resnet101_v1_fpn_512x512_coco17_tpu-8", False, "keep their shapes"),
        ("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8", True, "in evaluation as many proposals"),
        ("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8", True, "NonMaxSuppressionV5"),
    ],
)
def test_what_xla_cannot_compile_is_refused(recipe, padded, reason):
    config = engine.read(recipe)
    if not padded:
        resizer = config.model.center_net.image_resizer.keep_aspect_ratio_resizer
        resizer.pad_to_max_dimension = False
    with pytest.raises(UserError, match=f"--jit_compile.*{reason}.*Leave it out"):
        engine.detector(config, jit_compile=True)


def test_an_evaluation_without_xla_is_none_with_it(ssd, tmp_path):
    run = RunDir.at(tmp_path)
    sides = [
        CheckpointEvaluator(
            run, ssd.config, ssd.annotations_file, ssd.image_dir, jit_compile=jit_compile
        )
        for jit_compile in (False, True)
    ]
    told = {"sha256": sides[0]._annotations_sha256}
    plain = {"annotations": told, "inference": {"suppression": "kit"}}
    compiled = {"annotations": told, "inference": {"suppression": "kit", "jit_compile": True}}
    assert [side._same_settings(plain) for side in sides] == [True, False]
    assert [side._same_settings(compiled) for side in sides] == [False, True]


@pytest.mark.timeout(900)
def test_the_tool_records_it_and_keeps_what_was_compiled(ssd, tmp_path):
    metrics = tmp_path / "metrics.json"
    cache = tmp_path / "cache"
    # What an evaluation of this process has set names another cache.
    others = {name: value for name, value in os.environ.items() if name != "TF_XLA_FLAGS"}
    done = subprocess.run(
        [
            *(sys.executable, PROJECT / "tools" / "evaluate.py", "--jit_compile"),
            *(f"--checkpoint={ssd.checkpoint_dir}", f"--pipeline_config_path={ssd.config_path}"),
            *(f"--annotations_file={ssd.annotations_file}", f"--image_dir={ssd.image_dir}"),
            *(f"--output={tmp_path}/d.json", f"--metrics_output={metrics}", "--batch_size=2"),
        ],
        capture_output=True,
        text=True,
        env=others | {"XDG_CACHE_HOME": str(cache)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the forward pass compiled by XLA" in done.stdout
    assert "compiled by XLA in" in done.stderr
    assert "no GPU here" in done.stderr or tf.config.list_physical_devices("GPU")
    kept = read_json(metrics)
    assert kept["inference"]["jit_compile"] is True
    assert kept["protocol"]["inference"]["jit_compile"] is True
    assert text.of_inference(kept["inference"]).endswith("the forward pass compiled by XLA")
    compilations = list((cache / "replicate-tf2-zoo" / "xla").glob("*/*"))
    assert len(compilations) == 1, "the last batch, which is not full, is not compiled again"
