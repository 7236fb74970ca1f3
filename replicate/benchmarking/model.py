"""A detector as the benchmark calls it: four hooks around a callable on a batch."""

import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from replicate import decoders
from replicate.errors import UserError
from replicate.run import read_json

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset


WARMUP_BATCHES = 3


@dataclasses.dataclass(frozen=True)
class ModelDetections:
    """The detections of one image.

    Attributes:
      boxes_xywh_px: (N, 4), in pixels of the original image.
      scores: (N,).
      category_ids: (N,), the annotation file's ids.
      masks: (N, height, width) bool of the original image's size, or a list of N compressed
        RLEs, or None.
      keypoints: (N, K, 3): x, y in px and visibility, or None.
    """

    boxes_xywh_px: np.ndarray
    scores: np.ndarray
    category_ids: np.ndarray | list
    masks: np.ndarray | list | None = None
    keypoints: np.ndarray | None = None

    def as_results(self, image_id: int) -> list[dict]:
        """As COCO results: a list of dicts."""
        boxes = np.asarray(self.boxes_xywh_px, np.float64)
        if boxes.size and boxes.shape[-1] != 4:
            raise UserError(
                f"image {image_id}: boxes_xywh_px of shape {boxes.shape}; (N, 4) is wanted: x, y, "
                "width and height of each detection"
            )
        boxes = boxes.reshape(-1, 4)
        scores = np.asarray(self.scores, np.float64).reshape(-1)
        category_ids = np.asarray(self.category_ids).reshape(-1)
        if not len(boxes) == len(scores) == len(category_ids):
            raise UserError(
                f"image {image_id}: the model gave {len(boxes)} boxes, {len(scores)} scores and "
                f"{len(category_ids)} category ids; there must be one of each for a detection"
            )
        results = [
            {
                "image_id": int(image_id),
                "category_id": int(category_id),
                "bbox": box,
                "score": float(score),
            }
            for box, score, category_id in zip(boxes.tolist(), scores, category_ids, strict=True)
        ]
        if self.masks is not None:
            for result, mask in zip(results, self.masks, strict=True):
                result["segmentation"] = mask if isinstance(mask, dict) else rle_of(mask)
        if self.keypoints is not None:
            for result, points in zip(results, self.keypoints, strict=True):
                result["keypoints"] = np.asarray(points, np.float64).ravel().tolist()
        return results


@dataclasses.dataclass(frozen=True)
class Detected:
    """The detections of a dataset.

    Attributes:
      results: COCO results: a list of dicts, or the path of a file of them.
      speed: dict of the speed they were made at (see `Model.detect`), or None.
      inference: dict of what else decides them: decoder (one of `decoders.NAMES`) and its version;
        suppression: "kit" or "api" (see `evaluate.suppression`), "none", or "model" where it is
        the model's own; jit_compile where XLA compiled the forward pass, tf32 where a GPU computed
        in TensorFloat-32. None where it is not
        known: detections from a file.
    """

    results: list[dict] | str
    speed: dict | None
    inference: dict

    def as_list(self) -> list[dict]:
        """The COCO results as a list of dicts."""
        return self.results if isinstance(self.results, list) else read_json(self.results)


class FailedOnImage(Exception):
    """What a detector could not do with one image of a batch.

    Attributes:
      index: of the image in the batch.
    """

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


@dataclasses.dataclass(frozen=True)
class Model:
    """A detector: `call` on a batch, and what stands before and after it.

    An image goes through `input_transform` (uint8 RGB [height, width, 3] -> anything), a list of
    those through `collate` (-> a batch) and `to_device`; what `call` makes of the batch goes
    through `output_transform` (outputs, list of image_hw -> ModelDetections for each image, or a
    list of COCO results without image ids). Latency is measured from the collated batch to the
    detections on the host: to_device, call and output_transform.

    Attributes:
      call: the detector.
      name: for the record.
      identity: what decides its detections, as text: a hash of the weights, a version. Without
        one nothing is cached.
      device: the device's name, for the record.
      max_batch: the largest batch it takes; None for any.
      decoder: what makes its pixels, one of `decoders.NAMES`. Pillow by default, which most code
        around detectors reads images with.
      suppression: whose non-maximum suppression it runs, as of `Detected`.
      jit_compile: whether XLA compiles its forward pass.
      tf32: whether its float32 is TensorFloat-32.
      input_transform, collate, to_device, output_transform: the hooks.
      seconds_of: function of the outputs -> the seconds that the detector took, where it runs in
        another process and images travel there; None measures here.
    """

    call: Callable
    name: str = "model"
    identity: str | None = None
    device: str = ""
    max_batch: int | None = None
    decoder: str = "pillow"
    suppression: str = "model"
    jit_compile: bool = False
    tf32: bool = False
    input_transform: Callable = lambda image: image
    collate: Callable = list
    to_device: Callable = lambda batch: batch
    output_transform: Callable = lambda outputs, image_hw: outputs
    seconds_of: Callable[[Any], float] | None = None

    def detect(self, dataset: "Dataset", *, batch_size: int = 1, progress: bool = True) -> Detected:
        """Runs the detector over a Dataset.

        Returns:
          Detected; its speed holds images_per_second (images read and prepared included),
          latency_ms (median, p90 and p95, an image, after warm-up), batch_size, warmup_batches,
          measured_batches and device.

        Raises:
          UserError: an image that cannot be read, a detector that fails on one (FailedOnImage), or
            outputs that are no detections.
        """
        size = min(batch_size, self.max_batch or batch_size)
        images, decode = dataset.images, decoders.decoder(self.decoder)
        results, seconds = [], []
        begun = time.perf_counter()
        with tqdm(total=len(images), desc=self.name, unit="image", disable=not progress) as bar:
            for start in range(0, len(images), size):
                chunk = images[start : start + size]
                pixels = [decode(path) for _, path in chunk]
                image_hw = [image.shape[:2] for image in pixels]
                batch = self.collate([self.input_transform(image) for image in pixels])
                try:
                    if not start:
                        # First calls compile, allocate and fill caches.
                        for _ in range(WARMUP_BATCHES):
                            self.output_transform(self.call(self.to_device(batch)), image_hw)
                        begun = time.perf_counter()
                    before = time.perf_counter()
                    outputs = self.call(self.to_device(batch))
                    detections = self.output_transform(outputs, image_hw)
                    took = time.perf_counter() - before
                except FailedOnImage as error:
                    image_id, path = chunk[error.index]
                    raise UserError(f"{path} (image {image_id}): {error}") from None
                if self.seconds_of is not None:
                    took = self.seconds_of(outputs)
                seconds.append(took / len(chunk))
                results += _results(detections, chunk)
                bar.update(len(chunk))
        speed = self._speed(seconds, time.perf_counter() - begun, size, images)
        inference = {
            "decoder": self.decoder,
            "decoder_version": decoders.version(self.decoder),
            "suppression": self.suppression,
            "batch_size": size,
        } | {name: True for name in ("jit_compile", "tf32") if getattr(self, name)}
        return Detected(results, speed, inference)

    def _speed(self, seconds: list[float], total: float, batch_size: int, images: list) -> dict:
        twentieths = statistics.quantiles(seconds, n=20) if len(seconds) > 1 else seconds * 19
        return {
            "images_per_second": len(images) / total,
            "latency_ms": {
                "median": 1000 * statistics.median(seconds),
                "p90": 1000 * twentieths[17],
                "p95": 1000 * twentieths[18],
            },
            "batch_size": batch_size,
            "warmup_batches": WARMUP_BATCHES,
            "measured_batches": len(seconds),
            "device": self.device or cpu_name(),
        }


@dataclasses.dataclass(frozen=True)
class Deferred:
    """A `Model` that is built (its framework loaded, its weights read) only when it must run.

    Attributes:
      name, identity, decoder: of the Model.
      build: function that makes it.
    """

    name: str
    identity: str | None
    build: Callable[[], Model]
    decoder: str = "tensorflow"

    def detect(self, dataset: "Dataset", *, batch_size: int = 1, progress: bool = True) -> Detected:
        """As `Model.detect`."""
        return self.build().detect(dataset, batch_size=batch_size, progress=progress)


def _results(detections: Iterable, chunk: list[tuple[int, pathlib.Path]]) -> list[dict]:
    detections = list(detections)
    if len(detections) != len(chunk):
        raise UserError(
            f"the model gave detections for {len(detections)} images of a batch of {len(chunk)}"
        )
    results = []
    for one, (image_id, _) in zip(detections, chunk, strict=True):
        if isinstance(one, list):
            results += [result | {"image_id": image_id} for result in one]
            continue
        if isinstance(one, dict):
            try:
                one = ModelDetections(**one)
            except TypeError:
                raise UserError(
                    f"the model's detections have the keys {', '.join(map(str, one))}; expected "
                    "boxes_xywh_px, scores, category_ids and, where it has them, masks, "
                    "keypoints. Convert them in `output_transform`, or use an adapter "
                    "(docs/scoring.md)"
                ) from None
        if not isinstance(one, ModelDetections):
            raise UserError(
                f"the model gave {type(one).__name__} for an image; expected ModelDetections or a "
                "dict with boxes_xywh_px, scores and category_ids"
            )
        results += one.as_results(image_id)
    return results


def rle_of(mask: np.ndarray) -> dict:
    """A mask [height, width] of bool as COCO's compressed RLE."""
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def sha256_of(*parts: Any) -> str:
    """A hash of values that JSON knows."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def sha256_of_files(paths: Iterable[str | os.PathLike]) -> str:
    """A hash of the contents of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def cpu_name() -> str:
    """The processor's name, as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return "CPU: " + line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "CPU: " + (platform.processor() or platform.machine())
