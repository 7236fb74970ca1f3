"""The training stream: the API's decoding, augmentation and batching, entered at any example.

The API's `inputs.train_input` builds everything but the order of the records, which it leaves
to an unseeded shuffle that starts anew with every process. Here the order is a function of
the run's seed, so a resumed run goes on with the example that an uninterrupted one would have
seen next. The API offers the seam itself: `INPUT_BUILDER_UTIL_MAP['dataset_build']`.

Order of one epoch, as the API's: shards in random order, `num_readers` of them read
interleaved, a shuffle buffer of `shuffle_buffer_size` records behind. Different from the
API: buffers do not reach over the end of an epoch, so each epoch holds every record once.
"""

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tqdm import tqdm

from replicate.errors import UserError
from replicate.records import counted
from replicate.train import decoded, input_bytes, randomness
from replicate.train import input_service as service
from tfrecords import framing

if TYPE_CHECKING:
    from google.protobuf.message import Message


def count_records(paths: Iterable[str]) -> int:
    """The number of records in TFRecord files, read from the lengths that frame them.

    Raises:
      UserError: a file that ends in the middle of a record, or does not hold the records that the
        manifest of its conversion counts.
    """
    try:
        number, wrong = counted(paths)
        if wrong is not None:
            path, expected, there = wrong
            raise UserError(
                f"{path}: {there} records, but its manifest counts {expected}; remove the shard "
                "and convert again: the others are kept"
            )
        return number
    except framing.CorruptRecord as error:
        raise UserError(f"{error}; convert it again") from None


def paths_of(input_reader_config: "Message") -> list[str]:
    """The training shards that a reader's patterns name, sorted.

    Raises:
      UserError: none.
    """
    patterns = list(input_reader_config.tf_record_input_reader.input_path)
    paths = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    if not paths:
        raise UserError(
            "train_input_reader.tf_record_input_reader.input_path: no file matches "
            f"{', '.join(patterns) or '(empty)'}; make the records with "
            "tools/create_coco_tf_record.py"
        )
    return paths


def shards_of(input_reader_config: "Message", part: int, parts: int) -> list[str]:
    """The training shards that one of several workers reads.

    Raises:
      UserError: none, or fewer than workers.
    """
    paths = paths_of(input_reader_config)
    if len(paths) < parts:
        raise UserError(
            f"{len(paths)} training shards for {parts} workers: each needs one of its own; convert "
            f"with --num_shards={parts} or more"
        )
    return paths[part::parts]


def _epoch(paths: tf.Tensor, config: Any, seed: int, epoch: tf.Tensor) -> tf.data.Dataset:
    """The serialized records of one epoch, in that epoch's order."""
    epoch_seed = tf.random.fold_in(tf.constant([seed, 0], tf.int64), epoch)
    if config.shuffle:
        paths = tf.random.experimental.stateless_shuffle(paths, epoch_seed)
    readers = min(config.num_readers, paths.shape[0])
    records = tf.data.Dataset.from_tensor_slices(paths).interleave(
        lambda path: tf.data.TFRecordDataset(path, buffer_size=8_000_000),
        cycle_length=readers,
        block_length=config.read_block_length,
        num_parallel_calls=readers,
        deterministic=True,
    )
    if config.shuffle:
        records = records.shuffle(config.shuffle_buffer_size, seed=epoch_seed[0])
    return records


def numbered_records(
    paths: list[str], config: Any, *, seed: int, first_example: int, images: str = ""
) -> tf.data.Dataset:
    """Serialized records from the run's example `first_example` on, epoch after epoch, without end.

    Args:
      paths: list of TFRecord files.
      config: InputReader, or what has its fields; whether and how widely it shuffles.
      seed: the order of each epoch follows from it.
      images: a folder of `decoded.kept`, whose records are read instead; "" reads these.

    Returns:
      tf.data.Dataset of (example number int64, record).

    Raises:
      UserError: no record in them, or a file cut off.
    """
    records_per_epoch = count_records(paths)
    if not records_per_epoch:
        raise UserError(f"no record in {', '.join(paths[:3])}; were all images dropped?")
    first_epoch, skipped = divmod(first_example, records_per_epoch)
    read = [str(decoded.record_path(images, path)) for path in paths] if images else paths
    path_tensor = tf.constant(read)

    def epoch_records(epoch: tf.Tensor) -> tf.data.Dataset:
        records = _epoch(path_tensor, config, seed, epoch)
        return records.skip(tf.cast(epoch == first_epoch, tf.int64) * skipped)

    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    return epochs.flat_map(epoch_records).enumerate(start=first_example)


def dataset_build(
    seed: int, first_example: int, part: int = 0, parts: int = 1, images: str = ""
) -> Callable[..., tf.data.Dataset]:
    """A `dataset_build` for the API, whose first example is number `first_example` of the run.

    Under several input pipelines, each counts its own examples. Of the batches, those whose number
    is `part` modulo `parts` are made. Records and images are read from the folder `images` where
    one is named, see `decoded.kept`.
    """

    def build(
        input_reader_config: "Message",
        batch_size: int | None = None,
        transform_input_data_fn: Callable | None = None,
        input_context: tf.distribute.InputContext | None = None,
        reduce_to_frame_fn: Callable | None = None,
    ) -> tf.data.Dataset:
        from object_detection.builders import decoder_builder

        pipelines, pipeline = 1, 0
        if input_context is not None:
            pipelines = input_context.num_input_pipelines
            pipeline = input_context.input_pipeline_id
            batch_size = input_context.get_per_replica_batch_size(batch_size)
        paths = shards_of(input_reader_config, pipeline, pipelines)
        decoder = decoder_builder.build(input_reader_config)
        if images:
            decoded.read_by(decoder, images)
        assert transform_input_data_fn is not None and batch_size  # which the API gives

        def example(index: tf.Tensor, record: tf.Tensor) -> Any:
            draws = randomness.PerElement(seed + pipeline, index)
            with input_bytes.traced_on_bytes(), randomness.drawn_from(draws):
                return transform_input_data_fn(decoder.decode(record))

        numbered = numbered_records(
            paths,
            input_reader_config,
            seed=seed + pipeline,
            first_example=first_example,
            images=images,
        )
        if parts > 1:
            numbered = numbered.filter(
                lambda index, record: (index - first_example) // batch_size % parts == part
            )
        return batched(
            mapped(numbered, example), batch_size, input_reader_config.num_prefetch_batches
        )

    return build


def batched(examples: tf.data.Dataset, batch_size: int, ahead: int = 2) -> tf.data.Dataset:
    """Batches of `examples`, as many as `ahead` (two at least) made before they are asked for."""
    batches = examples.batch(batch_size, drop_remainder=True)
    return batches.prefetch(max(ahead, 2)).with_options(_threads())


def _threads() -> tf.data.Options:
    """Threads of the input's own, one a core, each of which makes whole examples.

    TensorFlow's own pool is that of the step's operations, which then wait for the input; and
    there each operation on one image is split among all cores. To tune how many work at once
    TensorFlow takes the time of every operation, which takes time (docs/performance.md).
    """
    options = tf.data.Options()
    options.threading.private_threadpool_size = cores()
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return options


def cores() -> int:
    """The cores that this process may use."""
    return len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0))


def mapped(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """`dataset.map`, without AutoGraph where the API's code can be traced so.

    AutoGraph's rewriting takes many times as long as the tracing. Of the API's augmentation steps
    `random_square_crop_by_scale` needs it; the others that were tried (`tests/train/test_data.py`)
    give the same examples without. What needs it fails to be traced, and is not traced otherwise.
    """
    plain = tf.autograph.experimental.do_not_convert(function)
    try:
        return dataset.map(plain, num_parallel_calls=cores(), deterministic=True)
    except TypeError:  # A tensor as a Python bool, the step of a loop, or the like.
        return dataset.map(function, num_parallel_calls=cores(), deterministic=True)


@contextlib.contextmanager
def built_by(build: Callable[..., tf.data.Dataset]) -> Iterator[None]:
    """Inside, the API's `inputs` build their dataset with `build`."""
    from object_detection import inputs

    original = inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"]
    inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"] = build
    try:
        yield
    finally:
        inputs.INPUT_BUILDER_UTIL_MAP["dataset_build"] = original


def source_ids(config: "Message", hashes: Iterable[int]) -> list[str]:
    """The image ids in the training records that the API hashed to `hashes`.

    Args:
      config: TrainEvalPipelineConfig.
      hashes: the values of `features[inputs.HASH_KEY]`, any order.

    Returns:
      list of str, in the order of `hashes`; an id that is not in the records is left out.
    """
    from object_detection import inputs

    wanted, by_hash = set(hashes), {}
    field = {"image/source_id": tf.io.FixedLenFeature([], tf.string, "")}
    records = tf.data.TFRecordDataset(paths_of(config.train_input_reader), buffer_size=8_000_000)
    for batch in tqdm(records.batch(256), desc="look up the batch's image ids", unit="batch"):
        ids = tf.io.parse_example(batch, field)["image/source_id"]
        hashed = tf.strings.to_hash_bucket_fast(ids, inputs.HASH_BINS).numpy()
        for source_id, value in zip(ids.numpy(), hashed, strict=True):
            if value in wanted:
                by_hash[int(value)] = source_id.decode(errors="replace")
        if by_hash.keys() == wanted:
            break
    return [by_hash[value] for value in hashes if value in by_hash]


def damaged_shard(config: "Message") -> str:
    """What is wrong with the first damaged training shard, its name and record; "" where none is.

    Args:
      config: TrainEvalPipelineConfig.
    """
    return damaged(paths_of(config.train_input_reader))


def damaged(paths: Iterable[str]) -> str:
    """What is wrong with the first damaged one of some shards; "" where none is."""
    for path in tqdm(paths, desc="look for the damage", unit="shard"):
        try:
            collections.deque(framing.read(path), maxlen=0)
        except framing.CorruptRecord as error:
            return str(error)
    return ""


def train_dataset(
    config: "Message",
    model: Any,
    *,
    seed: int,
    first_example: int,
    input_context: tf.distribute.InputContext | None = None,
    input_service: str = "",
    images: str = "",
) -> tf.data.Dataset:
    """The batches of a training run from its example number `first_example` on, without end.

    Args:
      config: TrainEvalPipelineConfig.
      model: the API's DetectionModel, for its preprocessing.
      seed: the run's seed; the order and the augmentation follow from it.
      first_example: examples already trained on (global step x batch of this pipeline).
      input_context: tf.distribute.InputContext, or None.
      input_service: who makes the batches, see `input_service.addresses`; this process where
        empty.
      images: a folder of `decoded.kept` with the decoded images; "" decodes each.

    Returns:
      tf.data.Dataset of (features, labels) as the API's `inputs.train_input` documents them.

    Raises:
      UserError: no records where the config points, or a shard cut off.
    """
    from object_detection import inputs

    def dataset_of_part(part: int, parts: int) -> tf.data.Dataset:
        with built_by(dataset_build(seed, first_example, part, parts, images)):
            return inputs.train_input(
                train_config=config.train_config,
                train_input_config=config.train_input_reader,
                model_config=config.model,
                model=model,
                input_context=input_context,
            )

    if input_service:
        return service.served(dataset_of_part, input_service)
    return dataset_of_part(0, 1)
