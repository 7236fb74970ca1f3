"""Representative images for 8-bit conversion: a sample of the training records."""

import dataclasses
import glob

import numpy as np

from replicate.errors import UserError


@dataclasses.dataclass(frozen=True)
class Representative:
    """Images from which the ranges of activations are taken.

    Attributes:
      images: list of float32 [1, height, width, 3], as the model preprocesses them.
      source_ids: the images' ids, as the records tell them.
      seed: of the sample.
      records: the patterns they were read from.
    """

    images: list
    source_ids: list[str]
    seed: int
    records: list[str]

    def to_json(self) -> dict:
        """The sample as export.json tells it."""
        return {
            "images": len(self.images),
            "source_ids": self.source_ids,
            "seed": self.seed,
            "records": self.records,
        }


def sample(config, preprocess, count: int, seed: int) -> Representative:
    """Draws images from a config's training records.

    Shards are taken in a shuffled order, the same number of records of each from its beginning,
    so that a few hundred images do not cost a pass over all of COCO.

    Args:
      config: TrainEvalPipelineConfig.
      preprocess: function of a uint8 image [height, width, 3] -> float32 [height', width', 3].
      count: images; fewer where the records hold fewer.
      seed: of the order of shards.

    Raises:
      UserError: there are no records, or none of them holds an image.
    """
    import tensorflow as tf

    patterns = list(config.train_input_reader.tf_record_input_reader.input_path)
    shards = sorted({path for pattern in patterns for path in glob.glob(pattern)})
    if not shards:
        raise UserError(
            "tflite_int8 takes representative images from the training records, and "
            "train_input_reader.tf_record_input_reader.input_path "
            f"({', '.join(patterns) or 'empty'}) matches no file. Set it with --pipeline_config_path to a config whose records are "
            "here, or leave out tflite_int8"
        )
    order = [shards[index] for index in np.random.default_rng(seed).permutation(len(shards))]
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
            images.append(np.asarray(preprocess(image))[np.newaxis])
            ids.append(example["image/source_id"].numpy().decode("utf-8", "replace"))
    except tf.errors.OpError as error:
        raise UserError(f"{', '.join(patterns)}: cannot be read ({error.message})") from None
    if not images:
        raise UserError(f"{', '.join(patterns)}: no records in it")
    return Representative(images, ids, seed, patterns)
