"""What verdict, deviations, status and report say of the best that is kept, and of an early end."""

import platform
import time

import pytest

from replicate import best, checkpoint_files, config, opening, replication, report, verdict
from replicate.launch import board, status
from replicate.run import read_json, write_json
from tests.best.test_best import saved
from tests.report import making
from tests.report.conftest import drawn  # noqa: F401
from tests.verdict import made

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


def keep(run, figures, patience=None, metric="AP"):
    """Keeps the best of {step: AP in points}, evaluated on what the run is judged on."""
    judged = run.scores_at(run.evaluated_steps()[-1])[0]
    keeping = best.Keeping(run, best.Metric(metric), best.conditions_of(judged), patience)
    for step, points in figures.items():
        path = saved(run, step)
        value = None if points is None else points / 100
        keeping.hold(step, path)
        scores = {"iou_type": "bbox", "metrics": {metric: value}}
        keeping.offer(step, checkpoint_files.sha256(path), scores, path)


def ended(run, step=50_000, **more):
    """training.json of a run that is done."""
    training = {"state": "done", "step": step, "num_steps": 50_000, "pid": 1}
    write_json(run.training, training | {"host": platform.node(), "updated": time.time()} | more)


def test_the_last_is_judged_and_the_best_is_a_note(tmp_path):
    run = made.run_directory(tmp_path / "run", MODEL, 22.0)
    before = verdict.of_runs([run]).to_json()
    keep(run, {48_000: 22.31, 49_000: None, 50_000: 22.0})
    after = verdict.of_runs([run]).to_json()
    (note,) = [note for note in after["notes"] if note not in before["notes"]]
    assert note == (
        "kept beside the judged checkpoint: AP 22.31 at step 48,000, the best of 2 evaluations (1 "
        "more had no figure) on the images it is judged on; its AP is 0.31 points above the judged "
        "one's, and chosen on these images it flatters: it is not what is judged"
    )
    for field in ("verdict", "achieved", "conditions", "reasons", "figures"):
        assert after[field] == before[field]
    assert after["facts"][0]["best"]["judged"] == 0.22


def test_the_last_may_be_the_best(tmp_path):
    run = made.run_directory(tmp_path / "run", MODEL, 22.0)
    judged = run.scores_at(50_000)[0]
    path = saved(run, 50_000)
    judged["checkpoint"] = {"path": "x", "sha256": checkpoint_files.sha256(path)}
    write_json(run.eval_at(50_000) / "metrics.json", judged)
    keep(run, {49_000: 21.0, 50_000: 22.0})
    assert verdict.of_runs([run]).notes[-1] == (
        "the judged checkpoint is the best that was kept: AP 22.00 at step 50,000, the best of 2 "
        "evaluations on the images it is judged on"
    )
    ended(run)
    (found,) = status.of_folder(tmp_path)
    assert "22.0 at 50,000, the best of 2" in board._cells(found)


def test_chosen_on_other_images_it_is_no_matter_of_the_verdict(tmp_path):
    run = made.run_directory(tmp_path / "run", MODEL, 22.0)
    keep(run, {48_000: 23.0})
    record = read_json(run.best_record)
    record["conditions"]["annotations_sha256"] = "b" * 64
    write_json(run.best_record, record)
    assert not any("kept beside" in note for note in verdict.of_runs([run]).notes)


def test_an_early_end_is_a_deviation(tmp_path):
    run = made.run_directory(tmp_path / "run", MODEL, 20.0, step=9_000)
    keep(run, {6_000: 20.5, 7_000: 20.0, 8_000: 20.1, 9_000: 20.0}, patience=3)
    ended(run, 9_000)
    message = config.load(run.pipeline_config)
    found = opening.deviations_of(run, message, MODEL)
    (steps,) = [each for each in found if each.path == "train_config.num_steps"]
    assert (steps.a, steps.b, steps.cls) == (50_000, 9_000, "training")
    assert steps.why == "ended early by --patience, the config's end is 50000"
    opening.write_config(run, message, MODEL)
    assert read_json(run.deviations) == config.operations_to_json(found)
    decided = verdict.of_runs([run])
    assert decided.conditions.answer == "changed"
    sentences = [change.sentence for change in decided.conditions.changes]
    assert any(sentence.startswith("train_config.num_steps is 9000") for sentence in sentences)
    (seen,) = [each for each in sentences if each.startswith("evaluated at step 9,000 of 50,000")]
    assert seen.endswith(
        "training ended early, no gain in AP in 3 evaluations after step 6,000 (20.50), "
        "--patience=3"
    )


@pytest.mark.parametrize("batch", [None, 64])
def test_frozen_layers_are_a_deviation_and_a_condition(tmp_path, batch):
    """Also where the batch is scaled, by a rule that knows the config alone."""
    run = made.run_directory(tmp_path / "run", MODEL, 22.0, batch=batch)
    before = verdict.of_runs([run]).conditions
    request = replication.ReplicationRequest(
        MODEL, "train.json", "t", "val.json", "v", freeze="backbone"
    )
    opening.write_spec(run, request, "python tools/replicate.py --freeze=backbone", [])
    opening.write_config(run, config.load(run.pipeline_config), MODEL)
    (frozen,) = [each for each in read_json(run.deviations) if each["path"] == "--freeze"]
    assert (frozen["a"], frozen["b"], frozen["class"]) == (None, "backbone", "training")
    after = verdict.of_runs([run]).conditions
    assert before.answer in ("as published", "scaled") and after.answer == "changed"
    (change,) = after.changes
    assert change.sentence == (
        "--freeze is backbone, published without it: these layers keep the weights and batch-norm "
        "statistics that the run begins with"
    )
    run.deviations.unlink()  # told anew where the file is gone
    assert verdict.of_runs([run]).conditions == after


def test_status_names_it(tmp_path):
    run = made.run_directory(tmp_path / "run", MODEL, 22.0)
    ended(run, reason="ended early: x")
    write_json(run.verdict, {"verdict": "NEAR"})
    keep(run, {48_000: 22.31, 50_000: 22.0})
    (found,) = status.of_folder(tmp_path)
    assert (found.best["step"], found.best["evaluations"]) == (48_000, 2)
    assert "22.0 at 50,000; best of 2: AP 22.3 at 48,000" in board._cells(found)
    assert found.reason == "ended early: x"
    keep(run, {50_000: 22.4})
    (found,) = status.of_folder(tmp_path)
    assert "22.0 at 50,000; best of 2: AP 22.3 at 48,000" in board._cells(found)
    run.best_record.unlink()
    (found,) = status.of_folder(tmp_path)
    assert found.best is None and "22.0 at 50,000" in board._cells(found)


def test_the_report_names_it(tmp_path, drawn):  # noqa: F811
    run = making.run_directory(tmp_path / "run", *drawn)
    last = run.evaluated_steps()[-1]
    figures = {step: 100 * run.scores_at(step)[0]["metrics"]["AP"] for step in (last,)}
    keep(run, {last - 1: 99.0} | figures)
    report.write(run)
    told = read_json(run.report / "report.json")
    assert told["best"]["step"] == last - 1 and told["best"]["evaluations"] == 2
    said = f"AP 99.00 at step {last - 1:,}, the best of 2 evaluations on the images it is judged on"
    assert said in (run.report / "index.html").read_text(encoding="utf-8")
    assert said in (run.report / "report.md").read_text(encoding="utf-8").replace("\n", " ")
    (figure,) = [each["text"] for each in told["facts"] if each["label"] == "Best kept"]
    assert figure == f"{said}; in best/ckpt-{last - 1}"
