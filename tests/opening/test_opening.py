"""What a run directory holds before the first step, and what it refuses to be mixed with."""

import dataclasses

import pytest

from replicate import config, opening, replication, train_run
from replicate.demo import drawing
from replicate.errors import UserError
from replicate.run import RunDir, read_json, write_json

FPNLITE = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"


@pytest.fixture
def run(tmp_path):
    return RunDir.at(tmp_path / "run")


def _message(**fields):
    return config.render(FPNLITE, num_classes=3, **fields)


def test_the_spec_keeps_what_was_asked_for(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORE_TOKEN", "planted-0123456789")
    request = train_run.TrainingRequest(
        "a/pipeline.config", FPNLITE, val_annotations="val.json", seed=3
    )
    command = "python tools/train.py --input_service=planted-0123456789"
    opening.write_spec(run, request, command, [], kind="training")
    spec = read_json(run.spec)
    assert (spec["kind"], spec["request"]["model"], spec["request"]["seed"]) == (
        *("training", FPNLITE),
        3,
    )
    assert spec["request"]["config"] == str(tmp_path / "a" / "pipeline.config")
    assert spec["request"]["val_annotations"] == str(tmp_path / "val.json")
    assert spec["command"] == "python tools/train.py --input_service=<STORE_TOKEN>"
    assert "forced" not in spec
    # Asked for the same again, the first command stays; what was forced is added.
    opening.write_spec(run, request, "another command", ["reason 8"], kind="training")
    assert read_json(run.spec) == spec | {"forced": ["reason 8"]}


def test_another_run_where_no_step_was_kept_may_go(run):
    """Of a mistaken flag that ended the launch: the folder has nothing that would be lost."""
    request = train_run.TrainingRequest("a/pipeline.config", FPNLITE)
    opening.write_spec(run, request, "python tools/train.py", [], kind="training")
    other = dataclasses.replace(request, freeze="nosuchlayer")
    with pytest.raises(UserError, match=r"freeze was .*No step of it was kept: remove it"):
        opening.refuse_another(run, other)
    run.checkpoints.mkdir()
    (run.checkpoints / "ckpt-1.index").write_bytes(b"")
    with pytest.raises(UserError, match=r"differently: freeze.*Continue it with its own"):
        opening.refuse_another(run, other)


def test_a_training_is_no_replication(run):
    request = train_run.TrainingRequest("a/pipeline.config", FPNLITE)
    opening.write_spec(run, request, "python tools/train.py", [], kind="training")
    asked = replication.ReplicationRequest(FPNLITE, "t.json", "t", "v.json", "v")
    with pytest.raises(UserError, match=r"train_annotations was not asked for, now '.*t\.json'"):
        opening.refuse_another(run, asked)


def test_deviations_are_a_list_only_where_something_was_compared(run):
    """null: not compared; an empty list: as published."""
    assert opening.write_config(run, _message(), None) is None
    assert read_json(run.deviations) is None
    assert "# recipe" not in run.pipeline_config.read_text()
    opening.write_config(run, _message(num_steps=1000), FPNLITE)
    paths = {each["path"].rpartition(".")[2] for each in read_json(run.deviations)}
    assert paths == {"num_classes", "num_steps", "total_steps", "warmup_steps"}
    assert config.load(run.pipeline_config) == _message(num_steps=1000)
    opening.write_config(run, config.template(FPNLITE), FPNLITE)
    assert read_json(run.deviations) == []


def test_a_config_that_lies_there_already_keeps_its_comments(run):
    run.root.mkdir()
    run.pipeline_config.write_text("# my notes\n" + config.to_text(_message()))
    opening.write_config(run, _message(), FPNLITE)
    assert run.pipeline_config.read_text().startswith("# my notes\n")


def test_another_request_is_refused_field_by_field(run):
    request = train_run.TrainingRequest("pipeline.config", FPNLITE)
    opening.write_spec(run, request, "", [])
    opening.refuse_another(run, request)
    other = dataclasses.replace(request, seed=4, num_steps=7)
    with pytest.raises(UserError, match=r"seed was 0, now 4; num_steps was None, now 7\."):
        opening.refuse_another(run, other)
    with pytest.raises(UserError, match=r"differently: seed was 0, now 4\."):
        opening.refuse_another(run, other, may_change=("num_steps",))


def test_a_run_of_an_older_kit_goes_on(run):
    """A field that it did not know had its default."""
    request = replication.ReplicationRequest(FPNLITE, "a", "b", "c", "d")
    asked = opening.asked_for(request)
    del asked["shorten_schedule"], asked["config"]
    write_json(run.spec, {"format": 1, "request": asked, "command": ""})
    opening.refuse_another(run, request)
    with pytest.raises(UserError, match="shorten_schedule was False, now True"):
        opening.refuse_another(run, dataclasses.replace(request, shorten_schedule=True))


def test_another_config_is_refused_once_something_is_trained(run):
    opening.write_config(run, _message(), FPNLITE)
    larger = _message(overrides=[("train_config.batch_size", "64")])
    opening.refuse_another_config(run, larger)
    run.checkpoints.mkdir()
    (run.checkpoints / "ckpt-2.index").touch()
    opening.refuse_another_config(run, _message(train_records="elsewhere"))
    with pytest.raises(UserError, match="train_config.batch_size was 128, now 64"):
        opening.refuse_another_config(run, larger)
    longer = _message(overrides=[("train_config.num_steps", "60000")])
    opening.refuse_another_config(run, longer, may_change=("train_config.num_steps",))


class TestTheRecipeOfATraining:
    def test_named_by_the_config(self, tmp_path):
        path = tmp_path / "pipeline.config"
        path.write_text(config.text_of(_message(), FPNLITE))
        request = train_run.request_for(str(path), seed=5)
        assert (request.model, request.seed) == (FPNLITE, 5)
        assert "# recipe" in request.recipe_told_by

    def test_named_by_the_user(self, tmp_path):
        path = tmp_path / "published.config"
        path.write_text("model { ssd { num_classes: 1 } }")
        assert train_run.request_for(FPNLITE, FPNLITE).model == FPNLITE
        # A config of no zoo model stands for itself where it is named to compare with.
        assert train_run.request_for(FPNLITE, str(path)).model == str(path)
        with pytest.raises(UserError, match="did you mean"):
            train_run.request_for(FPNLITE, FPNLITE.replace("mobilenet", "mobilnet"))

    def test_not_known(self, tmp_path):
        path = tmp_path / "pipeline.config"
        path.write_text("model { ssd { num_classes: 1 } }")
        request = train_run.request_for(str(path))
        assert request.model == "" and "not known" in request.recipe_told_by


class TestTheConfigOfAReplication:
    def _request(self, model, **fields):
        return replication.ReplicationRequest(model, "a", "b", "c", "d", **fields)

    def test_a_name_stays(self):
        request = self._request(FPNLITE)
        assert replication.resolved(request) is request

    def test_a_config_is_trained_and_held_against_its_recipe(self, tmp_path):
        path = tmp_path / "mine.config"
        path.write_text(config.text_of(_message(), FPNLITE))
        found = replication.resolved(self._request(str(path)))
        assert (found.model, found.config) == (FPNLITE, str(path))
        assert replication.resolved(found) is found

    def test_a_run_is_repeated(self, run):
        write_json(run.spec, {"format": 1, "request": {"model": FPNLITE}})
        opening.write_config(run, _message(num_steps=10), FPNLITE)
        found = replication.resolved(self._request(str(run.root)))
        assert (found.model, found.config) == (FPNLITE, str(run.root))


class TestTheScheduleOfAReplication:
    """--rehearsal shortens it with --num_steps; what --set names wins; else it is cut off."""

    COSINE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"

    @pytest.fixture(scope="class")
    def drawn(self, tmp_path_factory):
        return drawing.draw(tmp_path_factory.mktemp("drawn"), train_images=2, val_images=1)

    @pytest.mark.parametrize(
        ("shorten", "overrides", "expected"),
        [
            (True, (), (500, 10, 500)),
            (False, (), (500, 1000, 50_000)),
            (True, ((f"{COSINE}.total_steps", "400"),), (500, 10, 400)),
            (True, (("train_config.num_steps", "450"),), (450, 10, 500)),
        ],
    )
    def test_steps_warm_up_and_decay(self, drawn, run, shorten, overrides, expected):
        request = replication.ReplicationRequest(
            FPNLITE,
            *drawn["train"],
            *drawn["val"],
            num_steps=500,
            overrides=overrides,
            shorten_schedule=shorten,
        )
        message = replication.compose(request, run)
        cosine = config.get_field(message, self.COSINE)
        steps = message.train_config.num_steps
        assert (steps, cosine.warmup_steps, cosine.total_steps) == expected
