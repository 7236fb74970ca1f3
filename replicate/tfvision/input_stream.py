"""TF-Vision's training input, entered at any example.

The task builds its decoder and parser and reads through the package's InputReader, whose order is
a shuffle that starts anew with every process. Here the reader's order is a function of the run's
seed (`replicate.train.input_stream`), and what a parser draws one of (seed, example number), so
that a run that goes on sees the examples of one that was never stopped. Decoder, parser and batch
are the package's. Different from its reader: the shuffle buffer does not reach over the end of an
epoch, so that each epoch holds every record once.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from replicate.errors import UserError
from replicate.train import input_service as service
from replicate.train import input_stream, randomness

#: Where the features of a batch have the images, and the examples' numbers in the run.
IMAGES, NUMBERS = "images", "numbers"
_READERS = 16  # where the config leaves it to tf.data, which takes what the processors allow


@dataclasses.dataclass(frozen=True)
class _Order:
    """How records are shuffled, under the names of the API's InputReader."""

    shuffle: bool
    shuffle_buffer_size: int
    num_readers: int
    read_block_length: int


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in a run's data a dataset begins.

    Attributes:
      seed: of the run.
      first_example: examples that this pipeline gave before.
      part, parts: of the batches, those whose number is `part` modulo `parts` are made.
    """

    seed: int
    first_example: int
    part: int = 0
    parts: int = 1


def paths_of(pattern: Any) -> list[str]:
    """The files that a config's `input_path` names: a pattern, several with commas, or a list.

    Raises:
      UserError: none, or records of several kinds to be mixed, which the kit does not read.
    """
    if not isinstance(pattern, (str, list, tuple)):
        raise UserError("task.train_data.input_path: the kit reads one set of records, no mixture")
    given = [pattern] if isinstance(pattern, str) else list(pattern)
    patterns = [part.strip() for text in given for part in text.split(",") if part.strip()]
    paths = sorted(path for part in patterns for path in tf.io.gfile.glob(part))
    if not paths:
        raise UserError(
            f"task.train_data.input_path: no file matches {', '.join(patterns) or '(empty)'}; make "
            "the records with tools/create_coco_tf_record.py --include_class_labels"
        )
    return paths


def numbered_records(
    data: Any, place: Place, input_context: tf.distribute.InputContext | None = None
) -> tf.data.Dataset:
    """(example number, serialized record) from a place on, epoch after epoch, without end.

    Args:
      data: the package's DataConfig of the training.

    Raises:
      UserError: no records, fewer shards than workers, or a shard cut off.
    """
    paths = paths_of(data.input_path)
    pipelines = input_context.num_input_pipelines if input_context else 1
    pipeline = input_context.input_pipeline_id if input_context else 0
    if len(paths) < pipelines:
        raise UserError(
            f"{len(paths)} training shards for {pipelines} workers: each needs one of its own; "
            f"convert with --num_shards={pipelines} or more"
        )
    order = _Order(
        True, data.shuffle_buffer_size, data.cycle_length or _READERS, data.block_length or 1
    )
    return input_stream.numbered_records(
        paths[pipeline::pipelines],
        order,
        seed=place.seed + pipeline,
        first_example=place.first_example,
    )


def _reader(place: Place) -> Callable[..., Any]:
    """What makes the package's InputReader, reading from a place on."""
    from official.core import input_reader

    class Reader(input_reader.InputReader):
        """The package's, with an order that can be entered anywhere."""

        def __init__(self, params: Any, **parts: Any) -> None:
            super().__init__(params, **parts)
            self._params = params

        def read(
            self,
            input_context: tf.distribute.InputContext | None = None,
            dataset: tf.data.Dataset | None = None,
        ) -> tf.data.Dataset:
            pipeline = input_context.input_pipeline_id if input_context else 0
            seed, first = place.seed + pipeline, place.first_example
            batch_size = self._global_batch_size
            if input_context is not None:
                batch_size = input_context.get_per_replica_batch_size(batch_size)

            def example(number: tf.Tensor, record: tf.Tensor) -> tuple[dict, Any]:
                with randomness.drawn_from(randomness.PerElement(seed, number)):
                    images, labels = self._parser_fn(self._decoder_fn(record))
                return {IMAGES: images, NUMBERS: number}, labels

            records = numbered_records(self._params, place, input_context)
            if place.parts > 1:
                records = records.filter(
                    lambda number, _: (number - first) // batch_size % place.parts == place.part
                )
            examples = records.map(
                example, num_parallel_calls=input_stream.cores(), deterministic=True
            )
            return input_stream.batched(examples, batch_size)

    return Reader


@contextlib.contextmanager
def read_by(make_reader: Callable[..., Any]) -> Iterator[None]:
    """Inside, tasks read by `make_reader`."""
    from official.vision.dataloaders import input_reader_factory

    original = input_reader_factory.input_reader_generator
    input_reader_factory.input_reader_generator = make_reader
    try:
        yield
    finally:
        input_reader_factory.input_reader_generator = original


def train_dataset(
    task: Any,
    place: Place,
    input_context: tf.distribute.InputContext | None = None,
    input_service: str = "",
) -> tf.data.Dataset:
    """The batches of a training run from a place on, without end.

    Args:
      task: the package's task.
      input_service: who makes the batches, see `input_service.addresses`; this process where empty.

    Returns:
      tf.data.Dataset of ({IMAGES, NUMBERS}, labels as the task's parser gives them).

    Raises:
      UserError: as `numbered_records`; the config wants what the kit does not read.
    """
    data = task.task_config.train_data
    for field, value in (
        ("tfds_name", data.tfds_name),
        ("cache", data.cache),
        ("weights", getattr(data, "weights", None)),
        ("pseudo_label_data", getattr(data, "pseudo_label_data", None)),
    ):
        if value:
            raise UserError(f"task.train_data.{field} is set; the kit reads records, each as it is")

    paths_of(data.input_path)  # the package's reader would say it in a traceback

    def dataset_of_part(part: int, parts: int) -> tf.data.Dataset:
        with read_by(_reader(dataclasses.replace(place, part=part, parts=parts))):
            return task.build_inputs(data, input_context)

    if input_service:
        return service.served(dataset_of_part, input_service)
    return dataset_of_part(0, 1)


def image_ids(data: Any, place: Place, numbers: list[int]) -> list[str]:
    """The image ids of examples by their numbers in the run, read again in its order."""
    wanted = sorted(set(numbers))
    if not wanted:
        return []
    start = dataclasses.replace(place, first_example=wanted[0])
    field = {"image/source_id": tf.io.FixedLenFeature([], tf.string, "")}
    records = numbered_records(data, start).take(wanted[-1] - wanted[0] + 1)
    return [
        tf.io.parse_single_example(record, field)["image/source_id"].numpy().decode()
        for number, record in records
        if int(number) in wanted
    ]
