"""The trial of a TF-Vision launch: what waits for it, what it counts, what it foresees."""

import dataclasses
import re
import subprocess
import sys

import pytest

from replicate import checkpoint_files, odapi, preflight, replication
from replicate.demo import recipe
from replicate.preflight import machine, starting, trial_process
from replicate.preflight.forecast import Forecast
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.standby import Standby
from replicate.run import RunDir, read_json
from replicate.tfvision import render
from tests.tools.running import checkpoint_tensors, outcome, replicate_command, run_tool

SETTINGS = {"seed": 1, "precision": None}
# The demo's small RetinaNet, smaller.
TINY = recipe.VISION_OVERRIDES | {
    "task.model.input_size": [96, 96, 3],
    "task.model.decoder.fpn.num_filters": 32,
    "task.model.head.num_filters": 32,
    "task.train_data.global_batch_size": 4,
    "task.train_data.shuffle_buffer_size": 10,
    "trainer.optimizer_config.learning_rate.cosine.decay_steps": 4,
    "trainer.optimizer_config.warmup.linear.warmup_steps": 1,
}


@pytest.fixture
def launch(drawn, tmp_path):
    """A function: what would be launched, its config changed at some paths."""

    def make(changed=(), **fields):
        request = replication.ReplicationRequest(
            model=recipe.VISION_MODEL,
            train_annotations=str(drawn["train"][0]),
            train_images=str(drawn["train"][1]),
            val_annotations=str(drawn["val"][0]),
            val_images=str(drawn["val"][1]),
            overrides=tuple((path, str(value)) for path, value in TINY.items()),
            num_steps=4,
            seed=1,
            fine_tune_checkpoint="",
        )
        made = replication.intent(request, tmp_path / "run")
        for path, value in changed:
            render.set_field(made.message.params, path, value)
        return dataclasses.replace(made, rehearsal=True, **fields)

    return make


@pytest.mark.parametrize(
    ("changed", "serves"),
    [
        ([], True),
        (
            [
                ("task.train_data.input_path", "elsewhere"),
                ("task.train_data.shuffle_buffer_size", "7"),
                ("task.annotation_file", "elsewhere"),
                ("task.validation_data.global_batch_size", "2"),
            ],
            True,
        ),
        ([("task.train_data.global_batch_size", "8")], False),
        ([("task.train_data.decoder.type", "label_map_decoder")], False),
        ([("task.model.head.num_convs", "3")], False),
        ([("trainer.optimizer_config.ema.average_decay", "0.9")], False),
        ([("runtime.mixed_precision_dtype", "float32")], False),
    ],
)
def test_a_process_serves_what_has_the_same_step(launch, changed, serves):
    with Standby() as standby:
        process = subprocess.Popen(
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        standby.keep(process, launch().message, SETTINGS)
        assert standby.serves(launch(changed).message, SETTINGS) is serves


def test_what_cannot_be_executed_is_told_before_the_trial(launch, told):
    asked = {"jit_compile": True, "gradient_accumulation_steps": 2, "cache": "decoded"}
    result = told(launch(), **asked)[10]
    assert result.status == "fail"
    for flag in asked:
        assert f"--{flag}: not for a TF-Vision config" in result.seen
        assert f"leave --{flag} out" in result.fix


def test_memory_is_told_in_its_own_fields(launch):
    forecast = Forecast(host_tried_bytes=2e9, host_bytes=2e9, host_available_bytes=1e9)
    (found, *_) = machine.memory_needed(LaunchFacts(launch()), {"steps": {}}, forecast)
    assert found.status == "fail"
    assert found.fix == "a smaller task.train_data.shuffle_buffer_size, or a smaller batch and rate"


def test_what_a_checkpoint_lacks_is_told_in_its_own_names(launch):
    def seen(parts):
        state = {"damaged": [], "step": 4, "parts": parts}
        (found,) = starting.resumed(LaunchFacts(launch()), {"resume": state}, Forecast())
        return found

    whole = seen(["backbone", "global_step", "head", "model", "optimizer"])
    assert isinstance(whole, preflight.result.Note)
    weights = seen(["backbone", "head", "model"])
    assert "holds no global_step and no optimizer" in weights.seen
    assert "training loop of TF-Vision" in weights.fix


def test_a_model_whose_parts_are_saved_by_shorter_names_is_in_the_checkpoint(tmp_path):
    """As of Mask R-CNN: no variable's name begins with "model" where the parts stand beside it."""
    odapi.load()
    import tensorflow as tf

    backbone = tf.Module()
    backbone.kernel = tf.Variable(1.0)
    model = tf.Module()
    model.backbone = backbone
    step = tf.Variable(4, dtype=tf.int64)
    for more, parts in (({"model": model}, {"model"}), ({}, set())):
        checkpoint = tf.train.Checkpoint(backbone=backbone, global_step=step, **more)
        path = checkpoint.write(str(tmp_path / f"ckpt-{len(more)}"))
        names = {name.partition("/")[0] for name, _ in tf.train.list_variables(path)}
        assert "model" not in names
        assert set(trial_process._parts(tf, path)) == {"backbone", "global_step"} | parts


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_trials_process_trains_to_the_same_bits(drawn, tmp_path, launch):
    """A run of the trial's process and one that begins anew; then what a trial says of its end."""
    runs = {name: RunDir.at(tmp_path / name) for name in ("tried", "anew")}
    for name, run in runs.items():
        command = replicate_command(
            drawn, run.root, TINY, model=recipe.VISION_MODEL, num_steps=4, seed=1
        )
        if name == "tried":
            command.remove("--notrial")
        done = run_tool([*command, "--checkpoint_every_n=2"])
        assert done.returncode == 0, done.stderr
    odapi.load()  # before TensorFlow: reason 11 asks this process
    tried, anew = runs.values()
    for name in ("ckpt-2", "ckpt-4"):
        assert checkpoint_tensors(tried, name) == checkpoint_tensors(anew, name)
    assert outcome(tried.root) == outcome(anew.root)
    forecast = read_json(tried.preflight)["forecast"]
    assert forecast["batch"] == forecast["tried_batch"] == 4 and forecast["num_steps"] == 4
    files = checkpoint_files.path_of(tried.checkpoints, 4)
    size = sum(path.stat().st_size for path in tried.checkpoints.glob("ckpt-4.*"))
    assert forecast["checkpoint_bytes"] == pytest.approx(size, rel=0.01)
    assert read_json(anew.preflight)["forecast"] is None

    start = [("task.init_checkpoint", files), ("task.init_checkpoint_modules", "all")]
    told = {
        result.number: result
        for result in preflight.check(launch(start, purpose="finetune")).results
    }
    assert re.search(r"([1-9]\d+) of \1 variables loaded", told[1].seen), told[1]
    assert told[12].status == "pass" and "GiB needed" in told[12].seen
