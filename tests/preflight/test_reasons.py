"""The documented reasons in checkpoint, run, machine and evaluators, each made and caught."""

import dataclasses
import json
import pathlib
import sys
import types

import pytest

from replicate import config as configs
from replicate import devices, preflight
from replicate.preflight import evaluators, machine, memory, starting
from replicate.preflight import trial as trials
from replicate.preflight.launch_facts import LaunchFacts
from replicate.score import scoring
from tests.preflight.caught import caught, statuses, with_checkpoint
from tests.preflight.conftest import MODEL


def test_a_sound_launch_passes_all_that_a_cpu_can(intent, told):
    results = told(intent())
    assert list(results) == list(range(1, 18))
    failing = {n: r for n, r in results.items() if r.status != "pass"}
    # 10: there is no GPU here; 12: memory is told by the trial.
    assert set(failing) <= {10, 12} and all(r.status == "warn" for r in failing.values())


class Test1StartingCheckpoint:
    def test_left_empty(self, intent, told, recipe, tmp_path):
        made = intent(model=with_checkpoint(recipe, tmp_path))
        caught(told, intent(), made, 1, "random weights", "mobilenet_v2.ckpt-1")

    def test_not_there(self, intent, told):
        made = intent(fine_tune_checkpoint="/nowhere/ckpt-1")
        told_by_drift = (3,)  # the recipe of these tests starts from random weights
        caught(told, intent(), made, 1, "/nowhere/ckpt-1.index is missing", beside=told_by_drift)

    @pytest.mark.parametrize(
        ("edit", "word"),
        [
            (lambda train: setattr(train, "fine_tune_checkpoint_type", "detection"), "detection"),
            (lambda train: train.ClearField("fine_tune_checkpoint_version"), "V2"),
        ],
    )
    def test_wrong_type_or_version(self, intent, recipe, tmp_path, edit, word):
        (tmp_path / "start.index").touch()
        made = intent(
            lambda message: edit(message.train_config),
            model=with_checkpoint(recipe, tmp_path),
            fine_tune_checkpoint=str(tmp_path / "start"),
        )
        found = list(starting.checkpoint(LaunchFacts(made)))
        problems = [each for each in found if getattr(each, "status", "pass") == "fail"]
        assert len(problems) == 1 and word in problems[0].seen + problems[0].fix

    def test_matching_few_variables(self, intent):
        found = [
            next(starting.matched(LaunchFacts(intent()), {"start": start}, None))
            for start in (
                {"changed": 40, "total": 262},
                {"changed": 200, "total": 262},
                {"changed": 262, "total": 262},
                {"error": "matches none of the model's 262 variables"},
            )
        ]
        statuses = [getattr(each, "status", "pass") for each in found]
        assert statuses == ["fail", "warn", "pass", "fail"]
        assert "only 40 of 262" in found[0].seen

    @pytest.mark.slow
    def test_a_real_checkpoint_of_something_else(self, intent, told, recipe, tmp_path):
        """Restored by the trial's process, which counts what the model took of it."""
        from replicate import odapi

        odapi.load()
        import tensorflow as tf

        path = tf.train.Checkpoint(x=tf.Variable([1.0])).write(str(tmp_path / "unrelated"))
        made = intent(model=with_checkpoint(recipe, tmp_path), fine_tune_checkpoint=path)
        result = told(made)[1]
        assert result.status == "fail" and "matches none of the model's" in result.seen


class Test9Resume:
    @pytest.fixture
    def begun(self, intent, tmp_path):
        """A run directory with a checkpoint of step 20, trained with the sound config."""
        run = tmp_path / "run"
        (run / "checkpoints").mkdir(parents=True)
        (run / "checkpoints" / "ckpt-20.index").touch()
        (run / "metrics.jsonl").write_text('{"step": 20, "losses": {}}\n')
        (run / "pipeline.config").write_text(configs.to_text(intent().message))
        return run

    def _resume(self, intent):
        return next(iter(preflight.check(intent, numbers=(9,)).results))

    def test_with_its_own_config_it_continues(self, intent, begun):
        result = self._resume(intent())
        assert result.status == "pass" and "continues after step 20" in result.seen

    def test_with_another_optimizer(self, intent, begun):
        def edit(message):
            optimizer = message.train_config.optimizer.momentum_optimizer
            optimizer.learning_rate.cosine_decay_learning_rate.learning_rate_base = 0.01

        result = self._resume(intent(edit))
        assert result.status == "fail"
        assert "learning_rate_base was 0.08, is 0.01" in result.seen

    def test_a_config_edited_in_place(self, intent, begun):
        """The config of the launch is kept, so an edit of the file itself is seen too."""
        text = configs.to_text(intent().message)
        (begun / "preflight.json").write_text(json.dumps({"config": text, "results": []}))

        def edit(message):
            message.train_config.batch_size = 4

        edited = intent(edit)
        (begun / "pipeline.config").write_text(configs.to_text(edited.message))
        result = self._resume(edited)
        assert result.status == "fail" and "batch_size was 8, is 4" in result.seen

    def test_more_steps_are_a_longer_run(self, intent, begun):
        assert self._resume(intent(num_steps=60_000)).status == "pass"

    def test_fine_tuning_from_its_own_checkpoint(self, intent, begun):
        made = intent(fine_tune_checkpoint=str(begun / "checkpoints" / "ckpt-20"))
        result = self._resume(made)
        assert result.status == "fail" and "begins at step 0" in result.seen

    def test_a_log_that_ends_before_the_checkpoint(self, intent, begun):
        (begun / "metrics.jsonl").write_text('{"step": 10, "losses": {}}\n')
        result = self._resume(intent())
        assert result.status == "warn" and "ends at step 10" in result.seen

    @pytest.mark.parametrize(
        ("parts", "status", "word"),
        [
            (["model", "optimizer", "random", "step"], "pass", "optimizer are in it"),
            (["model", "step"], "fail", "holds no optimizer"),
        ],
    )
    def test_what_the_checkpoint_holds(self, intent, parts, status, word):
        state = {"damaged": [], "step": 20, "parts": parts}
        (found,) = starting.resumed(LaunchFacts(intent()), {"resume": state}, None)
        assert getattr(found, "status", "pass") == status and word in found.seen


class Test10Gpu:
    def test_a_missing_library_is_named(self, intent, told, monkeypatch, cuda_without):
        monkeypatch.setenv("LD_LIBRARY_PATH", str(cuda_without("libcudnn.so.9")))
        result = told(intent())[10]
        assert result.status == "fail"
        assert "did not find libcudnn.so.9:" in result.seen and "venv-gpu" in result.fix

    def test_fewer_than_were_asked_for(self, intent, told):
        result = told(intent(num_gpus=64))[10]
        assert result.status == "fail" and "64 GPUs were asked for" in result.seen

    def test_without_a_gpu_it_is_said(self, intent, told):
        assert told(intent())[10].status in ("pass", "warn")

    def test_a_trial_that_ran_on_the_cpu_all_the_same(self, intent, monkeypatch):
        monkeypatch.setattr(LaunchFacts, "gpus", ["a GPU"])
        (found,) = machine.ran_on(LaunchFacts(intent()), {"steps": {"gpus": 0}}, None)
        assert found.status == "fail"

    def test_a_model_that_xla_cannot_compile(self, intent):
        asked = intent(jit_compile=True)
        assert not list(machine.executed(LaunchFacts(asked)))
        gpu_8 = configs.template("faster_rcnn_resnet50_v1_800x1333_coco17_gpu-8")
        made = dataclasses.replace(asked, message=gpu_8)
        (found,) = machine.executed(LaunchFacts(made))
        assert found.status == "fail" and "--jit_compile" in found.fix
        assert not list(machine.executed(LaunchFacts(dataclasses.replace(made, jit_compile=False))))


class Test11Libraries:
    def test_keras_3_is_already_there(self, intent, told, monkeypatch):
        stand_in = types.SimpleNamespace(_tf_uses_legacy_keras=False)
        monkeypatch.setitem(sys.modules, "tensorflow", stand_in)
        result = told(intent())[11]
        assert result.status == "fail" and "Keras 3" in result.seen

    def test_a_changed_api(self, intent, told, monkeypatch):
        from replicate.odapi import provenance

        changed = [("object_detection/inputs.py", "changed")]
        monkeypatch.setattr(provenance, "differences", lambda: changed)
        result = told(intent())[11]
        assert result.status == "fail" and "inputs.py changed" in result.seen

    def test_the_slow_protobuf(self, intent, told, monkeypatch):
        monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
        assert told(intent())[11].status == "warn"


class Test12Memory:
    def test_a_shuffle_buffer_beyond_the_memory(self, intent, told, monkeypatch):
        sound = told(intent())[12]
        monkeypatch.setattr(memory, "available_bytes", lambda: 100_000)
        result = told(intent())[12]
        assert "shuffle buffer" not in sound.seen and result.status == "fail"
        assert "shuffle buffer of 2,048 records" in result.seen
        assert "--set train_input_reader.shuffle_buffer_size=" in result.fix

    @pytest.mark.parametrize(
        ("there_gib", "batch", "status", "word"),
        [
            (100, 8, "pass", "3.0 GiB needed"),
            (2, 8, "fail", "3.0 GiB needed, 2.0 there"),
            (4, 32, "warn", "scaled from batch 8"),
        ],
    )
    def test_what_two_steps_took(self, intent, monkeypatch, there_gib, batch, status, word):
        monkeypatch.setattr(memory, "available_bytes", lambda: there_gib * 2**30)
        monkeypatch.setattr(memory, "shuffle_bytes", lambda facts: 0)
        steps = {
            "batch": 8,
            "of_batch": batch,
            "gpus": 0,
            "seconds": 1.0,
            "seconds_to_first_step": 30.0,
            "input_wait": 0.1,
            "built_bytes": 2 * 2**30,
            "peak_bytes": 3 * 2**30,
            "gpu_peak_bytes": 0,
        }
        from replicate.preflight import forecast

        facts = LaunchFacts(intent())
        tried = {"steps": steps, "checkpoint_bytes": 10}
        foreseen = forecast.of(facts, tried)
        (found, *_) = machine.memory_needed(facts, tried, foreseen)
        assert getattr(found, "status", "pass") == status and word in found.seen

    def test_a_trial_that_was_killed(self, intent):
        error = trials._why(-9, "", "two training steps")
        (found,) = machine.memory_needed(LaunchFacts(intent()), {"error": error}, None)
        assert found.status == "fail" and "out of memory" in found.seen

    def test_the_containers_limit_counts(self, monkeypatch, tmp_path):
        for name, text in (("max", "1000\n"), ("current", "700\n"), ("stat", "anon 1\nfile 50\n")):
            (tmp_path / f"memory.{name}").write_text(text)
        monkeypatch.setattr(devices, "_CGROUP", tmp_path)
        assert memory.available_bytes() == 350


class Test15Evaluators:
    def test_an_annotation_without_an_id(self, intent, told, drawn, tmp_path):
        """0 is "unmatched" to pycocotools, and an id to others."""
        document = json.loads(pathlib.Path(drawn["val"][0]).read_text())
        document["annotations"][0]["id"] = 0
        path = tmp_path / "val.json"
        path.write_text(json.dumps(document))
        caught(told, intent(), intent(val_annotations=path), 15, "unmatched")

    def test_figures_that_differ(self, intent, told, monkeypatch):
        sound = told(intent())[15]
        monkeypatch.setattr(scoring, "AGREEMENT", -1.0)
        result = told(intent())[15]
        assert sound.status == "pass" and result.status == "fail"
        assert "disagree" in result.seen

    def test_on_the_trials_detections(self, intent):
        tried = {"evaluation": {"agree": False, "detections": 200}}
        (found,) = evaluators.of_trial(LaunchFacts(intent()), tried, None)
        assert found.status == "fail"


def test_a_rehearsal_turns_differences_into_warnings_and_nothing_else(intent, told):
    made = intent(model=MODEL)
    strict, rehearsed = statuses(told(made)), statuses(told(made, rehearsal=True))
    assert [n for n, status in strict.items() if status == "fail"] == [1, 2, 7, 17]
    assert [rehearsed[n] for n in (1, 2, 7)] == ["warn"] * 3
    assert "fail" not in rehearsed.values()
    broken = intent(model=MODEL, fine_tune_checkpoint="/nowhere/ckpt-1")
    assert told(broken, rehearsal=True)[1].status == "fail"
