"""TFRecords as recognition sees them: an image, and which categories are in it."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from replicate.errors import UserError
from replicate.odapi import protos
from replicate.recognition.classes import Class
from replicate.recognition.engine import tf
from replicate.recognition.request import RecognitionRequest, files
from replicate.train import input_stream

_OBJECTS = {
    "text": tf.io.RaggedFeature(tf.string, "image/object/class/text"),
    "label": tf.io.RaggedFeature(tf.int64, "image/object/class/label"),
    "crowd": tf.io.RaggedFeature(tf.int64, "image/object/is_crowd"),
}
_SOURCE_ID = tf.io.FixedLenFeature([], tf.string, "")
_UNKNOWN_SHOWN = 5


class Labeller:
    """From the objects of a record to the classes in its image.

    Objects are known by `image/object/class/text`; a record without it by
    `image/object/class/label`, the id. One without `image/object/is_crowd` has no crowds.

    Args:
      classes: of the outputs, in their order.
    """

    def __init__(self, classes: Sequence[Class]) -> None:
        self._count = len(classes)
        outputs = tf.range(self._count)
        self._by_name = _table(tf.constant([category.name for category in classes]), outputs)
        ids = tf.constant([category.id for category in classes], tf.int64)
        self._by_id = _table(ids, outputs)

    def __call__(self, objects: Mapping[str, tf.Tensor], include_crowd: bool) -> tf.Tensor:
        """Multi-hot labels of one image.

        Args:
          objects: rank-1 tensors text, label, crowd.
          include_crowd: whether a crowd region counts.

        Returns:
          float32 [classes] of 0 and 1.
        """
        index = self._indices(objects)
        hot = tf.one_hot(index, self._count)
        if not include_crowd:
            crowd = objects["crowd"]
            crowd = tf.cond(
                tf.size(crowd) > 0, lambda: crowd, lambda: tf.zeros(tf.shape(index), tf.int64)
            )
            hot *= tf.cast(crowd == 0, tf.float32)[:, None]
        return tf.minimum(tf.reduce_sum(hot, axis=0), 1.0)

    def unknown(self, objects: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The names (or ids, as text) of objects that are no class."""
        lost = self._indices(objects) < 0
        named = tf.size(objects["text"]) > 0
        return tf.cond(
            named,
            lambda: tf.boolean_mask(objects["text"], lost),
            lambda: tf.strings.as_string(tf.boolean_mask(objects["label"], lost)),
        )

    def _indices(self, objects: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """int32 [objects], -1 for one that is no class."""
        return tf.cond(
            tf.size(objects["text"]) > 0,
            lambda: self._by_name.lookup(objects["text"]),
            lambda: self._by_id.lookup(objects["label"]),
        )


def survey(pattern: str, classes: Sequence[Class]) -> dict:
    """Counts what records hold, and makes sure that every object is one of the classes.

    Args:
      pattern: as `request.files` takes it.
      classes: of the label map.

    Returns:
      pattern, files, bytes, fingerprint (SHA-256 over names and sizes), images,
      images_without_categories, and positives and positives_without_crowd: images that hold each
      category, in the classes' order.

    Raises:
      UserError: no records, damaged ones, or a category that the label map lacks.
    """
    paths = files(pattern)
    images = input_stream.count_records(paths)
    if not images:
        raise UserError(f"no record in {', '.join(paths[:3])}; were all images dropped?")
    labeller = Labeller(classes)

    def labelled(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        objects = tf.io.parse_single_example(record, _OBJECTS)
        return labeller(objects, True), labeller(objects, False), labeller.unknown(objects)

    batches = _read(paths).map(labelled, num_parallel_calls=tf.data.AUTOTUNE).ragged_batch(256)
    totals, empty = np.zeros((2, len(classes)), int), 0
    unknown: dict[str, int] = {}
    with tqdm(total=images, desc=f"read {_short(pattern)}", unit="image") as bar:
        for *tensors, names in _readable(batches, pattern):
            labels = [tensor.numpy() for tensor in tensors]
            totals += [hot.sum(axis=0).astype(int) for hot in labels]
            empty += int((labels[0].sum(axis=1) == 0).sum())
            for name in names.flat_values.numpy():
                unknown[name.decode(errors="replace")] = unknown.get(name.decode(), 0) + 1
            bar.update(len(labels[0]))
    _refuse_unknown(unknown, pattern)
    return {
        **identity(pattern),
        "images": images,
        "images_without_categories": empty,
        "positives": totals[0].tolist(),
        "positives_without_crowd": totals[1].tolist(),
    }


def identity(pattern: str) -> dict:
    """pattern, files, bytes, fingerprint: what tells two sets of records apart, at once."""
    paths = files(pattern)
    sizes = [os.path.getsize(path) for path in paths]
    listed = "".join(
        f"{os.path.basename(path)} {size}\n" for path, size in zip(paths, sizes, strict=True)
    )
    return {
        "pattern": pattern,
        "files": len(paths),
        "bytes": sum(sizes),
        "fingerprint": hashlib.sha256(listed.encode()).hexdigest(),
    }


def count(pattern: str) -> int:
    """The number of images in the records of a pattern."""
    return input_stream.count_records(files(pattern))


def training_batches(
    request: RecognitionRequest, classes: Sequence[Class], first_example: int
) -> tf.data.Dataset:
    """The batches of a training from its example number `first_example` on, without end.

    The order is that of the detectors' training (`replicate.train.input_stream`).

    Args:
      request: of the training.
      classes: of the label map.
      first_example: the first batch begins with it.

    Returns:
      Of (images float32 [n, size, size, 3] in 0..255, labels float32
      [n, classes], source ids string [n]).
    """
    labeller = Labeller(classes)
    reader = protos.load("input_reader").InputReader()

    def example(number: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image, labels, source_id = _example(record, labeller, request)
        if request.flip:
            seed = tf.stack([tf.constant(request.seed, tf.int64), number])
            image = tf.image.stateless_random_flip_left_right(image, seed)
        return image, labels, source_id

    numbered = input_stream.numbered_records(
        files(request.records), reader, seed=request.seed, first_example=first_example
    )
    examples = numbered.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(request.batch_size, drop_remainder=True).prefetch(2)


def evaluation_batches(
    pattern: str, request: RecognitionRequest, classes: Sequence[Class], batch_size: int
) -> Iterator[Any]:
    """Every image of the records once, in the records' order; as `training_batches`, unflipped."""
    labeller = Labeller(classes)

    def example(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return _example(record, labeller, request)

    records = _read(files(pattern))
    examples = records.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _readable(examples.batch(batch_size).prefetch(2), pattern)


def encoded_images(pattern: str, wanted: Iterable[int]) -> dict[int, bytes]:
    """The encoded files of some images, by their positions in the records.

    Args:
      pattern: as `request.files` takes it.
      wanted: positions, counted over the records in their order.
    """
    positions = set(wanted)
    images: dict[int, bytes] = {}
    field = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
    for position, record in enumerate(_read(files(pattern))):
        if position in positions:
            images[position] = tf.io.parse_single_example(record, field)["image/encoded"].numpy()
            if len(images) == len(positions):
                break
    return images


def image_of(encoded: bytes | tf.Tensor, image_size: int) -> tf.Tensor:
    """A JPEG or PNG as the model takes it: float32 [image_size, image_size, 3] in 0..255.

    Resized with antialiasing to a square, its shape not kept.
    """
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return tf.image.resize(image, [image_size, image_size], antialias=True)


def _example(
    record: tf.Tensor, labeller: Labeller, request: RecognitionRequest
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    image_fields = {
        "encoded": tf.io.FixedLenFeature([], tf.string),
        "source_id": _SOURCE_ID,
    }
    parsed = tf.io.parse_single_example(
        record, {f"image/{name}": field for name, field in image_fields.items()} | _OBJECTS
    )
    image = image_of(parsed["image/encoded"], request.image_size)
    return image, labeller(parsed, request.include_crowd), parsed["image/source_id"]


def _read(paths: Sequence[str]) -> tf.data.TFRecordDataset:
    return tf.data.TFRecordDataset(paths, buffer_size=8_000_000)


def _readable(batches: tf.data.Dataset, pattern: str) -> Iterator[Any]:
    """The batches; records that cannot be read are the user's to mend."""
    try:
        yield from batches
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise UserError(
            f"{pattern}: {error.message.splitlines()[0]}; tools/verify_tf_record.py --full finds "
            "damaged records"
        ) from None


def _refuse_unknown(unknown: Mapping[str, int], pattern: str) -> None:
    if not unknown:
        return
    named = ", ".join(
        f"{name!r} ({count})" for name, count in list(unknown.items())[:_UNKNOWN_SHOWN]
    )
    raise UserError(
        f"{pattern}: {sum(unknown.values())} objects of {len(unknown)} categories that the label "
        f"map lacks: {named}; give the label map that belongs to the records "
        "(tools/create_coco_tf_record.py --label_map=FILE writes it)"
    )


def _table(keys: tf.Tensor, values: tf.Tensor) -> tf.lookup.StaticHashTable:
    initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
    return tf.lookup.StaticHashTable(initializer, default_value=-1)


def _short(pattern: str) -> str:
    return os.path.basename(pattern.split(",")[0])
