"""Evaluation with its forward pass compiled by XLA: close to the one without, recorded, refused."""

import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from replicate import engine, odapi

odapi.load()

import tensorflow as tf

from replicate import benchmark
from replicate.benchmarking import Dataset
from replicate.benchmarking.adapters import checkpoint
from replicate.errors import UserError
from replicate.evaluate import detections
from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator
from replicate.run import RunDir, read_json
from replicate.score import text
from tests.evaluate.conftest import Case
from tests.tools.running import started

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
def test_what_xla_cannot_compile_is_refused(recipe, padded, reason, ssd, capfd):
    config = engine.read(recipe)
    config.eval_input_reader[0].label_map_path = str(ssd.folder / "label_map.pbtxt")
    if not padded:
        resizer = config.model.center_net.image_resizer.keep_aspect_ratio_resizer
        resizer.pad_to_max_dimension = False
    with pytest.raises(UserError, match=f"--jit_compile.*{reason}.*Leave it out"):
        detections.Evaluation(
            config, str(ssd.annotations_file), str(ssd.image_dir), jit_compile=True
        )
    assert "no GPU here" not in capfd.readouterr().err, "what it would cost is of no use then"


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


def _surroundings(**more):
    """Of a process; what an evaluation of this one has set names another cache."""
    return {name: value for name, value in os.environ.items() if name != "TF_XLA_FLAGS"} | more


def _command(ssd, *more):
    return [
        *(sys.executable, PROJECT / "tools" / "evaluate.py", "--jit_compile", "--batch_size=2"),
        *(f"--pipeline_config_path={ssd.config_path}", *more),
        *(f"--annotations_file={ssd.annotations_file}", f"--image_dir={ssd.image_dir}"),
    ]


@pytest.mark.timeout(900)
def test_the_tool_records_it_and_keeps_what_was_compiled(ssd, tmp_path):
    metrics = tmp_path / "metrics.json"
    cache = tmp_path / "cache"
    done = subprocess.run(
        _command(
            ssd,
            f"--checkpoint={ssd.checkpoint_dir}",
            *(f"--output={tmp_path}/d.json", f"--metrics_output={metrics}"),
        ),
        capture_output=True,
        text=True,
        env=_surroundings(XDG_CACHE_HOME=str(cache)),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the forward pass compiled by XLA" in done.stdout
    assert "compiled by XLA in" in done.stderr
    assert "device_compiler" not in done.stderr and "InitializeLog" not in done.stderr
    assert "an SSD at 320 px" in done.stderr or tf.config.list_physical_devices("GPU")
    kept = read_json(metrics)
    assert kept["inference"]["jit_compile"] is True
    assert kept["protocol"]["inference"]["jit_compile"] is True
    assert text.of_inference(kept["inference"]).endswith("the forward pass compiled by XLA")
    compilations = list((cache / "replicate-tf2-zoo" / "xla").glob("*/*"))
    assert len(compilations) == 1, "the last batch, which is not full, is not compiled again"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_watch_compiles_once_for_all_checkpoints(ssd, tmp_path):
    run = RunDir.at(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    ssd.save(7, tmp_path / "saved")
    ssd.save(9, tmp_path / "saved")

    def comes(step):
        for part in sorted((tmp_path / "saved").glob(f"ckpt-{step}.*"), reverse=True):
            (run.checkpoints / part.name).write_bytes(part.read_bytes())

    comes(7)
    # XLA dumps each program that it compiles; and none is taken from those kept before.
    surroundings = _surroundings(
        XLA_FLAGS=f"--xla_dump_to={tmp_path}/dumped",
        TF_XLA_FLAGS="--tf_xla_persistent_cache_directory=",
    )
    watching = (f"--model_dir={run.root}", "--watch", "--num_train_steps=9", "--eval_timeout=900")
    with started(
        _command(ssd, *watching),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings,
    ) as process:
        while run.evaluated_steps() != [7]:
            assert process.poll() is None, process.communicate()[1][-3000:]
            time.sleep(0.2)
        comes(9)
        out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err[-3000:]
    assert "the checkpoint of the last step, 9, is evaluated" in out
    compiled = list((tmp_path / "dumped").glob("*.before_optimizations.txt"))
    assert len(compiled) == 1, "no checkpoint, and no last batch, is compiled for again"
    watched = [read_json(run.eval_at(step) / "metrics.json") for step in (7, 9)]
    assert all(each["inference"]["jit_compile"] is True for each in watched)
    assert watched[0]["detections"]["sha256"] != watched[1]["detections"]["sha256"]

    done = subprocess.run(
        _command(
            ssd,
            f"--checkpoint={run.checkpoints}/ckpt-9",
            *(f"--output={tmp_path}/d.json", f"--metrics_output={tmp_path}/metrics.json"),
        ),
        capture_output=True,
        text=True,
        env=surroundings,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    alone = read_json(tmp_path / "metrics.json")
    assert alone["metrics"] == watched[1]["metrics"] and alone["metrics"]["AP"] > 0.05
    assert alone["detections"]["sha256"] == watched[1]["detections"]["sha256"]


@pytest.mark.timeout(900)
def test_a_benchmark_with_xla_gives_the_evaluations_number(ssd):
    data = (ssd.annotations_file, ssd.image_dir)
    record = benchmark(
        ssd.checkpoint_dir,
        data,
        pipeline_config=ssd.config_path,
        jit_compile=True,
        batch_size=4,
        cache_dir=None,
        progress=False,
    )
    found, _ = ssd.evaluation(batch_size=4, jit_compile=True).detect(
        str(ssd.checkpoint_dir), progress=False
    )
    assert record.to_json()["inference"]["jit_compile"] is True
    assert "the forward pass compiled by XLA" in record.text()

    def rows(results):
        keys = ("image_id", "category_id", "score")
        return sorted([*(each[key] for key in keys), *each["bbox"]] for each in results)

    # Of seven images the last batch is filled up, and so the same program ran.
    assert rows(record.results()) == rows(found)
    # By its content it is another result than the one without.
    identities = {
        checkpoint.of(
            ssd.checkpoint_dir, Dataset.of(data), ssd.config_path, jit_compile=jit_compile
        ).identity
        for jit_compile in (False, True)
    }
    assert len(identities) == 2


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        ("checkpoint", {"jit_compile": True}, "--jit_compile: XLA cannot compile this model: in"),
        (
            "found.json",
            {"jit_compile": True},
            "jit_compile: a file of detections has no such option",
        ),
    ],
)
def test_a_benchmark_refuses_what_xla_cannot_compile(model, options, told, ssd, tmp_path):
    """A two-stage model, and what is no checkpoint."""
    config = engine.read("faster_rcnn_resnet50_v1_640x640_coco17_tpu-8")
    if model == "checkpoint":
        (tmp_path / "pipeline.config").write_text(engine.text(config))
        options = options | {"pipeline_config": tmp_path / "pipeline.config"}
        model = ssd.checkpoint_dir
    else:
        (tmp_path / model).write_text("[]")
        model = tmp_path / model
    with pytest.raises(UserError, match=told):
        benchmark(model, (ssd.annotations_file, ssd.image_dir), cache_dir=None, **options)
