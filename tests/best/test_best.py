"""The best checkpoint: which one it is, and that no kill loses it."""

import itertools
import math
import pathlib
import random
import subprocess
import sys

import pytest

from replicate import best, checkpoint_files, weights
from replicate.config import sources
from replicate.errors import UserError
from replicate.run import RunDir, read_json

CONDITIONS = {"annotations_sha256": "a" * 64, "config_sha256": "c" * 64}
AP = best.Metric("AP")


def saved(run, step, content=None):
    """A checkpoint's files; its prefix."""
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    for ending in ("index", "data-00000-of-00001"):
        text = f"{ending} of {step}" if content is None else f"{ending} {content}"
        (run.checkpoints / f"ckpt-{step}.{ending}").write_text(text)
    return checkpoint_files.path_of(run.checkpoints, step)


def metrics(value, name="AP", iou_type="bbox"):
    return {
        "iou_type": iou_type,
        "metrics": {name: value},
        "annotations": {"sha256": CONDITIONS["annotations_sha256"]},
        "inference": {"config_sha256": CONDITIONS["config_sha256"]},
    }


def evaluated(run, keeping, step, value, content=None):
    """A checkpoint is saved, evaluated and offered."""
    path = saved(run, step, content)
    keeping.hold(step, path)
    return keeping.offer(step, checkpoint_files.sha256(path), metrics(value), path)


def whole(run):
    """The step that is kept, its files held against best.json's hash."""
    record = read_json(run.best_record)
    if record["checkpoint"] is None:
        return None
    prefix = run.root / record["checkpoint"]["path"]
    assert checkpoint_files.sha256(prefix) == record["checkpoint"]["sha256"]
    return record["step"]


# figures by step, the step that is kept
CHOICES = {
    "the highest": ([0.1, 0.3, 0.2], 2),
    "of equal ones the earlier": ([0.1, 0.3, 0.3], 2),
    "none is no figure": ([0.1, None, None], 1),
    "no number": ([math.nan, 0.1, math.nan], 2),
    "not finite": ([0.1, math.inf, 0.2], 3),
    "no figure first": ([None, math.nan, 0.0], 3),
    "zeros": ([0.0, 0.0], 1),
    "true is no figure": ([0.2, True], 1),
    "no figure at all": ([None, math.nan], None),
}


@pytest.mark.parametrize("case", CHOICES)
def test_which_is_kept(tmp_path, case):
    figures, expected = CHOICES[case]
    run = RunDir.at(tmp_path)
    keeping = best.Keeping(run, AP, CONDITIONS)
    for step, value in enumerate(figures, start=1):
        assert evaluated(run, keeping, step, value) == (whole(run) == step)
    assert whole(run) == expected
    kept = best.best_kept(run)
    finite = [v for v in figures if type(v) is float and math.isfinite(v)]
    if expected is None:
        assert kept is None and best.sentence_of(run) == ""
        return
    assert kept["evaluations"] == len(finite) and kept["value"] == max(finite)
    assert kept["without_figure"] == len(figures) - len(finite)
    assert {part.name.partition(".")[0] for part in run.best.glob("*ckpt-*")} == {
        f"ckpt-{expected}"
    }
    assert f'"ckpt-{expected}"' in (run.best / "checkpoint").read_text()


def test_any_order_gives_the_same(tmp_path):
    """What is kept, and of how many, does not depend on the order, restarts or repetition."""
    figures = [(1, 0.2), (2, 0.4), (3, None), (4, 0.4), (5, 0.1)]
    for number, order in enumerate(itertools.permutations(figures)):
        run = RunDir.at(tmp_path / str(number))
        chance = random.Random(number)
        keeping = best.Keeping(run, AP, CONDITIONS)
        for step, value in [*order, *chance.sample(order, 2)]:
            evaluated(run, keeping, step, value)
            if chance.random() < 0.3:
                keeping = best.Keeping(run, AP, CONDITIONS)
        kept = best.best_kept(run)
        assert (whole(run), kept["evaluations"], kept["without_figure"]) == (2, 4, 1)


def test_training_deletes_what_is_kept(tmp_path):
    run = RunDir.at(tmp_path)
    keeping = best.Keeping(run, AP, CONDITIONS)
    for step, value in enumerate([0.1, 0.5, 0.2, 0.3], start=1):
        path = saved(run, step)
        sha256 = checkpoint_files.sha256(path)
        keeping.hold(step, path)
        for part in run.checkpoints.iterdir():  # while it is evaluated
            part.unlink()
        keeping.offer(step, sha256, metrics(value), path)
    assert whole(run) == 2
    assert best.Keeping(run, AP, CONDITIONS) and whole(run) == 2


def test_a_checkpoint_that_changed_meanwhile_is_not_kept(tmp_path, capsys):
    run = RunDir.at(tmp_path)
    keeping = best.Keeping(run, AP, CONDITIONS)
    evaluated(run, keeping, 1, 0.1)
    path = saved(run, 2)
    assert not keeping.offer(2, "0" * 64, metrics(0.9), path)
    assert whole(run) == 1 and "the one before stays" in capsys.readouterr().err


def test_another_checkpoint_of_the_kept_step(tmp_path):
    run = RunDir.at(tmp_path)
    keeping = best.Keeping(run, AP, CONDITIONS)
    evaluated(run, keeping, 1, 0.1)
    assert evaluated(run, keeping, 1, 0.2, content="another")
    assert evaluated(run, keeping, 1, 0.3, content="a third")
    assert whole(run) == 1 and best.best_kept(run)["evaluations"] == 3
    assert len(list(run.best.glob("*ckpt-*"))) == 2


def test_a_damaged_one_is_chosen_anew(tmp_path, capsys):
    run = RunDir.at(tmp_path)
    keeping = best.Keeping(run, AP, CONDITIONS)
    for step, value in ((1, 0.2), (2, 0.4), (3, 0.3)):
        evaluated(run, keeping, step, value)
    damaged = run.best / "ckpt-2.data-00000-of-00001"
    damaged.unlink()
    damaged.write_text("damaged")
    keeping = best.Keeping(run, AP, CONDITIONS)
    assert "not what was kept" in capsys.readouterr().err
    for step, value in ((1, 0.2), (2, 0.4), (3, 0.3)):
        evaluated(run, keeping, step, value)
    assert whole(run) == 2 and best.best_kept(run)["evaluations"] == 3


def test_by_another_metric_it_begins_anew(tmp_path, capsys):
    run = RunDir.at(tmp_path)
    keeping = best.Keeping(run, AP, CONDITIONS)
    evaluated(run, keeping, 1, 0.4)
    keeping = best.Keeping(run, best.Metric("AP50"), CONDITIONS)
    assert "begins anew" in capsys.readouterr().err and whole(run) == 1  # until there is another
    path = saved(run, 2)
    keeping.offer(2, checkpoint_files.sha256(path), metrics(0.1, "AP50"), path)
    assert whole(run) == 2 and best.best_kept(run)["metric"] == "AP50"


def test_the_metric_s_names():
    assert str(best.Metric.parse("segm/AP75")) == "segm/AP75"
    both = metrics(0.1) | {"others": [metrics(0.7, "AP", "segm")]}
    assert best.Metric.parse("segm/AP").of(both) == 0.7
    assert best.Metric.parse("keypoints/AP").of(both) is None
    for wrong in ("mAP", "loss", "segm/AR50", "masks/AP", ""):
        with pytest.raises(UserError, match="no such metric; it is one of AP, AP50"):
            best.Metric.parse(wrong)


@pytest.mark.parametrize("left", [False, True])
def test_a_metric_that_evaluations_do_not_have_is_refused(tmp_path, left):
    """At the first evaluation; no best.json is there then, of an earlier call neither."""
    run = RunDir.at(tmp_path)
    masks = best.Metric("AP", "segm")
    if left:  # no figure, so nothing is kept
        path = saved(run, 1)
        sha256 = checkpoint_files.sha256(path)
        best.Keeping(run, masks, CONDITIONS).offer(1, sha256, metrics(None, "AP", "segm"), path)
        assert run.best_record.is_file()
    keeping = best.Keeping(run, masks, CONDITIONS)
    with pytest.raises(best.NoSuchMetric, match="segm/AP: .* no such metric; they have AP$"):
        evaluated(run, keeping, 1, 0.5)
    assert not run.best.exists()


def test_a_model_without_masks_is_refused_theirs():
    masks = best.Metric("AP", "segm")
    with pytest.raises(best.NoSuchMetric, match="predicts no masks"):
        masks.refuse_unpredicted(masks=False, keypoints=True)
    with pytest.raises(best.NoSuchMetric, match="predicts no keypoints"):
        best.Metric("AP", "keypoints").refuse_unpredicted(masks=True, keypoints=False)
    masks.refuse_unpredicted(masks=True, keypoints=False)
    AP.refuse_unpredicted(masks=False, keypoints=False)


def test_such_a_refusal_leaves_what_another_metric_kept(tmp_path):
    run = RunDir.at(tmp_path)
    evaluated(run, best.Keeping(run, AP, CONDITIONS), 1, 0.5)
    before = run.best_record.read_bytes()
    with pytest.raises(best.NoSuchMetric):
        evaluated(run, best.Keeping(run, best.Metric("AP", "segm"), CONDITIONS), 2, 0.6)
    assert whole(run) == 1 and run.best_record.read_bytes() == before
    assert not list(run.best.glob("held-*"))


def test_patience(tmp_path):
    run = RunDir.at(tmp_path)
    keeping = best.Keeping(run, AP, CONDITIONS, patience=2)
    stops = []
    for step, value in enumerate([0.1, 0.3, 0.2, 0.4, None, 0.4, 0.1], start=1):
        evaluated(run, keeping, step, value)
        stops.append(best.stopped_early(run) is not None)
    assert stops == [False, False, False, False, False, True, True]
    stop = best.stopped_early(run)
    assert (stop["best_step"], stop["at_step"], stop["patience"]) == (4, 6, 2)
    assert best.stop_sentence(stop) == (
        "no gain in AP in 2 evaluations after step 4 (40.00), --patience=2"
    )
    best.reconsider(run, None)
    assert best.stopped_early(run) == stop
    best.reconsider(run, 4)
    assert best.stopped_early(run) is None
    best.reconsider(run, 3)
    assert best.stopped_early(run)["at_step"] == 7
    best.reconsider(run, 0)
    assert best.stopped_early(run) is None


def test_patience_waits_for_a_first_figure(tmp_path):
    run = RunDir.at(tmp_path)
    keeping = best.Keeping(run, AP, CONDITIONS, patience=1)
    for step in (1, 2, 3):
        evaluated(run, keeping, step, None)
    assert best.stopped_early(run) is None


def test_run_best_is_a_model(tmp_path):
    run = RunDir.at(tmp_path / "run")
    keeping = best.Keeping(run, AP, CONDITIONS)
    evaluated(run, keeping, 3, 0.5)
    evaluated(run, keeping, 4, 0.4)
    run.pipeline_config.write_text("model { ssd { num_classes: 3 } }\n")
    found = weights.of(run.best)
    assert found == weights.Weights(str(run.best / "ckpt-3"), str(run.pipeline_config))
    assert sources.read(run.best).model.ssd.num_classes == 3


# Every call by which keeping changes the disk; the process dies at the nth of them, before it is
# done or right after.
KILLED = """
import os, sys
sys.path.insert(0, {project!r})
n, after = int(sys.argv[1]), sys.argv[2] == "after"
count = 0
def deadly(call):
    def wrapped(*arguments, **more):
        global count
        count += 1
        if count == n and not after:
            os._exit(9)
        try:
            return call(*arguments, **more)
        finally:
            if count == n:
                os._exit(9)
    return wrapped
from replicate import best, checkpoint_files
from replicate.run import RunDir
from tests.best.test_best import AP, CONDITIONS, metrics
run = RunDir.at(sys.argv[3])
for name in ("replace", "link", "unlink", "fsync", "rename"):
    setattr(os, name, deadly(getattr(os, name)))
keeping = best.Keeping(run, AP, CONDITIONS, patience=1)
for step, value in ((2, 0.4), (3, 0.1)):
    path = checkpoint_files.path_of(run.checkpoints, step)
    keeping.hold(step, path)
    keeping.offer(step, checkpoint_files.sha256(path), metrics(value), path)
"""


def killed_at(tmp_path, n, moment):
    """A run that keeps step 1 (0.2); step 2 (0.4) and 3 are offered until the nth call."""
    run = RunDir.at(tmp_path / f"{n}-{moment}")
    evaluated(run, best.Keeping(run, AP, CONDITIONS), 1, 0.2)
    saved(run, 2), saved(run, 3)
    for part in run.checkpoints.glob("ckpt-1.*"):
        part.unlink()  # the kept one alone is left of it
    code = KILLED.format(project=str(pathlib.Path(__file__).resolve().parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", code, str(n), moment, str(run.root)], capture_output=True, text=True
    )
    assert done.returncode in (0, 9), done.stderr
    return run, done.returncode == 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_step_of_keeping(tmp_path, moment):
    kept = []
    for n in itertools.count(1):
        run, ended = killed_at(tmp_path, n, moment)
        kept.append(whole(run))
        # TensorFlow's own way to a folder's checkpoint, and the kit's
        assert pathlib.Path(weights.of(run.best).checkpoint).name == f"ckpt-{kept[-1]}"
        keeping = best.Keeping(run, AP, CONDITIONS, patience=1)
        assert whole(run) == kept[-1]
        for step, value in ((2, 0.4), (3, 0.1)):
            evaluated(run, keeping, step, value)
        assert whole(run) == 2 and best.best_kept(run)["evaluations"] == 3
        assert best.stopped_early(run)["best_step"] == 2
        assert sorted(part.name for part in run.best.iterdir()) == [
            *("best.json", "checkpoint", "ckpt-2.data-00000-of-00001", "ckpt-2.index")
        ]
        if ended:
            break
    assert kept[0] == 1 and kept[-1] == 2 and kept == sorted(kept) and len(kept) > 10
