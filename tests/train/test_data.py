"""The order of the training stream: every record once an epoch, entered anywhere."""

import itertools
import json
import re

import numpy as np
import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf

import tfrecords
from replicate.demo import drawing
from replicate.errors import UserError
from replicate.train import distribution, input_stream
from tfrecords import checked_json

RECORDS = 23


@pytest.fixture
def shards(tmp_path):
    """Three shards with 23 records, each its own number."""
    numbers = iter(range(RECORDS))
    for shard, count in enumerate((9, 8, 6)):
        with tf.io.TFRecordWriter(str(tmp_path / f"train-{shard:05d}-of-00003.tfrecord")) as writer:
            for number in itertools.islice(numbers, count):
                writer.write(str(number).encode())
    return tmp_path


def _reader_config(folder, **fields):
    config = odapi.protos.load("input_reader").InputReader(
        num_readers=2, shuffle_buffer_size=5, **fields
    )
    config.tf_record_input_reader.input_path.append(f"{folder}/train-*")
    return config


def _stream(config, seed, first_example, count, batch_size=1, monkeypatch=None, context=None):
    """Numbers of `count` batches of the stream, read through the room's dataset_build."""
    from object_detection.builders import decoder_builder

    class Decoder:
        def decode(self, record):
            return record

    monkeypatch.setattr(decoder_builder, "build", lambda config: Decoder())
    build = input_stream.dataset_build(seed, first_example)
    dataset = build(config, batch_size, lambda record: record, context)
    return [[int(x) for x in batch] for batch in dataset.take(count).as_numpy_iterator()]


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_epoch_holds_every_record_once(shards, monkeypatch, shuffle):
    stream = _stream(_reader_config(shards, shuffle=shuffle), 1, 0, 3 * RECORDS, 1, monkeypatch)
    epochs = [sum(stream[i * RECORDS : (i + 1) * RECORDS], []) for i in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(RECORDS))
    assert (epochs[0] != epochs[1]) == shuffle


@pytest.mark.parametrize("first", [1, 7, RECORDS, RECORDS + 4, 2 * RECORDS + 11])
def test_entered_anywhere_it_goes_on_as_if_never_left(shards, monkeypatch, first):
    config = _reader_config(shards)
    whole = _stream(config, 1, 0, 3 * RECORDS, 1, monkeypatch)
    assert _stream(config, 1, first, 3 * RECORDS - first, 1, monkeypatch) == whole[first:]


def test_another_seed_is_another_order(shards, monkeypatch):
    config = _reader_config(shards)
    assert _stream(config, 1, 0, RECORDS, 1, monkeypatch) != _stream(
        config, 2, 0, RECORDS, 1, monkeypatch
    )


def test_workers_share_the_shards_without_overlap(shards, monkeypatch):
    seen = []
    for worker in range(2):
        context = tf.distribute.InputContext(2, worker, num_replicas_in_sync=2)
        count = {0: 15, 1: 8}[worker]  # shards 0 and 2, shard 1
        batches = _stream(
            _reader_config(shards),
            1,
            0,
            count,
            batch_size=2,
            monkeypatch=monkeypatch,
            context=context,
        )
        assert all(len(batch) == 1 for batch in batches), "a global batch of 2 over 2 replicas"
        seen += sum(batches, [])
    assert sorted(seen) == list(range(RECORDS))


def test_batches_that_wait_on_the_device_are_the_same_in_the_same_order():
    batches = (
        tf.data.Dataset.range(20).map(lambda n: {"n": n, "image": tf.fill([3, 3], n)}).batch(4)
    )
    copied = distribution.copied_to(batches, "/CPU:0")
    assert copied.element_spec == batches.element_spec
    for ours, theirs in zip(copied, batches, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)


def test_without_a_gpu_nothing_is_copied():
    batches = tf.data.Dataset.range(4).batch(2)
    assert distribution.ahead_of(batches) is batches


def test_fewer_shards_than_workers_is_said(shards, monkeypatch):
    context = tf.distribute.InputContext(4, 0, num_replicas_in_sync=4)
    with pytest.raises(UserError, match="3 training shards for 4 workers.*--num_shards=4"):
        _stream(_reader_config(shards), 1, 0, 1, 4, monkeypatch, context)


def test_records_are_counted_from_their_framing(shards):
    assert input_stream.count_records(sorted(map(str, shards.iterdir()))) == RECORDS


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_shard_cut_off_is_named(shards, cut):
    path = shards / "train-00000-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match=f"{path}.*cut off"):
        input_stream.count_records([str(path)])


def test_a_shard_with_fewer_records_than_its_manifest_counts_is_named(drawn_shards):
    """Before the first step, whatever the manifest's other figures say."""
    shards, path = (
        sorted(drawn_shards.glob("train-*.tfrecord")),
        drawn_shards / "manifest-train.json",
    )
    paths = [str(shard) for shard in shards]
    assert input_stream.count_records(paths) == 5
    manifest = checked_json.unsealed(json.loads(path.read_text()))
    manifest["shards"][1]["records"] += 1
    path.write_text(json.dumps(checked_json.sealed(manifest)))
    there = manifest["shards"][1]["records"] - 1
    expected = f"{shards[1]}: {there} records, but its manifest counts {there + 1};"
    with pytest.raises(UserError, match=re.escape(expected)):
        input_stream.count_records(paths)


@pytest.fixture
def drawn_shards(tmp_path):
    """A folder with two shards of five drawn images, and their manifest."""
    drawn = drawing.draw(tmp_path / "drawn", train_images=5, val_images=1)["train"]
    tfrecords.convert(*map(str, drawn), str(tmp_path / "train"), 2, progress=False)
    return tmp_path


def test_no_records_is_said(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no file matches .*create_coco_tf_record"):
        _stream(_reader_config(tmp_path), 1, 0, 1, 1, monkeypatch)


# The API's augmentation steps that work with their default settings on records of boxes.
_STEPS = [
    "random_horizontal_flip",
    "random_vertical_flip",
    "random_rotation90",
    "random_pixel_value_scale",
    "random_image_scale",
    "random_rgb_to_gray",
    "rgb_to_gray",
    "random_adjust_brightness",
    "random_adjust_contrast",
    "random_adjust_hue",
    "random_adjust_saturation",
    "random_distort_color",
    "adjust_gamma",
    "random_jitter_boxes",
    "random_crop_image",
    "random_pad_image",
    "random_crop_pad_image",
    "random_crop_to_aspect_ratio",
    "random_black_patches",
    "ssd_random_crop",
    "ssd_random_crop_fixed_aspect_ratio",
    "ssd_random_crop_pad_fixed_aspect_ratio",
    "random_absolute_pad_image",
    "random_self_concat_image",
    "drop_label_probabilistically",
    "remap_labels",
    "random_jpeg_quality",
    "random_downscale_to_target_pixels",
    "random_patch_gaussian",
    "random_square_crop_by_scale",
    "random_scale_crop_and_pad_to_square",
]
_QUICK = ("ssd_random_crop", "random_square_crop_by_scale")


@pytest.mark.parametrize(
    "step",
    [step if step in _QUICK else pytest.param(step, marks=pytest.mark.slow) for step in _STEPS],
)
def test_without_autograph_the_examples_are_the_same(even_config, monkeypatch, step):
    config = type(even_config)()
    config.CopyFrom(even_config)
    del config.train_config.data_augmentation_options[:]
    getattr(config.train_config.data_augmentation_options.add(), step).SetInParent()
    model = odapi.build_model(config.model, is_training=True)

    def batches():
        dataset = input_stream.train_dataset(config, model, seed=3, first_example=0)
        return [array for batch in dataset.take(2) for array in tf.nest.flatten(batch)]

    plain = batches()
    monkeypatch.setattr(tf.autograph.experimental, "do_not_convert", lambda function: function)
    for ours, converted in zip(plain, batches(), strict=True):
        np.testing.assert_array_equal(ours, converted)


def test_a_step_that_needs_autograph_gets_it_and_a_mistake_is_told():
    def brightened(number):
        if number > 1:
            return number * 10
        return number

    found = input_stream.mapped(tf.data.Dataset.range(4), brightened)
    assert list(found.as_numpy_iterator()) == [0, 1, 20, 30]
    with pytest.raises(TypeError, match="NoneType"):
        input_stream.mapped(tf.data.Dataset.range(4), lambda number: number + len(None))
