"""Real images, in one command and piece by piece: the same detections, metrics and verdict."""

import json
import sys

import pytest

from replicate import config
from replicate.run import RunDir, read_json, read_metrics
from tests.tools.running import PROJECT, replicate_command, run_tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
STEPS = 12
OVERRIDES = {
    "model.ssd.image_resizer.fixed_shape_resizer.height": 160,
    "model.ssd.image_resizer.fixed_shape_resizer.width": 160,
    "model.ssd.feature_extractor.depth_multiplier": 0.35,
    "train_config.batch_size": 4,
}


def _tool(name, *arguments, answers=(0,)):
    done = run_tool([sys.executable, str(PROJECT / "tools" / name), *arguments], timeout=1800)
    assert done.returncode in answers, f"{name}: {done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def tiny(shared):
    folder = shared / "coco" / "tiny"
    return {
        split: (
            folder / "annotations" / f"instances_{split}2017.json",
            folder / f"{split}2017",
        )
        for split in ("train", "val")
    }


@pytest.fixture(scope="module")
def in_one_command(tiny, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("one") / "run"
    command = replicate_command(
        tiny, run_dir, OVERRIDES, num_steps=STEPS, checkpoint_every_n=STEPS // 2
    )
    done = run_tool(command, timeout=1800)
    assert done.returncode in (0, 3), done.stderr
    return RunDir.existing(run_dir), done.stdout


@pytest.fixture(scope="module")
def piece_by_piece(tiny, tmp_path_factory):
    """As README has it."""
    folder = tmp_path_factory.mktemp("pieces")
    labels = folder / "records" / "label_map.pbtxt"
    for split, (annotations, images) in tiny.items():
        _tool(
            "create_coco_tf_record.py",
            f"--annotations_file={annotations}",
            f"--image_dir={images}",
            f"--output_path={folder / 'records' / split}",
            "--num_shards=1",
            *([f"--label_map={labels}"] if split == "train" else []),
        )
    _tool(
        "render_config.py",
        f"--model={MODEL}",
        f"--output={folder / 'pipeline.config'}",
        f"--label_map={labels}",
        f"--train_records={folder / 'records' / 'train-?????-of-?????.tfrecord'}",
        f"--val_records={folder / 'records' / 'val-?????-of-?????.tfrecord'}",
        "--fine_tune_checkpoint=",
        f"--num_steps={STEPS}",
        *(f"--set={path}={value}" for path, value in OVERRIDES.items()),
    )
    annotations, images = tiny["val"]
    run_dir = folder / "run"
    _tool(
        "train.py",
        f"--pipeline_config_path={folder / 'pipeline.config'}",
        f"--model_dir={run_dir}",
        f"--val_annotations={annotations}",
        f"--val_images={images}",
        f"--checkpoint_every_n={STEPS // 2}",
        *("--rehearsal", "--notrial"),
    )
    _tool("evaluate.py", f"--model_dir={run_dir}")
    _tool("report.py", f"--run_dir={run_dir}")
    return RunDir.existing(run_dir)


def test_the_same_training(in_one_command, piece_by_piece):
    one, pieces = in_one_command[0], piece_by_piece
    assert config.same(
        config.diff(config.load(one.pipeline_config), config.load(pieces.pipeline_config))
    )
    losses = [
        [
            (each["step"], each["losses"], each["learning_rate"])
            for each in read_metrics(run.metrics)
        ]
        for run in (one, pieces)
    ]
    assert losses[0] == losses[1] and losses[0][-1][0] == STEPS


def test_the_same_detections_and_metrics(in_one_command, piece_by_piece):
    one, pieces = in_one_command[0], piece_by_piece
    assert one.evaluated_steps() == pieces.evaluated_steps() == [STEPS // 2, STEPS]
    for step in one.evaluated_steps():
        assert read_json(one.eval_at(step) / "detections.json.gz") == read_json(
            pieces.eval_at(step) / "detections.json.gz"
        )
        assert one.scores_at(step)[0]["metrics"] == pieces.scores_at(step)[0]["metrics"]


def test_the_same_verdict(in_one_command, piece_by_piece):
    one, printed = in_one_command
    told = [_tool("verdict.py", str(run.root), answers=(0, 1, 3)) for run in (one, piece_by_piece)]
    assert told[0].stdout == told[1].stdout
    assert told[0].returncode == told[1].returncode
    assert told[0].stdout.strip() in printed, "and so does the end of tools/replicate.py"
    report = [json.loads((run.report / "report.json").read_text()) for run in (one, piece_by_piece)]
    for key in ("verdict", "metrics", "deviations"):
        ours = [_without_paths(each[key]) for each in report]
        assert ours[0] == ours[1], key


def _without_paths(value):
    """The value without what names a file of the run, and without differences of paths."""
    if isinstance(value, dict):
        if value.get("class") == "paths":
            return None
        return {
            key: _without_paths(each)
            for key, each in value.items()
            # What preflight saw of the records differs: one of the two had still to make them. The
            # config's hash is of its paths too; its other fields are compared above.
            if key not in ("path", "file", "run", "preflight", "config_sha256") or "op" in value
        }
    return [_without_paths(each) for each in value] if isinstance(value, list) else value
