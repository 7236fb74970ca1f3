"""Images that were decoded once give the batches of images that are decoded each time."""

import dataclasses
import io
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from replicate import odapi
from replicate.errors import Unavailable, UserError

odapi.load()

import tensorflow as tf

from replicate.execution import Execution
from replicate.train import decoded, input_stream, loop
from replicate.train.trainer import Trainer
from tests.train import drawn_input

_RECIPES = (
    "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
    "faster_rcnn_resnet50_v1_640x640_coco17_tpu-8",
    "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8",
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return drawn_input.records(tmp_path_factory.mktemp("records"), shards=2)


def _config(recipe, records):
    return drawn_input.config(recipe, records, batch_size=2)


def _batches(message, model, images="", first_example=0, count=10):
    """Two epochs and a half."""
    return drawn_input.batches(message, model, count, first_example, images)


def _paths(message):
    return input_stream.paths_of(message.train_input_reader)


def _kept(folder):
    """The files of images."""
    return [path for path in pathlib.Path(folder).iterdir() if path.suffix != ".tfrecord"]


@pytest.mark.parametrize(
    "recipe",
    [*_RECIPES[:1], *(pytest.param(each, marks=pytest.mark.slow) for each in _RECIPES[1:])],
)
def test_batches_have_the_same_bits(recipe, records, tmp_path, capsys):
    message = _config(recipe, records)
    model = odapi.build_model(message.model, is_training=True)
    theirs = _batches(message, model)
    later = _batches(message, model, first_example=6, count=7)
    with decoded.kept(_paths(message), message.train_input_reader, str(tmp_path)) as images:
        files = {path.name: path.stat().st_size for path in pathlib.Path(images).iterdir()}
        ours = _batches(message, model, images)
        resumed = _batches(message, model, images, first_example=6, count=7)
        assert len(_kept(images)) == 8
    assert len(files) == 8 + 2 and list(tmp_path.iterdir()) == []
    in_mib = sum(files.values()) / 2**20
    assert f"8 images take {in_mib:.1f} MiB in {tmp_path}" in capsys.readouterr().err
    for mine, other in zip([*ours, *resumed], [*theirs, *later], strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)
    assert any(not np.array_equal(ours[0], other) for other in ours[1:])


def test_nothing_is_decoded_again(records, tmp_path):
    message = _config(_RECIPES[0], records)
    model = odapi.build_model(message.model, is_training=True)
    with decoded.kept(_paths(message), message.train_input_reader, str(tmp_path)) as images:
        for path in _kept(images):
            content = np.fromfile(path, np.uint8)
            content[64:] = 0
            content.tofile(path)
        pixels = _batches(message, model, images, count=1)
    by_name = {array.shape: array for array in pixels}
    (image,) = (array for shape, array in by_name.items() if shape[1:] == (320, 320, 3))
    assert (image == -1).all()  # black, as this model normalizes it


def test_it_is_in_memory_where_no_folder_is_named(records):
    message = _config(_RECIPES[0], records)
    with decoded.kept(_paths(message), message.train_input_reader) as images:
        assert images.startswith("/dev/shm/") and len(_kept(images)) == 8
    assert not pathlib.Path(images).exists()


def test_no_room_is_told_before_anything_is_written(records, tmp_path, monkeypatch):
    message = _config(_RECIPES[0], records)
    monkeypatch.setattr(
        decoded.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})
    )
    with (
        pytest.raises(
            UserError,
            match=r"8 images take \d+\.\d MiB in .*, where 1\.0 MiB .*name another --cache_dir",
        ),
        decoded.kept(_paths(message), message.train_input_reader, str(tmp_path)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_stopped_meanwhile_goes_on_without(records, tmp_path):
    message = _config(_RECIPES[0], records)
    asked = iter([None, None, 15])
    reader = message.train_input_reader
    with decoded.kept(_paths(message), reader, str(tmp_path), lambda: next(asked)) as images:
        assert images == ""


def _animation():
    stream = io.BytesIO()
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"no image", "Unknown image file format"),
        (b"", ""),
        (b"\xff\xd8\xff\xe0 cut", "Invalid JPEG data"),
        (_animation(), ""),
    ],
    ids=["no image", "nothing", "cut", "animation"],
)
def test_an_image_that_is_none_is_told(encoded, reason, records, tmp_path):
    """After five good ones of the same shard, so that its number and id are looked up."""
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    good = [*_all_records(records)][:5]
    example = tf.train.Example.FromString(good[0])
    example.features.feature["image/encoded"].bytes_list.value[:] = [encoded]
    example.features.feature["image/source_id"].bytes_list.value[:] = [b"4711"]
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in [*good, example.SerializeToString(), *good]:
            writer.write(record)
    message = _config(_RECIPES[0], (str(shard), records[1]))
    told = f"--cache=decoded: {re.escape(str(shard))}: record 5, image id 4711, file .*: the image"
    with (
        pytest.raises(UserError, match=f"{told} cannot be decoded: .*{reason}.*; mend") as failed,
        decoded.kept(_paths(message), message.train_input_reader, str(tmp_path / "kept")),
    ):
        pass
    assert "{{" not in str(failed.value) and "Op:" not in str(failed.value)


def _all_records(records):
    for path in sorted(tf.io.gfile.glob(records[0])):
        yield from (record.numpy() for record in tf.data.TFRecordDataset(path))


def test_a_shard_named_twice_is_read_twice(records, tmp_path):
    """As oversampling does it; and beside an empty shard."""
    first, second = sorted(tf.io.gfile.glob(records[0]))
    empty = tmp_path / "empty.tfrecord"
    empty.touch()
    message = _config(_RECIPES[0], (first, records[1]))
    message.train_input_reader.tf_record_input_reader.input_path[:] = [
        *(first, second, first, str(empty), records[0])
    ]
    model = odapi.build_model(message.model, is_training=True)
    theirs = _batches(message, model, count=12)
    with decoded.kept(_paths(message), message.train_input_reader, str(tmp_path)) as images:
        ours = _batches(message, model, images, count=12)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_files_that_go_while_they_are_read_are_told(records, tmp_path):
    message = _config(_RECIPES[0], records)
    model = odapi.build_model(message.model, is_training=True)
    with (
        pytest.raises(Unavailable, match="files in .* were removed .* goes on from the last"),
        decoded.kept(_paths(message), message.train_input_reader, str(tmp_path)) as images,
    ):
        for path in _kept(images):
            path.unlink()
        _batches(message, model, images, count=1)


def test_a_shard_that_is_gone_is_named_and_not_the_cache(records, tmp_path):
    message = _config(_RECIPES[0], records)
    gone = str(tmp_path / "gone.tfrecord")
    with (
        pytest.raises(UserError, match=f"--cache=decoded: {gone}: No such file"),
        decoded.kept([*_paths(message), gone], message.train_input_reader, str(tmp_path)),
    ):
        pass


def test_a_worker_without_a_shard_is_told(even_config):
    trainer = Trainer(even_config, Execution(seed=1))
    shards = len(_paths(even_config))
    with (
        pytest.raises(UserError, match=f"{shards} training shards for {shards + 1} workers"),
        trainer.keep_decoded("", shards, shards + 1, lambda: None),
    ):
        pass


def test_processes_elsewhere_cannot_read_it(even_config):
    trainer = Trainer(even_config, Execution(seed=1, input_service="host:7000"))
    with (
        pytest.raises(UserError, match="--cache keeps images on this machine"),
        trainer.keep_decoded("", 0, 1, lambda: None),
    ):
        pass


@pytest.mark.slow
def test_a_run_has_the_losses_of_one_without(even_config, tmp_path):
    settings = loop.TrainingSettings(seed=3, num_steps=6, log_every_n=2)
    cached = dataclasses.replace(settings, cache="decoded", cache_dir=str(tmp_path / "kept"))
    loop.train(even_config, tmp_path / "a", settings)
    loop.train(even_config, tmp_path / "b", dataclasses.replace(cached, num_steps=4))
    loop.train(even_config, tmp_path / "b", cached)
    lines = [[line["losses"] for line in loop_metrics(tmp_path / name)] for name in ("a", "b")]
    assert len(lines[0]) == 3 and lines[0] == lines[1]
    assert list((tmp_path / "kept").iterdir()) == []


def loop_metrics(folder):
    from replicate.run import RunDir, read_metrics

    return read_metrics(RunDir.at(folder).metrics)
