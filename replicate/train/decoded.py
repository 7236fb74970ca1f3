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
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tf_slim import tfexample_decoder
from tqdm import tqdm

from replicate import devices
from replicate.errors import Unavailable, UserError
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
      paths: TFRecord files; one that is named twice is kept once.
      input_reader: InputReader, whose decoder decodes.
      cache_dir: the folder to make it in, made where it is not there; "" takes memory.
      stopped: asked image by image; once it is true, no more are decoded.

    Yields:
      the folder; "" where it was stopped.

    Raises:
      UserError: no room, a folder that cannot be written, an image that cannot be decoded.
      Unavailable: files of the folder were removed while they were read.
    """
    parent = pathlib.Path(cache_dir) if cache_dir else _MEMORY
    paths = list(dict.fromkeys(paths))
    with contextlib.ExitStack() as resources:
        with _told(paths, parent):
            if cache_dir:
                parent.mkdir(parents=True, exist_ok=True)
            records, _ = counted(paths)
            _tell_room(paths, input_reader, parent, records)
            folder = resources.enter_context(in_temporary_folder(_PREFIX, parent))
            whole = _fill(folder, paths, input_reader, records, stopped)
        try:
            yield str(folder) if whole else ""
        except tf.errors.NotFoundError as error:
            if str(folder) not in error.message:
                raise
            raise Unavailable(
                f"--cache=decoded: files in {folder} were removed while the training read them; "
                "the same command goes on from the last checkpoint"
            ) from None


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
    except tf.errors.NotFoundError as error:
        raise UserError(f"--cache=decoded: {_reason(error)}") from None
    except OSError as error:
        told = error.filename if error.filename in paths else parent
        raise UserError(f"--cache=decoded: {told}: {error.strerror}") from None


def _reason(error: tf.errors.OpError) -> str:
    """TensorFlow's message without the names of its functions and operations."""
    return re.sub(r"\{\{.*?\}\}\s*|\s*\[Op:.*", "", error.message).split("\n")[0]


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
    first = -(-_SAMPLE // max(len(some), 1))
    sizes = [
        len(_named(record, name)) + framing.FRAME_BYTES + _HEAD_BYTES + image.nbytes
        for _, record, name, image in _decoded(some, input_reader, first)
    ]
    needed = records * sum(sizes) / max(len(sizes), 1)
    free = shutil.disk_usage(parent).free
    if parent == _MEMORY:
        free = min(free, devices.available_bytes())
    about = "" if len(sizes) == records else "about "
    said = f"--cache=decoded: {records} images take {about}{_size(needed)} {where}"
    if needed > _SHARE * free:
        other = "a --cache_dir" if parent == _MEMORY else "another --cache_dir"
        raise UserError(f"{said}, where {_size(free)} are free; name {other}, or leave it out")
    print(f"{said} ({_size(free)} are free)", file=sys.stderr)


def _size(count: float) -> str:
    """So many bytes, to be read."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


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
    elements = _decoded(paths, input_reader)
    images = tqdm(elements, "decode training images", records, unit="image")
    for shard, of_shard in itertools.groupby(images, key=lambda element: element[0]):
        with open(record_path(str(folder), shard), "wb") as named:
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
) -> Iterator[tuple[str, bytes, bytes, np.ndarray]]:
    """(shard, record, name, image uint8 [h, w, 3] as the API decodes it) of each, in their order.

    Args:
      first: how many of each shard; None takes all.

    Raises:
      UserError: one that cannot be decoded.
    """
    image_of = _image_of(input_reader)

    def records_of(path: tf.Tensor) -> tf.data.Dataset:
        records = tf.data.TFRecordDataset(path, buffer_size=8_000_000)
        return records.take(-1 if first is None else first).map(lambda record: (path, record))

    elements = (
        tf.data.Dataset.from_tensor_slices(tf.constant(paths, tf.string))
        .flat_map(records_of)
        .map(
            tf.autograph.experimental.do_not_convert(
                lambda path, record: (path, record, *image_of(record))
            ),
            num_parallel_calls=os.cpu_count() or 1,
        )
    )
    done = 0
    try:
        for path, record, name, image in elements.as_numpy_iterator():
            yield path.decode(), record, name, image
            done += 1
    except tf.errors.InvalidArgumentError as error:
        numbered = (
            (path, number, record)
            for path in paths
            for number, record in enumerate(itertools.islice(framing.read(path), first))
        )
        raise _undecodable(itertools.islice(numbered, done, None), image_of, error) from None


def _image_of(
    input_reader: "Message",
) -> Callable[[tf.Tensor | bytes], tuple[tf.Tensor, tf.Tensor]]:
    """What gives of a serialized record its image's name, and the image as the API decodes it."""
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

    def image_of(record: tf.Tensor | bytes) -> tuple[tf.Tensor, tf.Tensor]:
        tensors = tf.io.parse_single_example(record, fields)
        return _name(tensors[_ENCODED]), handler.tensors_to_item(tensors)

    return image_of


def _undecodable(
    records: Iterable[tuple[str, int, bytes]],
    image_of: Callable[[bytes], tuple[tf.Tensor, tf.Tensor]],
    error: tf.errors.OpError,
) -> UserError:
    """The first of some records whose image cannot be decoded, as a message.

    Args:
      records: (shard, its number there, tf.Example serialized).
      error: what is told where each can.
    """
    for path, number, record in records:
        try:
            reason = "" if image_of(record)[1].ndim == 3 else "it has several frames"
        except (tf.errors.InvalidArgumentError, ValueError) as failed:
            reason = _reason(failed) if isinstance(failed, tf.errors.OpError) else str(failed)
        if reason:
            feature = tf.train.Example.FromString(record).features.feature
            said = [
                f", {name} {b' '.join(feature[key].bytes_list.value).decode(errors='replace')}"
                for name, key in (("image id", "image/source_id"), ("file", "image/filename"))
                if feature[key].bytes_list.value
            ]
            return UserError(
                f"--cache=decoded: {path}: record {number}{''.join(said)}: the image cannot be "
                f"decoded: {reason}; mend or remove it, and convert again"
            )
    return UserError(f"--cache=decoded: an image cannot be decoded: {_reason(error)}")


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
