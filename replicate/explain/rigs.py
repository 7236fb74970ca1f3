"""A model that can be fed and finished step by step: a .tflite file, or a checkpoint."""

import contextlib
import copy
import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate import engine
from replicate.errors import UserError
from replicate.explain import pixels

if TYPE_CHECKING:
    from replicate.benchmarking import Dataset
    from replicate.evaluate.detector import Detector

# boxes_yxyx_norm (N, 4), scores (N,), category ids of an image; None where a class has none
_Output = tuple[np.ndarray, np.ndarray, list[int | None]]
_WEIGHTS = {"float16": "float16", "bfloat16": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Running:
    """How a model is run and its outputs are finished. The defaults are the kit's.

    Attributes:
      batch_size: images a call; None for the model's own way here.
      suppression: "kit", "api", or an IoU threshold in place of the config's.
      class_agnostic: boxes suppress those of other categories too.
      score_cut: detections below it are gone.
      clip: boxes are cut to the image.
      weights: None, or the type that the weights are rounded to.
      averages: None as the config says, or whether moving averages are evaluated.
      accelerated: LiteRT's XNNPACK or TensorFlow's oneDNN is on.
    """

    batch_size: int | None = None
    suppression: str | float = "kit"
    class_agnostic: bool = False
    score_cut: float = 0.0
    clip: bool = False
    weights: str | None = None
    averages: bool | None = None
    accelerated: bool = True


class Rig:
    """What .tflite files and checkpoints share."""

    name = ""
    input_hw = (0, 0)
    batch_size = 1
    #: How it is fed where nothing is changed.
    steps = pixels.Steps()
    #: What cannot be changed here: a field of Running, or (field of Steps, value) -> why.
    without: dict[str | tuple[str, Any], str] = {}
    #: Whether each call says if it is accelerated, rather than the process as it begins.
    accelerated_by_call = False

    def outputs(self, images: list[np.ndarray], running: Running) -> list[_Output]:
        """What the model says of float32 images [h, w, 3] in 0..255 after resizing."""
        raise NotImplementedError

    def within_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """What an image that keeps its aspect must fit into."""
        return self.input_hw

    def detect(
        self,
        images: Sequence[tuple[int, str | os.PathLike[str]]],
        steps: pixels.Steps,
        running: Running,
        on_input: Callable[[int, np.ndarray], Any] | None = None,
    ) -> list[dict]:
        """COCO results of images.

        Args:
          images: ids and paths.
          steps: how an image becomes the model's input.
          running: how the model is run.
          on_input: called for each image with its id and, float32 [h, w, 3] in 0..255, what the
            model takes.
        """
        size = running.batch_size or self.batch_size
        results = []
        for start in range(0, len(images), size):
            chunk, batch, shapes = images[start : start + size], [], []
            for image_id, path in chunk:
                decoded = pixels.decoded(path, steps)
                within = self.within_hw(decoded.shape[:2])
                small, filled = pixels.resized(decoded, self.input_hw, steps, within)
                batch.append(self.normalised(small, steps))
                if on_input:
                    on_input(image_id, batch[-1])
                # Fractions of the padded input, times this, are pixels of the image.
                shapes.append(
                    [side / part for side, part in zip(decoded.shape[:2], filled, strict=True)]
                )
            outputs = self.outputs(batch, running)
            for (image_id, _), shape, output in zip(chunk, shapes, outputs, strict=True):
                results += _finished(image_id, shape, output, running)
        return results

    def normalised(self, small: np.ndarray, steps: pixels.Steps) -> np.ndarray:
        """`small` so that the model's own normalisation makes what `steps` asks for."""
        if steps.normalisation == "recipe":
            return small
        low, high = self.ends
        return (small / 255 - low) * 255 / (high - low)

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """What the model's own normalisation makes of 0 and of 255, [3] each."""
        return np.full(3, -1.0), np.full(3, 1.0)


def _finished(image_id: int, shape: list[float], output: _Output, running: Running) -> list[dict]:
    boxes, scores, category_ids = output
    if running.clip:
        boxes = np.clip(boxes, 0, 1)
    keep = scores >= running.score_cut
    keep &= np.array([category_id is not None for category_id in category_ids], bool)
    boxes, scores = boxes[keep].astype(np.float64), scores[keep]
    category_ids = [
        category_id for category_id, keeps in zip(category_ids, keep, strict=True) if keeps
    ]
    y1, x1, y2, x2 = (boxes * [*shape, *shape]).T
    xywh = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
    if running.class_agnostic:
        left = _suppressed(xywh, scores)
        xywh, scores = xywh[left], scores[left]
        category_ids = [category_ids[index] for index in left]
    return [
        {"image_id": image_id, "category_id": category, "bbox": box, "score": float(score)}
        for category, box, score in zip(category_ids, xywh.tolist(), scores, strict=True)
    ]


def _suppressed(boxes_xywh: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> list[int]:
    """Indices of the boxes that no better one of any category overlaps by `threshold`."""
    from tfrecords.hotcoco_loaded import hotcoco

    left: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if not left:
            left.append(index)
            continue
        overlap = hotcoco.primitives.bbox_iou(
            boxes_xywh[[index]], boxes_xywh[left], [False] * len(left)
        )
        if overlap.max() < threshold:
            left.append(index)
    return left


class TfliteRig(Rig):
    """A .tflite detector through LiteRT, as `benchmarking` runs it."""

    batch_size = 1
    steps = pixels.Steps(resize="opencv's bilinear")
    accelerated_by_call = True
    without = {
        "batch_size": "a .tflite file has one batch size",
        "suppression": "suppression is part of the .tflite file",
        "weights": "weights are part of the .tflite file",
        "averages": "a .tflite file holds the weights of one kind",
    }

    def __init__(
        self,
        path: pathlib.Path,
        dataset: "Dataset",
        labels: str | os.PathLike[str] | None = None,
    ) -> None:
        from replicate.benchmarking.adapters import labels as adapter_labels

        self.name, self._path = pathlib.Path(path).stem, path
        self._interpreters: dict[bool, Any] = {}
        entry = self._interpreter(True).get_input_details()[0]
        height, width = entry["shape"][1:3]
        self.input_hw = int(height), int(width)
        self._id_of = adapter_labels.category_ids(labels, dataset)

    def outputs(self, images: list[np.ndarray], running: Running) -> list[_Output]:
        from replicate.benchmarking.adapters.tflite import roles

        interpreter = self._interpreter(running.accelerated)
        (entry,), details = interpreter.get_input_details(), interpreter.get_output_details()
        outputs = []
        for image in images:
            interpreter.set_tensor(entry["index"], _as_input(image, entry["dtype"])[np.newaxis])
            interpreter.invoke()
            values = [interpreter.get_tensor(detail["index"]) for detail in details]
            boxes, classes, scores, counts = roles(values, details)
            count = int(counts.reshape(-1)[0])
            ids = [self._id_of[int(class_id)] for class_id in classes[0, :count]]
            outputs.append((boxes[0, :count], scores[0, :count], ids))
        return outputs

    def _interpreter(self, accelerated: bool) -> Any:
        from ai_edge_litert import interpreter as litert

        if accelerated not in self._interpreters:
            resolvers = litert.OpResolverType
            kind = resolvers.AUTO if accelerated else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            try:
                made = litert.Interpreter(str(self._path), experimental_op_resolver_type=kind)
                made.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise UserError(
                    f"{self._path}: LiteRT cannot load it ({str(error).splitlines()[0]})"
                ) from None
            self._interpreters[accelerated] = made
        return self._interpreters[accelerated]


def _as_input(image: np.ndarray, dtype: type) -> np.ndarray:
    if dtype == np.float32:
        return image / np.float32(127.5) - 1
    pixels_ = np.clip(np.rint(image), 0, 255)
    return pixels_.astype(np.uint8) if dtype == np.uint8 else (pixels_ - 128).astype(np.int8)


class CheckpointRig(Rig):
    """A checkpoint of the API's model, as `tools/evaluate.py` runs it."""

    batch_size = 8

    def __init__(
        self, config: Any, checkpoint: str, category_ids: list[int | None], name: str
    ) -> None:
        self.name, self._config, self._checkpoint = name, config, checkpoint
        self._category_ids = category_ids
        self._detectors: dict[tuple, Detector] = {}
        detector = self._detector(Running())
        if detector.static_shape is None:
            raise UserError(
                f"{name}: its resizer keeps the aspect and pads to no one size; the changes of a "
                "pipeline are measured on models whose inputs have one size"
            )
        self.input_hw = detector.static_shape
        self.without = {}
        self._range = _kept_range(config.model)
        if self._range:
            self.steps = dataclasses.replace(self.steps, aspect="kept")
            self.without["aspect", "padded"] = "its own resizer keeps the aspect and pads"
            if len(set(self._range)) > 1:
                self.without["aspect", "stretched"] = "its own resizer keeps the aspect"
        self._check_resizer(detector)
        if not config.eval_config.use_moving_averages:
            self.without["averages"] = "the checkpoint's config keeps no moving averages"
        if detector.suppression != "kit":
            self.without["suppression"] = f"its suppression is {detector.suppression}'s alone"

    def within_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        if not self._range:
            return self.input_hw
        return self._range if image_hw[0] < image_hw[1] else self._range[::-1]

    def _check_resizer(self, detector: "Detector") -> None:
        """What is fed unchanged must be what `tools/evaluate.py` feeds, and as large."""
        height, width = self.input_hw
        rng = np.random.default_rng(0)
        for image_hw in ((height + 37, width + 11), (height // 2, width), (height, width // 2 + 1)):
            image = rng.integers(0, 256, (*image_hw, 3), np.uint8)
            small, _ = pixels.resized(image, self.input_hw, self.steps, self.within_hw(image_hw))
            ours, theirs = (detector.preprocess(image_px) for image_px in (small, image))
            # To the last bits of float32: TensorFlow compiles the two otherwise.
            same = np.array_equal(ours[1], theirs[1]) and np.allclose(ours[0], theirs[0], atol=1e-4)
            if not same:
                raise UserError(
                    f"{self.name}: its resizer is not one of the API's bilinear ones to one size; "
                    "the changes of a pipeline are measured on models of those"
                )

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        detector = self._detector(Running())
        low, high = (np.full((*self.input_hw, 3), value, np.float32) for value in (0, 255))
        return (
            detector.preprocess(low)[0].numpy()[0, 0],
            detector.preprocess(high)[0].numpy()[0, 0],
        )

    def outputs(self, images: list[np.ndarray], running: Running) -> list[_Output]:
        detector = self._detector(running)
        prepared = [detector.preprocess(image) for image in images]
        import tensorflow as tf

        batch, shapes = zip(*prepared, strict=True)
        outputs = detector(tf.stack(batch), tf.stack(shapes))
        values = {key: value.numpy() for key, value in outputs.items()}
        detections = []
        for row in range(len(images)):
            count = int(values["num_detections"][row])
            classes = values["detection_classes"][row, :count].astype(int)
            detections.append(
                (
                    values["detection_boxes"][row, :count],
                    values["detection_scores"][row, :count],
                    [self._category_ids[class_id] for class_id in classes],
                )
            )
        return detections

    def _detector(self, running: Running) -> "Detector":
        """The Detector of what `running` says of the model; kept until another is asked for."""
        from replicate.evaluate.detector import Detector

        key = (running.suppression, running.weights, running.averages)
        if key not in self._detectors:
            config = copy.deepcopy(self._config)
            if running.averages is not None:
                config.eval_config.use_moving_averages = running.averages
            asked = running.suppression
            if not isinstance(asked, str):
                _set_iou_threshold(config, asked)
                asked = "kit"
            base = self._detectors.get(("kit", None, None))
            self._detectors = {("kit", None, None): base} if base else {}
            detector = Detector(config, suppressed_by=asked)
            detector.restore(self._checkpoint)
            if running.weights:
                _round_weights(detector.model, _WEIGHTS[running.weights])
            self._detectors[key] = detector
        return self._detectors[key]


def _kept_range(model: Any) -> tuple[int, int] | None:
    """(smaller side, larger side) that a resizer which keeps the aspect fits images into."""
    resizer = getattr(model, model.WhichOneof("model")).image_resizer
    if resizer.WhichOneof("image_resizer_oneof") != "keep_aspect_ratio_resizer":
        return None
    bounds = resizer.keep_aspect_ratio_resizer
    return bounds.min_dimension, bounds.max_dimension


def _set_iou_threshold(config: Any, threshold: float) -> None:
    model = getattr(config.model, config.model.WhichOneof("model"))
    with contextlib.suppress(AttributeError):
        model.post_processing.batch_non_max_suppression.iou_threshold = threshold
        return
    model.second_stage_post_processing.batch_non_max_suppression.iou_threshold = threshold


def _round_weights(model: Any, dtype: str) -> None:
    import tensorflow as tf

    for variable in {variable.ref(): variable for variable in _variables(model)}.values():
        if variable.dtype == tf.float32:
            variable.assign(tf.cast(tf.cast(variable, dtype), tf.float32))


def _variables(model: Any) -> list:
    import tensorflow as tf

    return [variable for variable in tf.Module.trainable_variables.fget(model)] + [
        variable for variable in tf.Module.non_trainable_variables.fget(model)
    ]


def rig_of(
    path: str | os.PathLike[str],
    dataset: "Dataset",
    *,
    labels: str | os.PathLike[str] | None = None,
    pipeline_config: str | os.PathLike[str] | None = None,
    label_map: str | os.PathLike[str] | None = None,
) -> Rig:
    """The Rig of a .tflite file, a run directory or a checkpoint.

    Raises:
      UserError: something else, or a model that cannot be loaded.
    """
    path = pathlib.Path(path)
    if path.name.endswith(".tflite"):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return TfliteRig(path, dataset, labels)
    from replicate.benchmarking.adapters import checkpoint

    config, prefix, category_ids = checkpoint.read(
        path, dataset.groundtruth.categories, pipeline_config, label_map
    )
    if engine.of(config) != engine.ODAPI:
        raise UserError(
            f"{path}: of TF-Vision's models the changes of a pipeline are not measured; what its "
            "evaluation does to detections is: tools/explain.py --detections=…"
        )
    return CheckpointRig(config, str(prefix), category_ids, path.resolve().name)
