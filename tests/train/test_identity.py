"""A resume is of the same run: a change is refused by name, or accepted and kept."""

import json
import pathlib
import shutil

import pytest

import tfrecords
from replicate import identity
from replicate.errors import UserError
from replicate.run import RunDir, read_json, write_json


@pytest.fixture
def begun(even_config, even_records, tmp_path):
    """(run, config over records of its own): a run that has begun."""
    folder = tmp_path / "records"
    shutil.copytree(even_records, folder)
    config = type(even_config)()
    config.CopyFrom(even_config)
    reader = config.train_input_reader
    reader.tf_record_input_reader.input_path[:] = [f"{folder}/train-*.tfrecord"]
    reader.label_map_path = str(folder / "label_map.pbtxt")
    weights = tmp_path / "start" / "ckpt-1"
    weights.parent.mkdir()
    weights.with_name("ckpt-1.index").write_bytes(b"weights")
    config.train_config.fine_tune_checkpoint = str(weights)
    run = RunDir.at(tmp_path / "run")
    write_json(run.spec, {"format": 1, "request": {}, "command": "python tools/train.py"})
    identity.keep(run, identity.of(config, 1, "float32"), 0)
    return run, config


def _swapped_ids(config):
    path = pathlib.Path(config.train_input_reader.label_map_path)
    text = path.read_text()
    path.write_text(
        text.replace("id: 1", "id: 9").replace("id: 2", "id: 1").replace("id: 9", "id: 2")
    )


def _other_records(config):
    """Other records under the same names, with a manifest that fits them."""
    folder = pathlib.Path(config.train_input_reader.label_map_path).parent
    path = folder / "annotations.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["bbox"][2] -= 1
    path.write_text(json.dumps(document))
    for each in [*folder.glob("train-*"), *folder.glob("*-train.json*")]:
        each.unlink()
    tfrecords.convert(path, folder / "images", folder / "train", 2, progress=False)


def _other_weights(config):
    pathlib.Path(f"{config.train_config.fine_tune_checkpoint}.index").write_bytes(b"others")


def _other_rate(config):
    config.train_config.optimizer.momentum_optimizer.momentum_optimizer_value = 0.5


CASES = {
    # what: (what happens to the config's files, seed, precision, fields, in the message)
    "seed": (None, 2, "float32", ["seed"], "seed was 1, is 2"),
    "precision": (None, 1, "bfloat16", ["precision"], "precision was float32, is bfloat16"),
    "label map": (_swapped_ids, 1, "float32", ["label_map"], "1 was 'class 1', is 'class 2'"),
    "records": (
        *(_other_records, 1, "float32", ["train_records", "train_annotations"]),
        "train records have other content",
    ),
    "weights": (_other_weights, 1, "float32", ["starting_checkpoint"], "starting checkpoint have"),
    "config": (_other_rate, 1, "float32", ["config"], "momentum_optimizer_value was 0.9, is 0.5"),
}


@pytest.mark.parametrize("what", CASES)
def test_another_run_is_refused_by_name_or_accepted_and_kept(begun, what):
    change, seed, precision, fields, said = CASES[what]
    run, config = begun
    if change:
        change(config)
    now = identity.of(config, seed, precision)
    before = run.identity.read_bytes()
    with pytest.raises(UserError) as told:
        identity.keep(run, now, 6)
    assert said in str(told.value)
    assert all(f"--accept={field}" in str(told.value) for field in fields)
    assert run.identity.read_bytes() == before, "a refusal changes nothing"
    identity.keep(run, now, 6, accept=fields)
    accepted = read_json(run.spec)["accepted"]
    assert [(each["field"], each["step"]) for each in accepted] == [(f, 6) for f in fields]
    assert len(identity.accepted_notes(run)) == len(fields)
    identity.keep(run, now, 8)  # from now on it is the same run
    assert read_json(run.spec)["accepted"] == accepted


def test_the_same_run_is_continued(begun):
    run, config = begun
    config.train_config.num_steps += 100  # a longer run is the same one
    identity.keep(run, identity.of(config, 1, "float32"), 6)
    assert read_json(run.identity)["accepted"] == []


def test_of_a_run_at_its_end_nothing_is_continued(begun, capsys):
    run, config = begun
    before, asked = run.identity.read_bytes(), run.spec.read_bytes()
    identity.keep(run, identity.of(config, 1, "bfloat16"), 6, accept=("precision",), ended=True)
    assert "nothing is left to train" in capsys.readouterr().err
    assert (run.identity.read_bytes(), run.spec.read_bytes()) == (before, asked)
    run.checkpoints.mkdir(parents=True)
    for suffix in ("index", "data-00000-of-00001"):
        (run.checkpoints / f"ckpt-6.{suffix}").write_bytes(b"")
    config.train_config.num_steps = 7
    identity.refuse_at_its_end(run, config, 2, ("seed",))  # a step is left
    config.train_config.num_steps = 6
    identity.refuse_at_its_end(run, config, 1, ("seed",))
    with pytest.raises(UserError, match=r"trained to its end, step 6.*: seed was 1, is 2\."):
        identity.refuse_at_its_end(run, config, 2, ("seed",))


def test_an_unknown_field_is_refused(begun):
    run, config = begun
    with pytest.raises(UserError, match="--accept=sed: one of seed, precision"):
        identity.keep(run, identity.of(config, 1, "float32"), 6, accept=("sed",))
