"""A frozen graph of the TF1 detection zoo (frozen_inference_graph.pb)."""

import hashlib
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from replicate.benchmarking.adapters.frameworks import (
    tensorflow,
    tensorflow_device,
    tensorflow_tf32,
    tensorflow_version,
)
from replicate.benchmarking.adapters.labels import category_ids
from replicate.benchmarking.model import Deferred, Model, sha256_of
from replicate.errors import UserError
from replicate.score.groundtruth import read_bytes

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset

_INPUT = "image_tensor:0"
_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def of(
    path: str | os.PathLike,
    dataset: "Dataset",
    labels: str | os.PathLike | None = None,
    tf32: bool = True,
) -> Deferred:
    """A `.pb` file with the TF1 zoo's tensors: image_tensor, uint8 [1, height, width, 3], in.

    The zoo's own graphs drop detections under a score (typically 0.3), so that their AP lies below
    the table's; the record says so where the scores show it.

    Args:
      path: the file.
      dataset: Dataset; names in `labels` become its category ids.
      labels: file with a class name a line; by default classes are category ids.
      tf32: whether a GPU that can may compute float32 in TensorFloat-32, as TensorFlow does by
        default; it is set for the whole process.
    """
    content = read_bytes(path)
    id_of = category_ids(labels, dataset)
    place = pathlib.Path(path)
    name = place.resolve().parent.name if place.stem == "frozen_inference_graph" else place.stem
    return Deferred(
        name,
        sha256_of(
            *("frozen_graph", tensorflow_version()),
            *(hashlib.sha256(content).hexdigest(), list(id_of), tf32),
        ),
        lambda: _model(path, content, name, id_of, tf32),
    )


def _model(
    path: str | os.PathLike, content: bytes, name: str, id_of: list[int | None], tf32: bool
) -> Model:
    tf = tensorflow()
    from google.protobuf.message import DecodeError

    from replicate.evaluate import detections

    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(content)
        wrapped = tf.compat.v1.wrap_function(
            lambda: tf.compat.v1.import_graph_def(graph, name=""), []
        )
        detect = wrapped.prune(_INPUT, [f"{output}:0" for output in _OUTPUTS])
    except (DecodeError, ValueError, KeyError, tf.errors.OpError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: no frozen graph of the TF1 zoo, with {_INPUT} in and {', '.join(_OUTPUTS)} "
            f"out ({first})"
        ) from None

    def detections_of(outputs: list, image_hw: list) -> list[list[dict]]:
        values = [value.numpy()[0] for value in outputs]
        output = dict(zip(_OUTPUTS, values, strict=True))
        output["detection_classes"] = output["detection_classes"] - 1
        return [detections.of_image(0, np.array(image_hw[0]), output, id_of)]

    return Model(
        lambda batch: detect(tf.constant(batch)),
        name=name,
        device=tensorflow_device(),
        tf32=tensorflow_tf32(tf32),
        max_batch=1,
        decoder="tensorflow",
        collate=np.stack,
        output_transform=detections_of,
    )
