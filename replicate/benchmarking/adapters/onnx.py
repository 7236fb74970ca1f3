"""An ONNX model of a zoo SavedModel (tf2onnx keeps its signature), through ONNX Runtime."""

import hashlib
import importlib.metadata
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from replicate.benchmarking.adapters.labels import category_ids
from replicate.benchmarking.model import Deferred, Found, Model, cpu_name, sha256_of
from replicate.errors import UserError
from replicate.score.groundtruth import read_bytes

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset

_OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


def of(
    path: str | os.PathLike,
    dataset: "Dataset",
    labels: str | os.PathLike | None = None,
    num_threads: int | None = None,
) -> Deferred:
    """An `.onnx` file with the zoo's signature: uint8 images [1, height, width, 3] ->
    detections.

    Args:
      path: the file.
      dataset: Dataset; names in `labels` become its category ids.
      labels: file with a class name a line; by default classes are category ids.
      num_threads: of the session; default all cores.
    """
    content = read_bytes(path)
    id_of = category_ids(labels, dataset)
    try:
        version = importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"{path}: the package onnxruntime is not installed; "
            "pip install -r requirements.txt -r requirements-onnx.txt"
        ) from None
    threads = num_threads or os.cpu_count() or 1
    name = pathlib.Path(path).stem
    return Deferred(
        name,
        sha256_of("onnx", version, hashlib.sha256(content).hexdigest(), list(id_of)),
        lambda: _model(path, content, name, id_of, threads),
    )


def _model(
    path: str | os.PathLike, content: bytes, name: str, id_of: list[int | None], threads: int
) -> Model:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common type of their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: ONNX Runtime cannot load it ({first})") from None
    given, gives = session.get_inputs(), [each.name for each in session.get_outputs()]
    missing = [each for each in _OUTPUTS if each not in gives]
    if missing or len(given) != 1 or given[0].type != "tensor(uint8)":
        raise UserError(
            f"{path}: takes {', '.join(f'{each.name} {each.type}' for each in given)} and gives "
            f"{', '.join(gives)}; the zoo's signature takes one uint8 image [1, height, width, 3] "
            f"and gives {', '.join(_OUTPUTS)}"
        )

    def call(batch: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(_OUTPUTS, session.run(_OUTPUTS, {given[0].name: batch}), strict=True))

    def detections_of(outputs: dict[str, np.ndarray], image_hw: list) -> list[Found]:
        (height, width) = image_hw[0]
        count = int(outputs["num_detections"].reshape(-1)[0])
        boxes_yxyx_norm = outputs["detection_boxes"][0, :count].astype(np.float64)
        y1, x1, y2, x2 = (boxes_yxyx_norm * [height, width, height, width]).T
        boxes_xywh_px = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
        ids = [id_of[int(each) - 1] for each in outputs["detection_classes"][0, :count]]
        known = [index for index, id in enumerate(ids) if id is not None]
        return [
            Found(
                boxes_xywh_px[known],
                outputs["detection_scores"][0, known],
                [ids[index] for index in known],
            )
        ]

    return Model(
        call,
        name=name,
        device=f"{cpu_name()}, ONNX Runtime, {threads} threads",
        max_batch=1,
        decoder="tensorflow",
        collate=np.stack,
        output_transform=detections_of,
    )
