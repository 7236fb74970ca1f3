"""A run from its records to its report: stopped, continued, evaluated, asked for predictions."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from replicate import checkpoint_files, contracts
from replicate.errors import Interrupted, UserError
from replicate.recognition import evaluation, model, prediction, records, report, training
from replicate.recognition.engine import tf
from replicate.recognition.trainer import RecognitionTrainer
from replicate.run import RunDir, read_json, read_metrics, write_json
from tests.recognition.conftest import BATCH, STEPS, image_path, present

PROJECT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = "python tools/train_recognition.py …"


def _losses(run):
    return {each["step"]: each["losses"]["Loss/total_loss"] for each in read_metrics(run.metrics)}


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, for a test to change."""
    shutil.copytree(finished.root, tmp_path / "run")
    return RunDir.at(tmp_path / "run")


def test_a_stopped_run_continues_to_the_same_losses_and_scores(
    finished, request_of, settings, tmp_path, monkeypatch
):
    log = training.TrainingJournal.log

    def log_and_stop(journal, output):
        log(journal, output)
        if len(read_metrics(tmp_path / "metrics.jsonl")) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(training.TrainingJournal, "log", log_and_stop)
        with pytest.raises(Interrupted, match="step 4"):
            training.train(request_of(), tmp_path, settings, COMMAND)
    run = RunDir.at(tmp_path)
    assert checkpoint_files.steps_of(run.checkpoints) == [3, 4]
    training.train(request_of(), tmp_path, settings, COMMAND)
    assert _losses(run) == _losses(finished)
    assert sorted(_losses(run)) == list(range(1, STEPS + 1))
    for split in ("train", "val"):
        ours = evaluation.read(evaluation.scores_file(run, STEPS, split))
        theirs = evaluation.read(evaluation.scores_file(finished, STEPS, split))
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        assert ours.image_ids == theirs.image_ids


def test_the_loss_is_keras_own_cross_entropy(finished, request_of, drawn):
    request = request_of()
    classes = request.classes()
    tf.keras.utils.set_random_seed(2**30)
    recognizer = model.build(request, classes)
    images, labels, _ = next(iter(records.training_batches(request, classes, 0)))
    logits = recognizer(images, training=True)
    # Keras's is the mean over categories.
    expected = len(classes) * tf.keras.losses.BinaryCrossentropy(from_logits=True)(labels, logits)
    assert _losses(finished)[1] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_metrics_are_scikit_learns_on_the_saved_scores(finished, drawn, split):
    told = read_json(evaluation.metrics_file(finished, STEPS, split))["metrics"]
    with np.load(evaluation.scores_file(finished, STEPS, split)) as stored:
        labels, scores = stored["labels"], stored["scores"]
        names, image_ids = stored["class_names"].tolist(), stored["image_ids"].tolist()
    # The truth is that of the annotation file.
    for image_id, row in zip(image_ids, labels, strict=True):
        expected = present(drawn["annotations"][split])[image_id]
        assert {name for name, there in zip(names, row, strict=True) if there} == expected
    counted = labels.any(axis=0)
    assert [each["name"] for each in told["without_positives"]] == ["hexagon"]
    assert np.array(names)[~counted].tolist() == ["hexagon"]
    expected = sklearn_metrics.average_precision_score(
        labels[:, counted], scores[:, counted], average=None
    )
    by_name = {each["name"]: each for each in told["per_category"]}
    assert [by_name[name]["AP"] for name in np.array(names)[counted]] == expected.tolist()
    assert by_name["hexagon"]["AP"] is None
    assert told["mean_AP"] == pytest.approx(expected.mean(), abs=1e-15)
    f1 = sklearn_metrics.f1_score(labels, scores >= 0.5, average="micro", zero_division=0)
    assert told["F1"]["micro"] == f1


def test_the_mapping_is_in_the_checkpoint_and_beside_it(finished, drawn):
    expected = [(0, 1, "disc"), (1, 2, "square"), (2, 3, "triangle"), (3, 7, "hexagon")]
    listed = read_json(finished.root / "classes.json")
    assert [(each["index"], each["id"], each["name"]) for each in listed] == expected
    for step in checkpoint_files.steps_of(finished.checkpoints):
        described = model.describe(checkpoint_files.path_of(finished.checkpoints, step))
        assert [(each.id, each.name) for each in described["classes"]] == [
            (number, name) for _, number, name in expected
        ]
    model.load(finished.root, drawn["label_map"])


@pytest.fixture
def swapped(tmp_path):
    """A label map that gives disc and square each other's ids."""
    names = {1: "square", 2: "disc", 3: "triangle", 7: "hexagon"}
    items = (f"item {{ id: {number} name: '{name}' }}\n" for number, name in names.items())
    (tmp_path / "swapped.pbtxt").write_text("".join(items))
    return str(tmp_path / "swapped.pbtxt")


def test_another_label_map_is_refused_on_load(finished, swapped):
    with pytest.raises(UserError) as error:
        model.load(finished.root, swapped)
    for words in ("2 of 4", "'disc' (id 1)", "'square' (id 1)", "swapped.pbtxt"):
        assert words in str(error.value)


def test_a_changed_classes_file_is_refused_on_load(copied):
    listed = read_json(copied.root / "classes.json")
    listed[0]["name"], listed[2]["name"] = listed[2]["name"], listed[0]["name"]
    write_json(copied.root / "classes.json", listed)
    with pytest.raises(UserError, match=r"classes\.json: 2 of 4 classes differ"):
        model.load(copied.root)


def test_a_label_map_that_changed_is_refused_on_resume(copied, request_of, settings, swapped):
    spec = read_json(copied.spec)
    spec["request"]["label_map"] = swapped
    write_json(copied.spec, spec)
    with pytest.raises(UserError, match="2 of 4 classes differ"):
        training.train(request_of(label_map=swapped), copied.root, settings, COMMAND)


def test_other_settings_are_refused_and_named(copied, request_of, settings):
    with pytest.raises(UserError) as error:
        training.train(
            request_of(batch_size=5, backbone="ResNet50"), copied.root, settings, COMMAND
        )
    for words in ("batch_size was 4, now 5", "backbone was 'MobileNet'", "another --model_dir"):
        assert words in str(error.value)


def test_a_mistake_before_the_first_checkpoint_is_corrected_in_place(
    request_of, settings, tmp_path, monkeypatch
):
    with pytest.raises(UserError, match="no such backbone"):
        training.train(request_of(backbone="MobilNet"), tmp_path, settings, COMMAND)

    class Trains(Exception):
        pass

    def trains(*_):
        raise Trains

    monkeypatch.setattr(training, "_train", trains)
    with pytest.raises(Trains):
        training.train(request_of(), tmp_path, settings, COMMAND)
    assert read_json(tmp_path / "spec.json")["request"]["backbone"] == "MobileNet"


def test_the_directory_of_a_detector_is_refused(request_of, settings, tmp_path):
    write_json(tmp_path / "spec.json", {"format": 1, "request": {"model": "ssd"}})
    with pytest.raises(UserError, match="not a recognition run"):
        training.train(request_of(), tmp_path, settings, COMMAND)


def test_other_records_are_refused_on_resume(copied, request_of, settings, drawn):
    data = read_json(copied.root / "data.json")
    data["train"]["fingerprint"] = "0" * 64
    write_json(copied.root / "data.json", data)
    with pytest.raises(UserError, match="not the records that this run was begun with"):
        training.train(request_of(), copied.root, settings, COMMAND)


def test_a_finished_run_is_evaluated_on_other_records_without_training(copied, request_of, drawn):
    before = {path.name: path.stat().st_mtime_ns for path in copied.checkpoints.iterdir()}
    # The training images stand in for another set to evaluate on.
    other = training.RecognitionSettings(val_records=drawn["train"], threshold=0.25)
    found = training.train(request_of(), copied.root, other, COMMAND)
    assert {path.name: path.stat().st_mtime_ns for path in copied.checkpoints.iterdir()} == before
    metrics = found["val"]["metrics"]
    assert metrics["images"] == 24
    assert metrics["threshold"] == 0.25
    kept = read_json(evaluation.metrics_file(copied, STEPS, "train"))["metrics"]
    assert metrics["mean_AP"] == kept["mean_AP"]
    said = evaluation.read(evaluation.scores_file(copied, STEPS, "val"))
    f1 = sklearn_metrics.f1_score(said.labels, said.scores >= 0.25, average="micro")
    assert metrics["F1"]["micro"] == f1


def test_a_damaged_last_checkpoint_falls_back(copied):
    last = next(copied.checkpoints.glob(f"ckpt-{STEPS}.data-*"))
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 0xFF
    last.write_bytes(content)
    assert model.find(copied.root).endswith("ckpt-3")
    with pytest.raises(UserError, match="damaged"):
        model.find(copied.checkpoints / f"ckpt-{STEPS}")


def test_a_detectors_checkpoint_is_refused(tmp_path):
    path = tf.train.Checkpoint(v=tf.Variable(1.0)).write(str(tmp_path / "ckpt-1"))
    with pytest.raises(UserError, match="not a recogniser's checkpoint"):
        model.load(path)


def test_an_infinite_loss_is_told_with_step_and_images(request_of):
    request = request_of(learning_rate=1e38, optimizer="sgd")
    trainer = RecognitionTrainer(request, model.build(request, request.classes()), STEPS)
    with pytest.raises(UserError, match=r"loss of step [2-6] is (nan|inf) \(image ids \d+, "):
        trainer.train(STEPS)


def test_predictions_are_the_scores_of_the_evaluation(finished, drawn):
    scored = evaluation.read(evaluation.scores_file(finished, STEPS, "val"))
    recognizer, _ = model.load(finished.root)
    assert scored.scores.std(axis=0).min() > 1e-3  # another image's scores would not do
    names = np.array([each.name for each in scored.classes])
    paths = [image_path(drawn, "val", image_id) for image_id in scored.image_ids]
    found = prediction.top(recognizer, paths, count=3)
    assert [each["image"] for each in found] == [str(path) for path in paths]
    for each, row in zip(found, scored.scores, strict=True):
        best = np.argsort(-row, kind="stable")[:3]
        assert [it["name"] for it in each["categories"]] == names[best].tolist()
        np.testing.assert_allclose([it["score"] for it in each["categories"]], row[best], rtol=1e-4)


def test_recognize_on_the_command_line(finished, drawn, tmp_path, swapped):
    image = image_path(drawn, "val", "1")
    tool = [sys.executable, str(PROJECT / "tools" / "recognize.py"), f"--model={finished.root}"]
    output = tmp_path / "found.json"
    done = subprocess.run(
        [*tool, "--top_k=2", f"--output={output}", str(image)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    scored = evaluation.read(evaluation.scores_file(finished, STEPS, "val"))
    row = scored.scores[scored.image_ids.index("1")]
    best = np.argsort(-row, kind="stable")[:2]
    expected = [f"  {row[index]:.3f}  {scored.classes[index].name}" for index in best]
    assert done.stdout.splitlines() == [str(image), *expected]
    (found,) = json.loads(output.read_text())["images"]
    assert [each["id"] for each in found["categories"]] == [scored.classes[i].id for i in best]


def test_the_report_tells_what_was_evaluated(finished):
    told = read_json(finished.report / "report.json")
    page = (finished.report / "index.html").read_text(encoding="utf-8")
    val = read_json(evaluation.metrics_file(finished, STEPS, "val"))["metrics"]
    train = read_json(evaluation.metrics_file(finished, STEPS, "train"))["metrics"]
    assert [each["metrics"] for each in told["splits"]] == [val, train]
    assert [each["step"] for each in told["checkpoints"]] == [3, 6]
    assert told["checkpoints"][-1]["val"]["mean_AP"] == val["mean_AP"]
    assert f"Mean AP {100 * val['mean_AP']:.1f} on 9 images that it was not trained on" in page
    assert "over 3 of 4 categories; 1 are in no image" in page
    assert "none of its 9 images holds one: hexagon." in page
    assert told["progress"]["images_seen"] == STEPS * BATCH
    assert {row["name"]: row["val_images"] for row in told["per_category"]} == {
        each["name"]: each["positives"] for each in val["per_category"]
    }
    assert page.count("data:image/jpeg;base64,") == len(told["gallery"]["images"]) == 9


def test_the_gallery_lists_what_is_there_and_what_scores_highest(finished):
    told = read_json(finished.report / "report.json")["gallery"]
    scored = evaluation.read(evaluation.scores_file(finished, STEPS, "val"))
    for image in told["images"]:
        row, truth = scored.scores[image["position"]], scored.labels[image["position"]]
        assert image["id"] == scored.image_ids[image["position"]]
        listed = {each["name"]: each for each in image["categories"]}
        for index, each in enumerate(scored.classes):
            if truth[index]:
                assert listed[each.name]["present"]
        assert [each["score"] for each in image["categories"]] == sorted(
            (row[index] for index in range(4)), reverse=True
        )
    best = [each["ranking"] for each in told["images"] if "best" in each["groups"]]
    worst = [each["ranking"] for each in told["images"] if "worst" in each["groups"]]
    assert min(best) >= max(worst) or len(told["images"]) < 12


def test_a_run_without_evaluation_has_a_report_that_says_so(copied):
    shutil.rmtree(copied.evals)
    page = report.write(copied).read_text(encoding="utf-8")
    document = json.loads((copied.report / "report.json").read_bytes())
    assert document["schema"] == "urn:replicate-tf2-zoo:recognition_report:1"
    assert contracts.violations("recognition_report", document) == []
    assert "Nothing was evaluated yet." in page
    assert "there is no evaluation in the run" in page


def test_pictures_of_records_that_are_gone_are_named(copied):
    for split in ("val", "train"):
        path = evaluation.metrics_file(copied, STEPS, split)
        told = read_json(path)
        told["records"]["pattern"] = "/nowhere/*.tfrecord"
        write_json(path, told)
    page = report.write(copied).read_text(encoding="utf-8")
    assert "pictures from /nowhere/*.tfrecord" in page
    assert "data:image/jpeg" not in page
