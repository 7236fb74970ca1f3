"""Detections of a whole annotation file, image by image, in the COCO results format."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from replicate import decoders, engine
from replicate.config import placed
from replicate.errors import UserError
from replicate.evaluate import categories, images, suppression
from replicate.evaluate.detector import find_checkpoint, pasted_masks
from replicate.train import compilations, distribution, precision

if TYPE_CHECKING:
    from google.protobuf.message import Message


#: What the API's own input decodes with, and so what its models are fed by.
DECODER = "tensorflow"
# Batches that a CPU works on at a time: beside the steps that use all of its cores there are some
# that use one. A GPU begins with the next batch while boxes of one are suppressed on the CPU.
_CALLS_ON_A_CPU, _CALLS_ON_A_GPU = 3, 2
# tests/bench/bench_evaluate.py
_XLA_ON_A_CPU = (
    "--jit_compile: no GPU here, and on a CPU the forward pass of an SSD at 320 px, compiled by "
    "XLA, was measured to take fourteen to thirty times as long; what it is of other models and "
    "sizes is not known"
)


MasksOf = Callable[[dict[str, np.ndarray], np.ndarray, int, int], list[dict] | None]


@dataclasses.dataclass(frozen=True)
class ImageDetections:
    """The detections of one image, those of classes that the annotation file has.

    Attributes:
      image_id: the annotation file's id.
      category_ids: list of N of the file's category ids.
      boxes_xywh_px: (N, 4) float32, in pixels of the original image.
      scores: (N,) float32.
      masks: N compressed RLEs, or None.
      keypoints: N flat lists of x, y (px) and visibility, or None.
    """

    image_id: int
    category_ids: list[int]
    boxes_xywh_px: np.ndarray
    scores: np.ndarray
    masks: list[dict] | None = None
    keypoints: list[list[float]] | None = None

    def as_results(self) -> list[dict]:
        """As COCO results: a list of dicts."""
        results = [
            {"image_id": self.image_id, "category_id": category_id, "bbox": box, "score": score}
            for category_id, box, score in zip(
                self.category_ids, self.boxes_xywh_px.tolist(), self.scores.tolist(), strict=True
            )
        ]
        for field, values in (("segmentation", self.masks), ("keypoints", self.keypoints)):
            for result, value in zip(results, values or (), strict=False):
                result[field] = value
        return results


class Evaluation:
    """One model and one annotation file; each checkpoint given to `detect` is run over it.

    The devices of the machine (its GPUs, or its CPU) take the batches in turn, each with the
    whole model.

    Args:
      config: TrainEvalPipelineConfig or VisionConfig, which names the label map.
      annotations_file: COCO annotation JSON; its images are detected, all of them.
      image_dir: the folder of their files.
      batch_size: images a forward pass; 1 is taken where the resizer gives varying sizes.
      suppressed_by: whose non-maximum suppression to run, one of `suppression.ASKED`.
      jit_compile: whether XLA compiles the forward pass; what it compiles is kept for the next
        process (`replicate.train.compilations`).
      tf32: whether a GPU that can may compute float32 in TensorFloat-32, as TensorFlow does by
        default and as this process may have been told not to.
      beside: the config's folder, from which the label map is looked for too (`config.placed`).

    Attributes:
      annotations_file: as given.
      inference: dict of how the detections are made, the "inference" of metrics.json: decoder and
        its version, suppression (whose ran) and suppression_asked, batch_size; jit_compile where
        XLA compiles, tf32 where a GPU computes in TensorFloat-32.

    Raises:
      UserError: an image that is missing, a label map that does not cover the categories, a model
        that XLA cannot compile.
    """

    def __init__(
        self,
        config: "Message",
        annotations_file: str | os.PathLike,
        image_dir: str | os.PathLike,
        *,
        batch_size: int = 8,
        suppressed_by: str = suppression.KIT,
        jit_compile: bool = False,
        tf32: bool = True,
        beside: str | os.PathLike | None = None,
    ) -> None:
        self.annotations_file = annotations_file
        self._images, category_names = images.of(annotations_file, image_dir)
        described = engine.describe(config)
        label_map = _label_map_path(described, beside)
        self._category_ids = (
            categories.as_they_are(category_names, described.num_classes)
            if label_map is None
            else categories.category_ids(label_map, category_names, described.num_classes)
        )
        if jit_compile:
            compilations.keep()
        distribution.prepare()  # takes no more of a GPU than a training beside it can spare
        if not tf32:
            tf.config.experimental.enable_tensor_float_32_execution(False)
        self._devices = _devices()
        with _in_float32():
            self._detectors = [
                engine.detector(config, device, suppressed_by, jit_compile)
                for device in self._devices
            ]
            if jit_compile:
                tell_of_xla()
            static = self._detectors[0].static_shape is not None
            self._batch_size = batch_size if static else 1
            for detector in self._detectors:
                detector.trace(self._batch_size)
        self.inference: dict[str, Any] = {
            "decoder": DECODER,
            "decoder_version": decoders.version(DECODER),
            "suppression": self._detectors[0].suppression,
            "suppression_asked": suppressed_by,
            "batch_size": self._batch_size,
        }
        if jit_compile:
            self.inference["jit_compile"] = True
        if precision.computes_in_tf32():
            self.inference["tf32"] = True

    @functools.cached_property
    def image_bytes_sha256(self) -> str:
        """SHA-256 over the images' ids and bytes, see `images.bytes_sha256`."""
        return images.bytes_sha256(self._images)

    def restore(self, checkpoint: str | os.PathLike) -> str:
        """Takes a checkpoint's weights.

        Args:
          checkpoint: prefix of a TF2 checkpoint, or a folder with one.

        Returns:
          its prefix.

        Raises:
          UserError: a checkpoint that is not this model's.
        """
        prefix = find_checkpoint(checkpoint)
        for detector in self._detectors:
            detector.restore(prefix)
        return str(self._detectors[0].checkpoint)

    def by_image(self, progress: bool = True) -> Iterator[ImageDetections]:
        """The detections of the restored checkpoint, image by image as they come.

        Args:
          progress: whether to draw a progress bar.

        Yields:
          ImageDetections of each image, in the annotation file's order.

        Raises:
          UserError: an image that cannot be decoded.
        """
        description = f"evaluate {str(self._detectors[0].checkpoint).rsplit('/', 1)[-1]}"
        with tqdm(
            total=len(self._images), desc=description, unit="image", disable=not progress
        ) as bar:
            remaining = iter(self._images)
            for image_hw, outputs in _detected(
                self._detectors, self._devices, self._images, self._batch_size
            ):
                outputs = {name: value.numpy() for name, value in outputs.items()}
                for row, image in enumerate(itertools.islice(remaining, self._batch_size)):
                    one = {name: value[row] for name, value in outputs.items()}
                    yield of_output(
                        *(image.id, image_hw[row], one, self._category_ids),
                        self._detectors[0].masks,
                    )
                    bar.update()

    def detect(
        self, checkpoint: str | os.PathLike, progress: bool = True
    ) -> tuple[list[dict], str]:
        """All detections of a checkpoint at once.

        Args:
          checkpoint, progress: as in `restore` and `by_image`.

        Returns:
          (list of COCO results, prefix of the checkpoint): dicts with image_id, category_id, bbox
          (xywh, pixels of the original image), score, and segmentation (RLE) or keypoints (x, y,
          visibility, flat) where the model has them.
        """
        prefix = self.restore(checkpoint)
        return [
            result for of_image in self.by_image(progress) for result in of_image.as_results()
        ], prefix


def tell_of_xla() -> None:
    """Says, of a model that XLA can compile, what that costs where there is no GPU."""
    if not tf.config.list_physical_devices("GPU"):
        print(_XLA_ON_A_CPU, file=sys.stderr)


@contextlib.contextmanager
def _in_float32() -> Iterator[None]:
    """Inside, models are built that compute in float32, whatever a training of this process does:
    a checkpoint has one score, wherever it is evaluated."""
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)


def _devices() -> list[str | None]:
    """This process's GPUs, else its logical CPU devices; one device is left to TensorFlow.

    After a training of several workers TensorFlow lists the devices of all.
    """
    own = tf.DeviceSpec.from_string(tf.constant(0).device).task
    for kind in ("GPU", "CPU"):
        names = [device.name for device in tf.config.list_logical_devices(kind)]
        names = [name for name in names if tf.DeviceSpec.from_string(name).task in (None, own)]
        if names:
            break
    return names if len(names) > 1 else [None]


def _label_map_path(described: engine.Description, beside: str | os.PathLike | None) -> str | None:
    """None where the config says that the model's classes are the records' ids, and the records are
    not here."""
    if described.label_map is None:
        return categories.kept_with(beside)
    if not described.label_map:
        raise UserError("eval_input_reader.label_map_path is not set; name the model's label map")
    return placed(described.label_map, beside)


def _detected(
    detectors: list[engine.Detector],
    devices: list[str | None],
    to_detect: list[images.EvaluatedImage],
    batch_size: int,
) -> Iterator[tuple[np.ndarray, dict[str, tf.Tensor]]]:
    """Each batch's image_hw and outputs, in order; the last one is filled up with its last image.

    While a batch's detections are made use of, the devices work on the next ones. A batch goes to
    its device before its turn, and stays there until its boxes are ready.
    """
    batches = _prepared(detectors[0], to_detect, batch_size, ahead=max(2, len(detectors)))
    on_gpus = bool(tf.config.list_logical_devices("GPU"))
    calls = len(detectors) * (_CALLS_ON_A_GPU if on_gpus else _CALLS_ON_A_CPU)
    under_way: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        try:
            for number, (images, true_shapes, image_hw) in enumerate(batches, start=1):
                turn = number % len(detectors)
                if on_gpus or len(detectors) > 1:
                    with tf.device(devices[turn]):
                        images = tf.identity(images)
                call = pool.submit(detectors[turn], images, true_shapes)
                under_way.append((image_hw, call))
                if number == len(detectors):
                    # A first call prepares the function; others beside it would do so again.
                    concurrent.futures.wait([pending for _, pending in under_way])
                if len(under_way) > calls:
                    image_hw, outputs = under_way.popleft()
                    yield image_hw, outputs.result()
            for image_hw, outputs in under_way:
                yield image_hw, outputs.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _prepared(
    detector: engine.Detector,
    to_detect: list[images.EvaluatedImage],
    batch_size: int,
    ahead: int = 2,
) -> Iterator[tuple[tf.Tensor, tf.Tensor, np.ndarray]]:
    """Batches of resized images, their true shapes and their image_hw (numpy).

    So many are made `ahead`, while the caller works on others.
    """
    paths = [image.path for image in to_detect]
    paths += paths[-1:] * (-len(paths) % batch_size)

    def prepare(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image = decoders.in_graph(tf.io.read_file(path))
        resized, true_shape = detector.preprocess(image)
        return resized, true_shape, tf.shape(image)[:2]

    prepare = tf.autograph.experimental.do_not_convert(prepare)
    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.map(prepare, num_parallel_calls=os.cpu_count())
    dataset = dataset.batch(batch_size, drop_remainder=True).prefetch(ahead)
    options = tf.data.Options()
    # Its tuner sleeps ever longer between rounds, and the end was seen to wait until it woke.
    options.autotune.enabled = False
    iterator = iter(dataset.with_options(options))
    for start in range(0, len(paths), batch_size):
        try:
            resized, true_shapes, image_hw = next(iterator)
        except tf.errors.InvalidArgumentError as error:
            raise UserError(_name_unreadable(to_detect[start:], error)) from None
        yield resized, true_shapes, image_hw.numpy()


def _name_unreadable(candidates: list[images.EvaluatedImage], error: tf.errors.OpError) -> str:
    """Which image it was: tf.data tells only that one could not be decoded."""
    for image in candidates:
        try:
            decoders.in_graph(tf.io.read_file(image.path))
        except tf.errors.OpError as decode_error:
            return (
                f"{image.path} (image id {image.id}): cannot be decoded "
                f"({decode_error.message.strip()}); replace the file or take the image out of the "
                "annotation file"
            )
    return f"evaluation input: {error.message}"


def of_output(
    image_id: int,
    image_hw: np.ndarray,
    output: dict[str, np.ndarray],
    category_ids: list[int | None],
    masks_of: MasksOf = pasted_masks,
) -> ImageDetections:
    """One image's detections.

    The scale to pixels is done in float32, as the API's own COCO evaluator does it.

    Args:
      image_id: the annotation file's id.
      image_hw: int [2], the image's size in pixels.
      output: the API's postprocessed detections of the image, numpy, without batch dimension.
      category_ids: list from `categories.category_ids`.
      masks_of: the engine's `Detector.masks`.

    Returns:
      ImageDetections; those of a class that the file does not have are left out, since no
      groundtruth could match them.
    """
    count = int(output["num_detections"])
    ids = [category_ids[index] for index in output["detection_classes"][:count].astype(int)]
    rows = np.array(
        [index for index, category_id in enumerate(ids) if category_id is not None], int
    )
    height, width = (int(size) for size in image_hw)
    scale = np.array([height, width, height, width], np.float32)
    boxes_yxyx_px = output["detection_boxes"][rows].astype(np.float32) * scale
    top, left, bottom, right = boxes_yxyx_px.T
    return ImageDetections(
        image_id,
        category_ids=[ids[index] for index in rows],
        boxes_xywh_px=np.stack([left, top, right - left, bottom - top], axis=1),
        scores=output["detection_scores"][rows],
        masks=masks_of(output, rows, height, width),
        keypoints=_keypoints(output, rows, height, width),
    )


def of_image(
    image_id: int,
    image_hw: np.ndarray,
    output: dict[str, np.ndarray],
    category_ids: list[int | None],
) -> list[dict]:
    """One image's detections as COCO results, a list of dicts; arguments as of `of_output`."""
    return of_output(image_id, image_hw, output, category_ids).as_results()


def _keypoints(
    output: dict[str, np.ndarray], rows: np.ndarray, height: int, width: int
) -> list[list[float]] | None:
    """COCO's flat x, y, visibility (always 1) in pixels."""
    if "detection_keypoints" not in output or not len(rows):
        return None
    scale = np.array([height, width], np.float32)
    keypoints_yx_px = output["detection_keypoints"][rows].astype(np.float32) * scale
    return [
        [float(value) for y, x in keypoints for value in (x, y, 1)] for keypoints in keypoints_yx_px
    ]
