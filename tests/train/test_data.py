"""The order of the training stream: every record once an epoch, entered anywhere."""

import itertools

import pytest

from replicate import odapi

odapi.load()

import tensorflow as tf

from replicate.errors import UserError
from replicate.train import data

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
    build = data.dataset_build(seed, first_example)
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


def test_fewer_shards_than_workers_is_said(shards, monkeypatch):
    context = tf.distribute.InputContext(4, 0, num_replicas_in_sync=4)
    with pytest.raises(UserError, match="3 training shards for 4 workers.*--num_shards=4"):
        _stream(_reader_config(shards), 1, 0, 1, 4, monkeypatch, context)


def test_records_are_counted_from_their_framing(shards):
    assert data.count_records(sorted(map(str, shards.iterdir()))) == RECORDS


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_shard_cut_off_is_named(shards, cut):
    path = shards / "train-00000-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match=f"{path}.*cut off"):
        data.count_records([str(path)])


def test_no_records_is_said(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no file matches .*create_coco_tf_record"):
        _stream(_reader_config(tmp_path), 1, 0, 1, 1, monkeypatch)
