"""Checkpoints evaluated between the steps of a training: no bit changes, and it may end early."""

import os
import pathlib
import signal
import time

import pytest

from replicate import best, checkpoint_files, odapi

odapi.load()

import tensorflow as tf

from replicate.errors import Interrupted
from replicate.evaluate import during, watch
from replicate.evaluate.checkpoint_evaluator import CheckpointEvaluator
from replicate.run import RunDir, read_json, read_metrics, write_json
from replicate.train import loop
from tests.tools.running import checkpoint_tensors
from tests.train.conftest import small_ssd

SETTINGS = loop.TrainingSettings(num_steps=6, checkpoint_every_n=2, log_every_n=1, seed=4)


@pytest.fixture(scope="module")
def config(even_records):
    """A small SSD that augments, shuffles and keeps batch statistics."""
    return small_ssd(even_records, val_records=f"{even_records}/train-*.tfrecord")


@pytest.fixture(scope="module")
def data(even_records):
    return str(even_records / "annotations.json"), str(even_records / "images")


@pytest.fixture(scope="module")
def plain(config, tmp_path_factory):
    """The same training, of which nothing is evaluated."""
    run = RunDir.at(tmp_path_factory.mktemp("plain"))
    loop.train(config, run.root, SETTINGS)
    return run


def losses(run):
    return [(entry["step"], entry["losses"]) for entry in read_metrics(run.metrics)]


@pytest.mark.slow
def test_no_bit_changes_and_it_ends_early(config, data, plain, tmp_path):
    run = RunDir.at(tmp_path)
    evaluate = during.between_steps(run, config, *data, keep_best="AR@100", patience=1)
    assert loop.train(config, run.root, SETTINGS, evaluate=evaluate).endswith("ckpt-4")
    assert run.evaluated_steps() == [2, 4]
    figures = {step: best.Metric("AR@100").of(run.scores_at(step)[0]) for step in (2, 4)}
    assert figures[4] <= figures[2], "the second evaluation is no gain; choose other data"
    told = best.best_kept(run)
    assert (told["step"], told["value"], told["evaluations"]) == (2, figures[2], 2)
    training = read_json(run.training)
    assert (training["state"], training["step"], training["num_steps"]) == ("done", 4, 6)
    assert "no gain in AR@100 in 1 evaluation after step 2" in training["reason"]
    assert losses(run) == losses(plain)[:4]
    assert checkpoint_tensors(run, "ckpt-4") == checkpoint_tensors(plain, "ckpt-4")
    # asked for again it is done; with more patience it goes on, to what it would have been
    assert loop.train(config, run.root, SETTINGS).endswith("ckpt-4")
    assert read_json(run.training) == training
    watched = CheckpointEvaluator(run, config, *data, keep_best=best.Metric("AR@100"))
    end = watch.watch(watched, run.training, 6, eval_timeout=1, grace=0.1)
    assert end.complete and "step, 4, is evaluated; training ended early: no gain" in end.reason
    best.reconsider(run, 3)
    evaluate = during.between_steps(run, config, *data, keep_best="AR@100", patience=3)
    assert loop.train(config, run.root, SETTINGS, evaluate=evaluate).endswith("ckpt-6")
    assert losses(run) == losses(plain)
    assert checkpoint_tensors(run, "ckpt-6") == checkpoint_tensors(plain, "ckpt-6")
    assert best.best_kept(run) == told


def test_a_signal_does_not_wait_for_an_evaluation(config, tmp_path):
    run = RunDir.at(tmp_path)

    def evaluate():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(300)

    begun = time.monotonic()
    with pytest.raises(Interrupted, match="checkpoint of step 2 saved"):
        loop.train(config, run.root, SETTINGS, evaluate=evaluate)
    assert time.monotonic() - begun < 250
    assert read_json(run.training)["state"] == "stopped"
    assert checkpoint_files.steps_of(run.checkpoints) == [2]


def test_an_end_asked_for_from_outside(config, tmp_path, monkeypatch):
    """As tools/evaluate.py --watch --patience asks: the step after it is saved, and the last."""
    run = RunDir.at(tmp_path)
    settings = loop.TrainingSettings(num_steps=6, checkpoint_every_n=100, log_every_n=1)
    stop = {"metric": "AP", "patience": 2, "best_step": 1, "best_value": 0.5, "at_step": 3}
    write_json(run.early_stop, stop)  # of an earlier training: it goes at the first step
    log, seen = loop.TrainingJournal.log, []

    def asking(journal, output):
        log(journal, output)
        seen.append(output)
        if len(seen) == 3:
            write_json(run.early_stop, stop)

    monkeypatch.setattr(loop.TrainingJournal, "log", asking)
    last = loop.train(config, run.root, settings)
    assert pathlib.Path(last).name == "ckpt-3"
    assert tf.train.latest_checkpoint(str(run.checkpoints)) == last
