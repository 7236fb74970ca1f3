"""A fine-tuning on data of its own: what it always differs in is no problem, what matters stays."""

import dataclasses
import json
import pathlib

import pytest

from replicate import config as configs
from replicate import replication
from replicate.preflight import trial
from replicate.preflight.launch_facts import LaunchFacts
from tests.preflight.conftest import MODEL


@pytest.fixture
def shipped(tmp_path):
    """An earlier run whose weights are taken."""
    folder = tmp_path / "shipped" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("ckpt-5.index", "ckpt-5.data-00000-of-00001"):
        (folder / name).write_bytes(b"")
    (folder.parent / "metrics.jsonl").write_text('{"step": 5}\n')
    return str(folder / "ckpt-5")


@pytest.fixture
def fine_tuning(drawn, tmp_path, shipped):
    """The Intent of the zoo's recipe on three drawn classes, as --purpose=finetune has it."""
    request = replication.ReplicationRequest(
        MODEL,
        *(str(each) for split in ("train", "val") for each in drawn[split]),
        num_steps=50,
        overrides=(("train_config.batch_size", "8"),),
        fine_tune_checkpoint=shipped,
        shorten_schedule=True,
        purpose="finetune",
    )
    return dataclasses.replace(replication.intent(request, tmp_path / "run"), purpose="finetune")


def test_a_correct_one_has_no_fail(fine_tuning, told):
    assert fine_tuning.message.train_config.fine_tune_checkpoint_type == "detection"
    results = told(fine_tuning)
    failed = {number: result.seen for number, result in results.items() if result.status == "fail"}
    assert failed == {}
    said = " ".join(result.seen + result.fix for result in results.values())
    for misleading in (
        *("another run", "val2017", "train2017", "published figure", "19 mAP"),
        *("num_classes=90", "total_steps=", "num_steps=", "if it is not meant"),
    ):
        assert misleading not in said
    assert results[9].status == "pass" and results[17].status == "pass"
    assert all(results[number].status == "pass" for number in (3, 7, 8))
    assert "num_classes is 3, in the recipe 90" in results[7].seen
    # as a replication the same launch fails
    replicating = told(dataclasses.replace(fine_tuning, purpose="replicate"))
    assert replicating[9].status == "fail" and replicating[17].status == "fail"
    assert "--purpose=finetune" in replicating[9].fix


def test_a_detectors_weights_but_for_its_class_heads(fine_tuning, told):
    """Expected of a fine-tuning, another start than published of a replication; of something."""
    kept = "--restore=all_but_class_heads takes more of it"
    assert kept in told(fine_tuning)[1].seen
    restoring = dataclasses.replace(fine_tuning, restore="all_but_class_heads")
    results = told(restoring)
    assert results[1].status == "pass" and "(all but the class heads)" in results[1].seen
    assert results[3].status == "pass"
    assert "published" not in " ".join(result.seen for result in results.values())
    replicating = told(dataclasses.replace(restoring, purpose="replicate"))
    assert replicating[3].status == "warn"
    assert "--restore=all_but_class_heads: not in the recipe" in replicating[3].seen
    restoring.message.train_config.fine_tune_checkpoint = ""
    without = told(restoring)[1]
    assert without.status == "fail" and "no checkpoint to take them from" in without.seen


def test_what_still_matters(fine_tuning, told, drawn, tmp_path):
    """Labels, images in both sets, lost annotations, a rate that is too high."""
    fine_tuning.message.model.ssd.num_classes = 90
    document = json.loads(pathlib.Path(drawn["train"][0]).read_text())
    for annotation in document["annotations"][:9]:
        annotation["bbox"][2] = 0
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(document))
    results = told(
        dataclasses.replace(
            fine_tuning,
            train_annotations=str(edited),
            val_annotations=drawn["train"][0],
            val_images=drawn["train"][1],
        )
    )
    assert results[2].status == "fail" and "training images are evaluated" in results[2].seen
    assert results[6].status == "warn" and "9 box_empty" in results[6].seen
    assert results[4].status == "warn" and "times as much" in results[4].seen
    assert "learning_rate_base=0.005" in results[4].fix


def test_without_weights_there_is_nothing_to_fine_tune(fine_tuning, told):
    fine_tuning.message.train_config.fine_tune_checkpoint = ""
    result = told(fine_tuning)[1]
    assert result.status == "warn" and "nothing to fine-tune" in result.seen


def test_of_tf_vision_backbone_and_decoder_are_loaded(drawn, tmp_path, shipped):
    """Whose heads have another size for other classes; another choice is the user's."""
    modules = "task.init_checkpoint_modules"
    for overrides, loaded in (
        ((), ["backbone", "decoder"]),
        (((modules, "backbone"),), "backbone"),
    ):
        request = replication.ReplicationRequest(
            "retinanet_mobilenetv2_256",
            *(str(each) for split in ("train", "val") for each in drawn[split]),
            num_steps=50,
            overrides=overrides,
            fine_tune_checkpoint=shipped,
            purpose="finetune",
        )
        params = replication.intent(request, tmp_path / "run").message.params
        assert params.at(modules) == loaded
        assert params.at("task.init_checkpoint") == shipped


def test_a_start_that_is_not_there_is_no_classifier_s(fine_tuning, told):
    fine_tuning.message.train_config.fine_tune_checkpoint = "nowhere/ckpt-1"
    result = told(fine_tuning)[1]
    assert result.status == "fail" and "download.py zoo MODEL" in result.fix
    assert "starting" not in result.fix


def test_notrial_builds_no_model(fine_tuning):
    assert not trial.wanted(LaunchFacts(fine_tuning), steps=False)
    assert trial.wanted(LaunchFacts(fine_tuning), steps=True)
    replicating = dataclasses.replace(fine_tuning, purpose="replicate")
    assert trial.wanted(LaunchFacts(replicating), steps=False)


def test_another_type_is_the_user_s(drawn, tmp_path, shipped):
    kind = "train_config.fine_tune_checkpoint_type"
    request = replication.ReplicationRequest(
        MODEL,
        *(str(each) for split in ("train", "val") for each in drawn[split]),
        overrides=((kind, "full"),),
        fine_tune_checkpoint=shipped,
        purpose="finetune",
    )
    message = replication.intent(request, tmp_path / "run").message
    assert message.train_config.fine_tune_checkpoint_type == "full"
    assert configs.facts(message).num_classes == 3
