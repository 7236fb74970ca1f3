"""The training input, example by example, with what it was before and between its augmentations.

The same seam, seeds and functions as `replicate.train.input_stream`: example number N of a seed is
here, to the last bit, what a run of that seed is fed.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from replicate.errors import UserError
from replicate.train import input_stream, precision

if TYPE_CHECKING:
    from google.protobuf.message import Message

# Of a decoded record, what the page tells.
_TOLD_FIELDS = (
    "image",
    "source_id",
    "filename",
    "groundtruth_boxes",
    "groundtruth_classes",
    "groundtruth_area",
    "groundtruth_is_crowd",
    "groundtruth_instance_masks",
)


@dataclasses.dataclass(frozen=True)
class Example:
    """One example of the run's stream.

    Attributes:
      number: its position in the stream, from 0.
      features, labels: as training gets them, a batch of one.
      decoded: the record before augmentation, without a batch dimension.
    """

    number: int
    features: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    decoded: dict[str, Any]

    @property
    def num_objects(self) -> int:
        """Of the image; the labels have rows of padding beyond them."""
        return int(self.labels["num_groundtruth_boxes"][0])

    @property
    def image_hw(self) -> tuple[int, int]:
        """Of the model's input, with its padding."""
        height, width = self.features["image"].shape[1:3]
        return height, width

    @property
    def boxes_yxyx_px(self) -> np.ndarray:
        """[num_objects, 4], pixels of the model's input."""
        height, width = self.image_hw
        boxes = self.labels["groundtruth_boxes"][0, : self.num_objects]
        return boxes * np.array([height, width, height, width], np.float32)

    @property
    def category_ids(self) -> np.ndarray:
        """[num_objects]; 0 where the one-hot class is empty, its id being above num_classes."""
        one_hot = self.labels["groundtruth_classes"][0, : self.num_objects]
        return np.where(one_hot.any(axis=1), one_hot.argmax(axis=1) + 1, 0)


@dataclasses.dataclass(frozen=True)
class AugmentedExample:
    """An example between two steps of its augmentation.

    Attributes:
      image: [h, w, 3], 0 to 255.
      boxes_yxyx_norm: [n, 4].
      category_ids: [n].
      masks: [n, h, w], or None.
      origin: [n], which of the record's objects each one is; None where an augmentation does not
        let that be followed.
    """

    image: np.ndarray
    boxes_yxyx_norm: np.ndarray
    category_ids: np.ndarray
    masks: np.ndarray | None
    origin: np.ndarray | None


def as_trained(config: "Message") -> "Message":
    """A copy of the config with the image format that training on this machine would use."""
    copy = type(config)()
    copy.CopyFrom(config)
    asked = copy.train_config.use_bfloat16
    copy.train_config.use_bfloat16 = precision.choose(asked, None) == "bfloat16"
    return copy


def examples(
    config: "Message", model: Any, *, seed: int, first_example: int, count: int
) -> Iterator[Example]:
    """Yields `count` Examples of a run's stream.

    Args:
      config: TrainEvalPipelineConfig.
      model: the API's DetectionModel, for its preprocessing.
      seed: the run's.
      first_example: number of the first one.
      count: how many.

    Raises:
      UserError: no records, or records that the API cannot decode.
    """
    from object_detection import inputs

    build = input_stream.dataset_build(seed, first_example)

    def build_singly(
        reader_config: "Message", transform_input_data_fn: Callable, **_: Any
    ) -> tf.data.Dataset:
        def transform(decoded: dict) -> tuple:
            fields = {name: decoded[name] for name in _TOLD_FIELDS if name in decoded}
            return *transform_input_data_fn(decoded), fields

        return build(reader_config, 1, transform)

    with input_stream.built_by(build_singly):
        dataset = inputs.train_input(
            train_config=config.train_config,
            train_input_config=config.train_input_reader,
            model_config=config.model,
            model=model,
        )
    for position, (features, labels, decoded) in enumerate(_read(dataset, count)):
        yield Example(first_example + position, features, labels, _first(decoded))


def augmentations(config: "Message") -> list[tuple[str, str]]:
    """The names of the config's augmentation steps, with the text of their settings."""
    steps = []
    for option in config.train_config.data_augmentation_options:
        name = option.WhichOneof("preprocessing_step")
        steps.append((name, " ".join(str(getattr(option, name)).split())))
    return steps


def stages(
    config: "Message", *, seed: int, first_example: int, count: int
) -> Iterator[list[AugmentedExample]]:
    """Yields, for `count` examples of the stream, the list of its Stages: before, after each step.

    The steps draw what they draw in training: the last stage is what is then resized.
    """
    from object_detection import inputs
    from object_detection.builders import preprocessor_builder
    from object_detection.utils import ops

    options = config.train_config.data_augmentation_options

    def transform(decoded: dict) -> tuple:
        # The API carries confidences along with the boxes: here, the objects' numbers.
        numbers = tf.range(tf.shape(decoded["groundtruth_boxes"])[0])
        example = decoded | {"groundtruth_confidences": tf.cast(numbers, tf.float32)}
        example.pop("multiclass_scores", None)
        example = ops.filter_groundtruth_with_nan_box_coordinates(example)
        example = ops.filter_unrecognized_classes(example)
        snapshots = [_snapshot(example)]
        for option in options:
            step = preprocessor_builder.build(option)
            example = inputs.augment_input_data(dict(example), [step])
            snapshots.append(_snapshot(example))
        return tuple(snapshots)

    dataset = input_stream.dataset_build(seed, first_example)(
        config.train_input_reader, 1, transform
    )
    for snapshots in _read(dataset, count):
        yield [_stage(_first(snapshot)) for snapshot in snapshots]


def _snapshot(example: dict) -> dict:
    names = (
        "image",
        "groundtruth_boxes",
        "groundtruth_classes",
        "groundtruth_confidences",
        "groundtruth_instance_masks",
    )
    return {name: example[name] for name in names if name in example}


def _stage(arrays: dict[str, np.ndarray]) -> AugmentedExample:
    origin = arrays["groundtruth_confidences"].astype(int)
    followed = len(origin) == len(arrays["groundtruth_boxes"])
    return AugmentedExample(
        image=arrays["image"].astype(np.float32),
        boxes_yxyx_norm=arrays["groundtruth_boxes"],
        category_ids=arrays["groundtruth_classes"].astype(int),
        masks=arrays.get("groundtruth_instance_masks"),
        origin=origin if followed else None,
    )


def _read(dataset: tf.data.Dataset, count: int) -> Iterator[Any]:
    try:
        yield from dataset.take(count).as_numpy_iterator()
    except tf.errors.OpError as error:
        lines = [line.strip() for line in error.message.splitlines() if line.strip()]
        raise UserError(
            f"the Object Detection API cannot read these records: {lines[0]}; "
            "tools/verify_tf_record.py --full tells which of them"
        ) from None


def _first(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: array[0] for name, array in arrays.items()}
