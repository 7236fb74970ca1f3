"""A run from start to end in a folder: what it writes, and how it stops when something is wrong."""

import contextlib
import shutil
import subprocess
import time

import numpy as np
import pytest

from replicate import checkpoint_files, odapi

odapi.load()

import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from replicate.errors import UserError
from replicate.run import RunDir, read_json, read_metrics
from replicate.train import checkpoints, journal, loop
from replicate.train.profile import Profile


@pytest.fixture
def config(even_config):
    copy = type(even_config)()
    copy.CopyFrom(even_config)
    return copy


def _tags(run):
    events = event_accumulator.EventAccumulator(str(run.events))
    events.Reload()
    return set(events.Tags()["tensors"])


def test_a_run_says_what_it_does(config, tmp_path):
    run = RunDir.at(tmp_path)
    loop.train(
        config, tmp_path, loop.TrainingSettings(num_steps=5, checkpoint_every_n=2, log_every_n=2)
    )
    assert checkpoint_files.steps_of(run.checkpoints) == [2, 4, 5]
    lines = read_metrics(run.metrics)
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert lines[0]["seconds_to_first_step"] > 0
    assert "seconds_to_first_step" not in lines[1]
    state = read_json(run.training)
    assert (state["state"], state["step"], state["num_steps"]) == ("done", 5, 5)
    assert time.time() - state["updated"] < 60
    assert state["execution"]["precision"] == "float32"
    assert state["execution"]["tf32"] is False, "a CPU has none"
    # The tags that model_lib_v2.train_loop writes.
    expected = {f"Loss/{name}" for name in ("localization_loss", "classification_loss")}
    expected |= {"Loss/regularization_loss", "Loss/total_loss", "learning_rate", "steps_per_sec"}
    assert expected <= _tags(run)


def test_a_profile_of_some_steps_says_where_their_time_goes(config, tmp_path):
    run = RunDir.at(tmp_path)
    settings = loop.TrainingSettings(num_steps=7, log_every_n=2, profile=3)
    loop.train(config, tmp_path, settings)
    assert list(run.events.glob("plugins/profile/*/*.xplane.pb"))
    profile = read_json(tmp_path / "profile.json")
    assert (profile["first_step"], profile["steps"]) == (3, 3)
    by_type = {each["operation"]: each for each in profile["operations"]}
    # A convolutional network's step is spent in convolutions and their gradients most of all.
    assert "conv" in profile["operations"][0]["operation"].lower()
    assert 0 < by_type[profile["operations"][0]["operation"]]["share"] < 1
    assert [line["step"] for line in read_metrics(run.metrics)] == [2, 4, 5, 6, 7]


def test_a_profile_that_training_ends_before_is_closed(tmp_path):
    with contextlib.closing(Profile(RunDir.at(tmp_path), 30)) as profile:
        profile.after(2)
        assert profile.end == 32
        profile.after(4)
    assert profile.end is None and not (tmp_path / "profile.json").exists()
    tf.profiler.experimental.start(str(tmp_path / "another"))  # refused where one still runs
    tf.profiler.experimental.stop()


def test_the_use_of_gpus_is_logged(monkeypatch):
    """Two GPUs as NVML tells of them, one of which does not tell its power."""
    first = {"memory_used_gib": 10.0, "utilization_percent": 90, "power_watts": 300.0}
    second = {"memory_used_gib": 6.0, "utilization_percent": 50, "power_watts": None}
    use = [first | {"temperature_celsius": 60}, second | {"temperature_celsius": 71}]
    monkeypatch.setattr("replicate.devices.gpu_use", lambda: use)
    assert journal._device_use() == {
        "memory_gib": 16.0,
        "utilization_percent": 70.0,
        "power_watts": 300.0,
        "temperature_celsius": 71,
    }
    monkeypatch.setattr("replicate.devices.gpu_use", lambda: [])
    assert journal._device_use() == {}


def test_images_are_written_as_often_as_the_api_writes_them(config, tmp_path, monkeypatch):
    monkeypatch.setattr("replicate.train.journal.IMAGES_EVERY_N", 3)
    loop.train(config, tmp_path, loop.TrainingSettings(num_steps=4, log_every_n=2))
    events = event_accumulator.EventAccumulator(str(RunDir.at(tmp_path).events))
    events.Reload()
    (written,) = events.Tensors("train_input_images")
    assert written.step == 4  # the first logged step after the third
    width, height, *pictures = tf.make_ndarray(written.tensor_proto)
    assert (int(width), int(height), len(pictures)) == (64, 64, 3)
    picture = tf.io.decode_png(pictures[0]).numpy()
    assert picture.min() == 0 and picture.max() == 255


@pytest.mark.parametrize("log_every_n", [1, 10])
def test_a_loss_that_is_no_number_is_named_with_its_step_and_images(
    config, tmp_path, capsys, log_every_n
):
    """The step is the first bad one, however rarely the log is written."""
    rate = config.train_config.optimizer.momentum_optimizer.learning_rate
    rate.Clear()
    rate.constant_learning_rate.learning_rate = 1e20
    settings = loop.TrainingSettings(num_steps=6, log_every_n=log_every_n, checkpoint_every_n=1)
    if log_every_n == 10:
        settings = loop.TrainingSettings(num_steps=6, log_every_n=10, checkpoint_every_n=100)
    with pytest.raises(UserError) as told:
        loop.train(config, tmp_path, settings)
    message = str(told.value)
    assert "non-finite loss at step 2: " in message  # one update with 1e20 is enough
    assert "learning rate 1e+20" in message and "scale it down" in message
    # Without shuffling the second batch is the second four images of eight.
    named = message.split("image ids ")[1].split(")")[0].split(", ")
    assert len(set(named)) == 4 and set(named) < {str(number) for number in range(1, 9)}
    run = RunDir.at(tmp_path)
    assert read_json(run.training)["state"] == "failed"
    if log_every_n == 1:
        assert "Last good checkpoint: that of step 1" in message
        assert checkpoint_files.steps_of(run.checkpoints) == [1]
    else:
        assert "Last good checkpoint: none yet" in message


def test_an_end_reached_is_not_trained_again(config, tmp_path):
    settings = loop.TrainingSettings(num_steps=2)
    first = loop.train(config, tmp_path, settings)
    before = (tmp_path / "metrics.jsonl").stat().st_mtime_ns
    assert loop.train(config, tmp_path, settings) == first
    assert (tmp_path / "metrics.jsonl").stat().st_mtime_ns == before


def test_a_checkpoint_of_another_model_is_not_resumed_from(config, tmp_path):
    loop.train(config, tmp_path, loop.TrainingSettings(num_steps=1))
    config.model.ssd.num_classes = 7
    with pytest.raises(UserError, match="config: model.ssd.num_classes was 3, is 7.*another run"):
        loop.train(config, tmp_path, loop.TrainingSettings(num_steps=2))
    RunDir.at(tmp_path).identity.unlink()  # as in a run from before it was kept
    with pytest.raises(UserError, match="cannot be resumed from.*another run directory"):
        loop.train(config, tmp_path, loop.TrainingSettings(num_steps=2))


def test_more_is_done_than_is_asked_for(config, tmp_path):
    loop.train(config, tmp_path, loop.TrainingSettings(num_steps=2))
    with pytest.raises(UserError, match="has trained 2 steps, more than the 1"):
        loop.train(config, tmp_path, loop.TrainingSettings(num_steps=1))


def test_a_damaged_checkpoint_is_set_aside_and_its_step_ends_the_same(config, tmp_path, capsys):
    """Cut in half, and with a byte flipped: every value is that of a run without damage."""
    settings = loop.TrainingSettings(num_steps=4, checkpoint_every_n=2)
    folder = RunDir.at(tmp_path).checkpoints
    loop.train(config, tmp_path, settings)
    data = folder / "ckpt-4.data-00000-of-00001"
    content, names = data.read_bytes(), {path.name for path in folder.glob("ckpt-*")}
    whole = _values(folder / "ckpt-4")
    assert whole["save_counter/.ATTRIBUTES/VARIABLE_VALUE"] == 2
    (folder / "ckpt-6_temp").mkdir()
    (folder / "ckpt-6.data-00000-of-00001").write_bytes(b"half")
    for damaged in (content[: len(content) // 2], _flipped(content)):
        data.write_bytes(damaged)
        start = RunDir.at(tmp_path).start
        began_with = start.read_bytes()
        start.unlink()  # lost as well: made again
        assert loop.train(config, tmp_path, settings) == str(folder / "ckpt-4")
        assert "ckpt-4 is damaged" in capsys.readouterr().err
        assert start.read_bytes() == began_with
        assert {path.name for path in folder.glob("ckpt-*")} == names
        now = _values(folder / "ckpt-4")
        assert now.keys() == whole.keys()
        assert all(np.array_equal(now[name], value) for name, value in whole.items())
        assert (folder / f"damaged-{data.name}").read_bytes() == damaged


def _values(path):
    reader = tf.train.load_checkpoint(str(path))
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {name: reader.get_tensor(name) for name in names}


def test_a_damaged_shard_of_the_right_size_is_named(config, even_records, tmp_path):
    shard = tmp_path / "train-00001-of-00002.tfrecord"
    for path in even_records.glob("train-*"):
        shutil.copy(path, tmp_path)
    content = shard.read_bytes()
    shard.write_bytes(content[:200] + bytes([content[200] ^ 4]) + content[201:])  # in a record
    config.train_input_reader.tf_record_input_reader.input_path[:] = [
        f"{tmp_path}/train-*.tfrecord"
    ]
    settings = loop.TrainingSettings(num_steps=4)
    with pytest.raises(UserError, match=f"step [01]: {shard}: record . is damaged") as raised:
        loop.train(config, tmp_path / "run", settings)
    assert "\n" not in str(raised.value) and "convert again" in str(raised.value)


def _flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def test_a_full_disk_stops_with_a_message_and_a_good_checkpoint(config, tmp_path):
    """On a file system of 40 MiB, which holds some checkpoints of this model and not all."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode()}")
    try:
        settings = loop.TrainingSettings(
            num_steps=40, checkpoint_every_n=1, checkpoint_max_to_keep=40
        )
        with pytest.raises(UserError, match="(?s)No space left.*free some space"):
            loop.train(config, tmp_path, settings)
        good = checkpoints.latest_good(RunDir.at(tmp_path).checkpoints)
        assert checkpoint_files.step_of(good) >= 1
        assert np.isfinite(tf.train.load_variable(good, "step/.ATTRIBUTES/VARIABLE_VALUE"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
