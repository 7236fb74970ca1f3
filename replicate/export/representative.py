"""Representative images for 8-bit conversion: a sample of the training records."""

import dataclasses
import glob
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.config.placed import placed
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message


@dataclasses.dataclass(frozen=True)
class Representative:
    """Images from which the ranges of activations are taken.

    Attributes:
      images: list of float32 [1, height, width, 3], as the model preprocesses them.
      source_ids: the images' ids, as the records tell them.
      seed: of the sample.
      records: the patterns they were read from.
    """

    images: list[np.ndarray]
    source_ids: list[str]
    seed: int
    records: list[str]

    def to_json(self) -> dict[str, Any]:
        """The sample as export.json tells it."""
        return {
            "images": len(self.images),
            "source_ids": self.source_ids,
            "seed": self.seed,
            "records": self.records,
        }


def shards(config: "Message", beside: str | os.PathLike | None = None) -> list[str]:
    """The files of a config's training records.

    Args:
      config: TrainEvalPipelineConfig.
      beside: its folder, from which they are looked for too (`config.placed`).

    Raises:
      UserError: there are none here.
    """
    patterns = _patterns(config, beside)
    paths = sorted({path for pattern in patterns for path in glob.glob(pattern)})
    if not paths:
        raise UserError(
            "tflite_int8 takes representative images from the training records, and "
            "train_input_reader.tf_record_input_reader.input_path "
            f"({', '.join(patterns) or 'empty'}) matches no file. Name with "
            "--pipeline_config_path a config whose records are here, or leave out tflite_int8"
        )
    return paths


def _patterns(config: "Message", beside: str | os.PathLike | None) -> list[str]:
    return [
        placed(pattern, beside)
        for pattern in config.train_input_reader.tf_record_input_reader.input_path
    ]


def sample(
    config: "Message",
    preprocess: Callable[[np.ndarray], np.ndarray],
    count: int,
    seed: int,
    beside: str | os.PathLike | None = None,
) -> Representative:
    """Draws images from a config's training records.

    Shards are taken in a shuffled order, the same number of records of each from its beginning,
    so that a few hundred images do not cost a pass over all of COCO.

    Args:
      config: TrainEvalPipelineConfig.
      preprocess: function of a uint8 image [height, width, 3] -> float32 [height', width', 3].
      count: images; fewer where the records hold fewer.
      seed: of the order of shards.
      beside: as of `shards`.

    Raises:
      UserError: there are no records, or none of them holds an image.
    """
    import tensorflow as tf

    patterns = _patterns(config, beside)
    files = shards(config, beside)
    order = [files[index] for index in np.random.default_rng(seed).permutation(len(files))]
    spec = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/source_id": tf.io.FixedLenFeature([], tf.string, ""),
    }
    records = tf.data.Dataset.from_tensor_slices(order).interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(len(order), count),
        num_parallel_calls=1,
        deterministic=True,
    )
    images, ids = [], []
    try:
        for record in records.take(count):
            example = tf.io.parse_single_example(record, spec)
            image = tf.io.decode_image(
                example["image/encoded"], channels=3, expand_animations=False
            )
            images.append(preprocess(image.numpy())[np.newaxis])
            ids.append(example["image/source_id"].numpy().decode("utf-8", "replace"))
    except tf.errors.OpError as error:
        raise UserError(f"{', '.join(patterns)}: cannot be read ({error.message})") from None
    if not images:
        raise UserError(f"{', '.join(patterns)}: no records in it")
    return Representative(images, ids, seed, patterns)
