"""A TFLite detector with the API's detection post-processing, through LiteRT."""

import dataclasses
import hashlib
import importlib.metadata
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from replicate.benchmarking.adapters.labels import category_ids_of
from replicate.benchmarking.model import Model, ModelDetections, cpu_name, sha256_of
from replicate.errors import UserError
from replicate.export import postprocess
from replicate.export.pixels import Pixels
from replicate.export.reading import contract_of
from replicate.score.groundtruth import read_bytes

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

    from replicate.benchmarking.dataset import Dataset


def of(
    path: str | os.PathLike,
    dataset: "Dataset",
    labels: str | os.PathLike | None = None,
    num_threads: int | None = None,
    resizer: str | None = None,
) -> Model:
    """A `.tflite` file whose outputs are boxes, classes, scores and their number.

    Images are prepared as the export.json beside the file says (tools/export.py writes one).
    Without it they are resized to its input bilinearly without regard to aspect, as the zoo's
    fixed-size resizer does; a float input is taken to be normalized to -1..1, an 8-bit one to
    hold pixels.

    Args:
      path: the file.
      dataset: Dataset; names in `labels` become its category ids.
      labels: file with a class name a line; by default class index i is category id i + 1, where
        the dataset has it.
      num_threads: of the interpreter; default all cores, or 1 where more lose detections
        (`export.postprocess.lost`).
      resizer: who resizes, one of `export.pixels.RESIZERS`; default "api" where export.json says
        that the API trained it, else "opencv".
    """
    content = read_bytes(path)
    threads = num_threads or os.cpu_count() or 1
    interpreter = _loaded(path, content, threads)
    loses = postprocess.lost(postprocess.options_of(content), threads)
    if loses and num_threads:
        raise UserError(f"{path}: {loses}; run it on 1, or export it with --nms=fast")
    if loses:
        threads = 1
        interpreter = _loaded(path, content, threads)
    (entry, *more), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if more or len(entry["shape"]) != 4 or len(outputs) < 4:
        raise UserError(
            f"{path}: {1 + len(more)} inputs and {len(outputs)} outputs; a detector has one image "
            "as input and boxes, classes, scores and their number as outputs (exported with "
            "post-processing)"
        )
    height, width = entry["shape"][1:3]
    contract = contract_of(path)
    id_of = category_ids_of(path, labels, dataset)
    if contract:
        given = Pixels.of_contract(contract["input"], resizer or "api")
    else:
        scale, offset = (1 / 127.5, -1.0) if entry["dtype"] == np.float32 else (1.0, 0.0)
        given = Pixels(
            (int(height), int(width)), None, (scale,) * 3, (offset,) * 3, resizer or "opencv"
        )

    def in_order(values: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        if not contract:
            return roles(values, outputs)
        tensors = {
            tensor["role"]: value
            for tensor, value in zip(contract["tensors"]["outputs"], values, strict=True)
        }
        return tensors["boxes"], tensors["classes"], tensors["scores"], tensors["count"]

    def prepare(image: np.ndarray) -> np.ndarray:
        values = given.prepared(image)
        if entry["dtype"] == np.float32:
            return values
        limits = np.iinfo(entry["dtype"])
        # Without a contract the input holds pixels; an int8 one those less 128.
        step, zero = entry["quantization"] if contract else (1, limits.min)
        return (values / step + zero).round().clip(limits.min, limits.max).astype(entry["dtype"])

    def call(batch: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(entry["index"], batch)
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"]) for output in outputs]

    def detections_of(values: list[np.ndarray], image_hw: list) -> list[ModelDetections]:
        boxes_yxyx_norm, classes, scores, counts = in_order(values)
        (image_height, image_width) = image_hw[0]
        count = int(counts.reshape(-1)[0])
        boxes = boxes_yxyx_norm[0, :count]
        if contract:
            boxes_yxyx_px = given.boxes_yxyx_px(boxes, (image_height, image_width))
        else:
            scale = [image_height, image_width, image_height, image_width]
            boxes_yxyx_px = boxes.astype(np.float64) * scale
        y1, x1, y2, x2 = boxes_yxyx_px.T
        boxes_xywh_px = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
        ids = [id_of[int(index)] for index in classes[0, :count]]
        known = [index for index, id in enumerate(ids) if id is not None]
        return [
            ModelDetections(boxes_xywh_px[known], scores[0, known], [ids[index] for index in known])
        ]

    return Model(
        call,
        name=pathlib.Path(path).stem,
        identity=sha256_of(
            *("tflite", importlib.metadata.version("ai-edge-litert"), dataclasses.asdict(given)),
            *(hashlib.sha256(content).hexdigest(), list(id_of)),
        ),
        device=f"{cpu_name()}, LiteRT, {threads} thread{'s' * (threads > 1)}",
        max_batch=1,
        decoder="tensorflow",
        input_transform=prepare,
        collate=np.stack,
        output_transform=detections_of,
    )


def _loaded(path: str | os.PathLike, content: bytes, threads: int) -> "Interpreter":
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: LiteRT cannot load it ({str(error).splitlines()[0]})") from None
    return interpreter


def roles(
    values: list[np.ndarray], details: list[dict]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The outputs as (boxes, classes, scores, count), whatever order the exporter chose.

    Args:
      values: list of arrays: [1, N, 4], [1, N], [1, N] and [1].
      details: the interpreter's output details, for their names.
    """
    boxes = [value for value in values if value.ndim == 3]
    count = [value for value in values if value.size == 1 and value.ndim == 1]
    rest = [value for value in values if value.ndim == 2]
    if len(boxes) != 1 or not count or len(rest) != 2:
        shapes = ", ".join(str(list(value.shape)) for value in values)
        raise UserError(f"the TFLite outputs {shapes} are not boxes, classes, scores and number")
    if str(details[0]["name"]).startswith("TFLite_Detection_PostProcess"):
        classes, scores = rest
    else:
        # Classes are whole numbers, scores fall from one detection to the next.
        classes, scores = sorted(rest, key=lambda value: bool((value != value.round()).any()))
    return boxes[0], classes, scores, count[0]
