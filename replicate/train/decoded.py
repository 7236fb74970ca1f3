"""Training images kept as they were decoded: each is decoded once, not once an epoch.

Each image is a file, named for a fingerprint of its encoded bytes, in a folder of a local disk or
of memory (tmpfs), which goes when the training ends; beside them lie the records, in their order,
with this name in the place of the encoded image, so that what need not be decoded is not read
either. The next training decodes again, so that nothing that is kept can be of other records or of
another decoder. The batches are those without the cache, to the bit (tests/train/test_decoded.py).
"""

import collections
import contextlib
import hashlib
import itertools
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tf_slim import tfexample_decoder
from tqdm import tqdm

from replicate import devices
from replicate.errors import UserError
from replicate.evenly import evenly
from replicate.records import counted
from tfrecords import framing
from tfrecords.whole_files import in_temporary_folder

if TYPE_CHECKING:
    from google.protobuf.message import Message

_MEMORY = pathlib.Path("/dev/shm")
_PREFIX = "replicate-decoded-"
_ENCODED, _FORMAT = "image/encoded", "image/format"
# Height, width and channels, int32; the rest is empty, so that pixels begin where TensorFlow can
# take them without a copy.
_HEAD_BYTES = 64
# Images that the room is reckoned from, and of how many shards.
_SAMPLE, _SHARDS = 512, 64
# What may be filled of the room that is free.
_SHARE = 0.9
_GIB = 2**30


@contextlib.contextmanager
def kept(
    paths: list[str],
    input_reader: "Message",
    cache_dir: str = "",
    stopped: Callable[[], object] = lambda: None,
) -> Iterator[str]:
    """A folder with the decoded image of every record, and the rest of it, while the block runs.

    How much room they take is said before the first one is written.

    Args:
      paths: TFRecord files.
      input_reader: InputReader, whose decoder decodes.
      cache_dir: the folder to make it in, made where it is not there; "" takes memory.
      stopped: asked image by image; once it is true, no more are decoded.

    Yields:
      the folder; "" where it was stopped.

    Raises:
      UserError: no room, a folder that cannot be written, an image that cannot be decoded.
    """
    parent = pathlib.Path(cache_dir) if cache_dir else _MEMORY
    with contextlib.ExitStack() as resources:
        with _told(paths, parent):
            if cache_dir:
                parent.mkdir(parents=True, exist_ok=True)
            records, _ = counted(paths)
            _tell_room(paths, input_reader, parent, records)
            folder = resources.enter_context(in_temporary_folder(_PREFIX, parent))
            whole = _fill(folder, paths, input_reader, records, stopped)
        yield str(folder) if whole else ""


@contextlib.contextmanager
def _told(paths: list[str], parent: pathlib.Path) -> Iterator[None]:
    """What can fail while images are kept, as messages."""
    try:
        try:
            yield
        except tf.errors.DataLossError:
            for path in paths:
                collections.deque(framing.read(path), maxlen=0)  # which names the record
            raise
    except framing.CorruptRecord as error:
        raise UserError(f"{error}; convert it again") from None
    except tf.errors.InvalidArgumentError as error:
        raise UserError(f"--cache=decoded: an image cannot be decoded: {error.message}") from None
    except OSError as error:
        raise UserError(f"--cache=decoded: {parent}: {error.strerror}") from None


def _tell_room(
    paths: list[str], input_reader: "Message", parent: pathlib.Path, records: int
) -> None:
    """Says how much room the images of so many records take, or raises UserError: too little."""
    where = f"in {parent}" if parent != _MEMORY else f"in memory ({_MEMORY})"
    if not parent.is_dir():
        raise UserError(
            f"--cache: there is no {_MEMORY} here to keep images in; name a --cache_dir"
        )
    some = evenly(paths, _SHARDS)
    sample = _decoded(some, input_reader, first=-(-_SAMPLE // len(some)))
    sizes = [
        len(_named(record, name)) + framing.FRAME_BYTES + _HEAD_BYTES + image.nbytes
        for _, record, name, image in sample.as_numpy_iterator()
    ]
    needed = records * sum(sizes) / max(len(sizes), 1)
    free = shutil.disk_usage(parent).free
    if parent == _MEMORY:
        free = min(free, devices.available_bytes())
    about = "" if len(sizes) == records else "about "
    said = f"--cache=decoded: {records} images take {about}{needed / _GIB:.2f} GiB {where}"
    if needed > _SHARE * free:
        other = "a --cache_dir" if parent == _MEMORY else "another --cache_dir"
        raise UserError(
            f"{said}, where {free / _GIB:.2f} GiB are free; name {other}, or leave it out"
        )
    print(f"{said} ({free / _GIB:.1f} GiB are free)", file=sys.stderr)


def _fill(
    folder: pathlib.Path,
    paths: list[str],
    input_reader: "Message",
    records: int,
    stopped: Callable[[], object],
) -> bool:
    """Writes each image once, and each record without it; whether it came to the end."""
    for path in paths:
        record_path(str(folder), path).touch()  # a shard may hold none
    elements = _decoded(paths, input_reader).as_numpy_iterator()
    images = tqdm(elements, "decode training images", records, unit="image")
    for shard, of_shard in itertools.groupby(images, key=lambda element: element[0]):
        with open(record_path(str(folder), shard.decode()), "wb") as named:
            writer = framing.Writer(named)
            for _, record, name, image in of_shard:
                if stopped():
                    return False
                head = np.zeros(_HEAD_BYTES // 4, np.int32)
                head[: image.ndim] = image.shape
                with open(folder / name.decode(), "wb") as file:
                    file.write(head.tobytes())
                    file.write(image.data)
                writer.write(_named(record, name))
    return True


def record_path(folder: str, path: str) -> pathlib.Path:
    """Where the records of the shard `path` lie, without their images, in a folder of `kept`."""
    return pathlib.Path(folder) / (hashlib.sha256(path.encode()).hexdigest() + ".tfrecord")


def _named(record: bytes, name: bytes) -> bytes:
    """A serialized tf.Example that has its image's name in the place of the encoded image."""
    example = tf.train.Example.FromString(record)
    example.features.feature[_ENCODED].bytes_list.value[0] = name
    return example.SerializeToString()


def _decoded(
    paths: list[str], input_reader: "Message", first: int | None = None
) -> tf.data.Dataset:
    """(shard, record, name, image uint8 [h, w, 3] as the API decodes it) of each, in their order.

    Args:
      first: how many of each shard; None takes all.
    """
    from object_detection.builders import decoder_builder
    from object_detection.core import standard_fields

    decoder = decoder_builder.build(input_reader)
    if not hasattr(decoder, "items_to_handlers"):
        raise UserError("--cache: for records of tf.Example, not for those of SequenceExample")
    handler = decoder.items_to_handlers[standard_fields.InputDataFields.image]
    fields = {
        _ENCODED: tf.io.FixedLenFeature([], tf.string, ""),
        _FORMAT: tf.io.FixedLenFeature([], tf.string, "jpeg"),
    }

    def records_of(path: tf.Tensor) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(path, buffer_size=8_000_000)
        return records.take(-1 if first is None else first).map(lambda record: (path, record))

    def with_image(path: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        tensors = tf.io.parse_single_example(record, fields)
        return path, record, _name(tensors[_ENCODED]), handler.tensors_to_item(tensors)

    return (
        tf.data.Dataset.from_tensor_slices(paths)
        .flat_map(records_of)
        .map(
            tf.autograph.experimental.do_not_convert(with_image),
            num_parallel_calls=os.cpu_count() or 1,
        )
    )


def _name(encoded: tf.Tensor) -> tf.Tensor:
    """The name of an image's file: 63 bits of a fingerprint of its bytes, and their number.

    Two of COCO's 118,287 images have one name with a probability of less than 1e-9.
    """
    fingerprint = tf.strings.to_hash_bucket_fast(encoded, 2**63 - 1)
    numbers = tf.stack([fingerprint, tf.cast(tf.strings.length(encoded), tf.int64)])
    return tf.strings.reduce_join(tf.strings.as_string(numbers), separator="-")


def read_by(decoder: Any, folder: str) -> None:
    """Makes the API's decoder read the images that a folder of `kept` has of its records."""
    from object_detection.core import standard_fields

    class Kept(tfexample_decoder.ItemHandler):
        """The image that a record names."""

        def __init__(self) -> None:
            super().__init__([_ENCODED])

        def tensors_to_item(self, keys_to_tensors: dict) -> tf.Tensor:
            """The image, uint8 [h, w, 3]."""
            path = tf.strings.join([folder, "/", keys_to_tensors[_ENCODED]])
            content = tf.io.decode_raw(tf.io.read_file(path), tf.uint8)
            shape = tf.bitcast(tf.reshape(content[:12], [3, 4]), tf.int32)
            image = tf.reshape(content[_HEAD_BYTES:], shape)
            image.set_shape([None, None, 3])
            return image

    decoder.items_to_handlers[standard_fields.InputDataFields.image] = Kept()
