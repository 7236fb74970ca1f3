"""The whole path, killed at every stage, ends with what an uninterrupted run ends with."""

import collections
import json
import pathlib
import signal
import subprocess
import sys

import psutil
import pytest

from replicate.demo import drawing
from replicate.run import RunDir, read_json, read_metrics
from tests.tools.running import (
    PROJECT,
    checkpoint_tensors,
    kill_when,
    noting_opens,
    outcome,
    replicate_command,
    run_tool,
    started,
)

STEPS = 6
# The demo's model, smaller still: what is tested here is the way, not the AP.
OVERRIDES = {
    "model.ssd.image_resizer.fixed_shape_resizer.height": 96,
    "model.ssd.image_resizer.fixed_shape_resizer.width": 96,
    "model.ssd.feature_extractor.depth_multiplier": 0.35,
    "train_config.batch_size": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return drawing.draw(tmp_path_factory.mktemp("drawn"), train_images=24, val_images=6)


def _command(data, run_dir, **more):
    flags = {"num_steps": STEPS, "checkpoint_every_n": 2} | more
    return replicate_command(data, run_dir, OVERRIDES, **flags)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    done = run_tool(noting_opens(_command(data, run_dir), f"{run_dir}.opens"))
    assert done.returncode == 0, done.stderr
    return run_dir, done


def _opened(log, data):
    """How often a tool opened the annotation files of each split."""
    lines = pathlib.Path(log).read_text().splitlines()
    return {split: lines.count(str(files[0])) for split, files in data.items()}


def test_it_ends_with_every_file_and_says_so(uninterrupted):
    run_dir, done = uninterrupted
    run = RunDir.existing(run_dir)
    for path in (run.spec, run.pipeline_config, run.deviations, run.environment, run.verdict):
        assert path.is_file(), path
    assert (run.report / "index.html").is_file() and (run.report / "report.md").is_file()
    assert run.evaluated_steps() == [2, 4, 6]
    entry = read_metrics(run.metrics)[-1]
    assert entry["step"] == STEPS and entry["host"]["memory_gib"] > 0.1
    verdict = read_json(run.verdict)
    assert verdict["verdict"] == "NOT COMPARABLE"
    assert any("6 images" in reason for reason in verdict["reasons"])
    assert verdict["published"] == {"box AP": 22.2}
    for said in ("AR@100", "verdict: NOT COMPARABLE", str(run.report / "index.html")):
        assert said in done.stdout


def test_each_annotation_file_is_read_once(data, uninterrupted):
    run_dir, _ = uninterrupted
    assert _opened(f"{run_dir}.opens", data) == {"train": 1, "val": 1}
    kept = read_json(RunDir.at(run_dir).annotations)
    train = json.loads(pathlib.Path(data["train"][0]).read_bytes())
    facts = kept["facts"][kept["files"][str(data["train"][0])]["sha256"]]
    assert facts["images"] == 24 and facts["annotations"] == len(train["annotations"])
    assert facts["categories"] == {str(each["id"]): each["name"] for each in train["categories"]}
    objects = collections.Counter(
        str(each["category_id"]) for each in train["annotations"] if not each["iscrowd"]
    )
    assert facts["objects"] == objects
    assert facts["crowd"] == len(train["annotations"]) - objects.total()


def test_again_it_reuses_what_is_done(data, uninterrupted):
    run_dir, _ = uninterrupted
    run = RunDir.existing(run_dir)
    kept = [*run.data.glob("*.tfrecord"), *run.checkpoints.glob("ckpt-*"), run.metrics]
    kept += list(run.evals.glob("*/*"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    log = f"{run_dir}.again"
    assert run_tool(noting_opens(_command(data, run_dir), log)).returncode == 0
    assert _opened(log, data) == {"train": 0, "val": 1}
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_asked_differently_it_refuses(data, uninterrupted):
    run_dir, _ = uninterrupted
    refused = run_tool(_command(data, run_dir, seed=4))
    assert refused.returncode == 2
    assert "seed was 0, now 4" in refused.stderr and "--run_dir" in refused.stderr


def test_a_report_names_the_checkpoint_its_detections_come_from(data, uninterrupted):
    """The last checkpoint, evaluated anew, gives the detections that the run directory holds."""
    run_dir, _ = uninterrupted
    run = RunDir.existing(run_dir)
    output = run_dir.parent / "again.json"
    done = run_tool(
        [
            sys.executable,
            str(PROJECT / "tools" / "evaluate.py"),
            f"--pipeline_config_path={run.pipeline_config}",
            f"--checkpoint={run.checkpoints / f'ckpt-{STEPS}'}",
            f"--annotations_file={data['val'][0]}",
            f"--image_dir={data['val'][1]}",
            f"--output={output}",
        ]
    )
    assert done.returncode == 0, done.stderr
    held = read_json(run.eval_at(STEPS) / "detections.json.gz")
    assert json.loads(output.read_text()) == held
    assert f"ckpt-{STEPS}" in (run.report / "index.html").read_text(encoding="utf-8")


def _tried(command):
    return [flag for flag in command if flag != "--notrial"]


@pytest.mark.slow
def test_the_trials_process_trains_and_no_bit_changes(data, uninterrupted, tmp_path):
    run = RunDir.at(tmp_path / "tried")
    command = _tried(_command(data, run.root))
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        said = process.stderr.read().decode()
        assert process.wait() == 0, said
    assert read_json(run.preflight)["forecast"]["step_seconds"] > 0
    training = read_json(run.training)
    assert training["state"] == "done" and training["pid"] != process.pid
    assert "training from random weights" in said
    assert outcome(run.root) == outcome(uninterrupted[0])
    tensors = {
        name: [checkpoint_tensors(each, name) for each in (run, RunDir.at(uninterrupted[0]))]
        for name in ("ckpt-2", f"ckpt-{STEPS}")
    }
    for tried, whole in tensors.values():
        assert tried == whole and len(whole) > 300


@pytest.mark.slow
def test_a_signal_reaches_the_trials_process(data, uninterrupted, tmp_path):
    run = RunDir.at(tmp_path / "tried")
    command = _tried(_command(data, run.root, checkpoint_every_n=100))
    trains = lambda: run.events.exists() and any(run.events.iterdir())  # noqa: E731
    assert kill_when(command, trains, signal.SIGTERM) == 128 + signal.SIGTERM
    assert any(run.checkpoints.glob("ckpt-*.index"))
    training = read_json(run.training)
    assert training["state"] == "stopped" and not psutil.pid_exists(training["pid"])
    assert run_tool(command).returncode == 0
    losses = {entry["step"]: entry["losses"] for entry in read_metrics(run.metrics)}
    whole = {e["step"]: e["losses"] for e in read_metrics(RunDir.at(uninterrupted[0]).metrics)}
    assert losses[STEPS] == whole[STEPS]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_every_stage_it_ends_the_same(data, uninterrupted, tmp_path):
    run_dir = tmp_path / "killed"
    run = RunDir.at(run_dir)
    command = _command(data, run_dir)
    assert kill_when(command, lambda: any(run.data.glob("*"))) < 0  # converting
    assert not run.pipeline_config.exists()
    assert kill_when(command, lambda: (run.checkpoints / "ckpt-2.index").exists()) < 0  # training
    assert not run.evals.exists()
    # Evaluating: a first checkpoint is done, the next is not.
    assert kill_when(command, lambda: (run.evals / "2" / "metrics.json").exists()) < 0
    assert not run.verdict.exists()
    assert run_tool(command).returncode == 0
    assert outcome(run_dir) == outcome(uninterrupted[0])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_a_checkpoint_first(data, uninterrupted, tmp_path, number):
    run_dir = tmp_path / "stopped"
    run = RunDir.at(run_dir)
    command = _command(data, run_dir, checkpoint_every_n=100)
    # Other checkpoints than the whole run's: only the losses are compared.
    started = lambda: (run.events).exists() and any(run.events.iterdir())  # noqa: E731
    status = kill_when(command, started, number)
    assert status == 128 + number
    assert any(run.checkpoints.glob("ckpt-*.index"))
    assert run_tool(command).returncode == 0
    losses = {entry["step"]: entry["losses"] for entry in read_metrics(run.metrics)}
    whole = {e["step"]: e["losses"] for e in read_metrics(RunDir.at(uninterrupted[0]).metrics)}
    assert losses[STEPS] == whole[STEPS]
