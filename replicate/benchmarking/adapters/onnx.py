"""An ONNX detector through ONNX Runtime, by a contract that is named.

A model of tools/export.py has its contract in export.json; one with the zoo's signature (tf2onnx
keeps it) is told by the names of its outputs. Of any other `outputs` says what they mean: one of
KNOWN, or "boxes:xyxy_px,scores:softmax,labels:contiguous".
"""

import dataclasses
import hashlib
import importlib.metadata
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from replicate.benchmarking.adapters.inputs import Inputs
from replicate.benchmarking.adapters.labels import category_ids_of
from replicate.benchmarking.adapters.outputs import Outputs, ids_of
from replicate.benchmarking.model import Deferred, Model, ModelDetections, cpu_name, sha256_of
from replicate.errors import UserError
from replicate.score.groundtruth import read_bytes

if TYPE_CHECKING:
    import onnxruntime

    from replicate.benchmarking.dataset import Dataset

_ZOO = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
ZOO = "tf_zoo"
#: Contracts by the family's name: how an image goes in, what comes out.
#: torchvision: an image of any size, 0..1; COCO's ids.
#: rt_detr: logits of Transformers' model, whose processor stretches to the input and does not
#: normalize; rf_detr: its export's "dets" and "labels", a column for each of COCO's ids; yolo:
#: Ultralytics' raw output [1, 4 + classes, N], suppression left to the caller (at IoU 0.7).
KNOWN: dict[str, tuple[Inputs, Outputs]] = {
    "torchvision": (
        Inputs("chw", "0..1", "none"),
        Outputs("xyxy_px", "score", "coco"),
    ),
    "rt_detr": (
        Inputs("nchw", "0..1", "stretch"),
        Outputs(
            "cxcywh_norm", "sigmoid", "contiguous", {"boxes": "pred_boxes", "scores": "logits"}
        ),
    ),
    "rf_detr": (
        Inputs("nchw", "imagenet", "stretch"),
        Outputs("cxcywh_norm", "sigmoid", "coco", {"boxes": "dets", "scores": "labels"}),
    ),
    "yolo": (
        Inputs("nchw", "0..1", "letterbox"),
        Outputs("cxcywh_input", "probabilities", "contiguous", suppression_iou=0.7),
    ),
}


def of(
    path: str | os.PathLike,
    dataset: "Dataset",
    labels: str | os.PathLike | None = None,
    num_threads: int | None = None,
    outputs: str | None = None,
    inputs: str | None = None,
) -> Deferred:
    """An `.onnx` file.

    Args:
      path: the file.
      dataset: Dataset; its categories give class numbers their ids.
      labels: of a zoo signature: file with a class name a line; by default classes are the ids.
      num_threads: of the session; default all cores.
      outputs: "tf_zoo", a name of KNOWN, or a contract as `Outputs.parsed` reads it; None takes the
        zoo's signature and nothing else.
      inputs: contract as `Inputs.parsed` reads it; default that of KNOWN.

    Raises:
      UserError: ONNX Runtime is not there or cannot load it, or a contract that is not said.
    """
    content = read_bytes(path)
    contract = None if outputs in (None, ZOO) else _contract(outputs or "", inputs)
    id_of = [] if contract else category_ids_of(path, labels, dataset)
    try:
        version = importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"{path}: the package onnxruntime is not installed; "
            "pip install -r requirements.txt -r requirements-onnx.txt"
        ) from None
    threads = num_threads or os.cpu_count() or 1
    name = pathlib.Path(path).stem

    def build() -> Model:
        session = _session(path, content, threads)
        if contract is None:
            made = _of_zoo(path, session, id_of)
        else:
            made = _by_contract(path, session, *contract, dataset)
        device = f"{cpu_name()}, ONNX Runtime, {threads} thread{'s' * (threads > 1)}"
        return dataclasses.replace(made, name=name, device=device)

    parts = [dataclasses.asdict(part) for part in contract] if contract else None
    return Deferred(
        name,
        sha256_of("onnx", version, hashlib.sha256(content).hexdigest(), list(id_of), parts),
        build,
        decoder="tensorflow" if contract is None else "pillow",
    )


def _contract(outputs: str, inputs: str | None) -> tuple[Inputs, Outputs]:
    if outputs in KNOWN:
        known_inputs, known_outputs = KNOWN[outputs]
        return (Inputs.parsed(inputs) if inputs else known_inputs), known_outputs
    if ":" not in outputs:
        raise UserError(
            f"--outputs={outputs}: there are {ZOO}, {', '.join(KNOWN)}, or a contract like "
            "boxes:xyxy_px,scores:softmax,labels:contiguous"
        )
    if not inputs:
        raise UserError(
            "--inputs: how an image goes in is not said; say it, like "
            "--inputs=layout:nchw,pixels:0..1,resize:stretch"
        )
    return Inputs.parsed(inputs), Outputs.parsed(outputs)


def _session(
    path: str | os.PathLike, content: bytes, threads: int
) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common type of their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: ONNX Runtime cannot load it ({first})") from None


def _signature(session: "onnxruntime.InferenceSession") -> str:
    given = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in session.get_inputs())
    gives = ", ".join(f"{entry.name} {entry.shape}" for entry in session.get_outputs())
    return f"takes {given} and gives {gives}"


def _of_zoo(
    path: str | os.PathLike, session: "onnxruntime.InferenceSession", id_of: list[int | None]
) -> Model:
    given = session.get_inputs()
    names = [entry.name for entry in session.get_outputs()]
    if set(_ZOO) - set(names) or len(given) != 1 or given[0].type != "tensor(uint8)":
        raise UserError(
            f"{path}: {_signature(session)}; that is not the zoo's signature (one uint8 image [1, "
            f"height, width, 3] in, {', '.join(_ZOO)} out), and what else it means cannot be told. "
            f"Say it: --outputs=NAME, of {', '.join(KNOWN)}; or --outputs=boxes:…,scores:…,"
            "labels:… with --inputs=…"
        )

    def call(batch: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(_ZOO, _ran(path, session, _ZOO, batch), strict=True))

    def detections_of(outputs: dict[str, np.ndarray], image_hw: list) -> list[ModelDetections]:
        (height, width) = image_hw[0]
        count = int(outputs["num_detections"].reshape(-1)[0])
        boxes_yxyx_norm = outputs["detection_boxes"][0, :count].astype(np.float64)
        y1, x1, y2, x2 = (boxes_yxyx_norm * [height, width, height, width]).T
        boxes_xywh_px = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
        ids = [id_of[int(number) - 1] for number in outputs["detection_classes"][0, :count]]
        known = [index for index, id in enumerate(ids) if id is not None]
        return [
            ModelDetections(
                boxes_xywh_px[known],
                outputs["detection_scores"][0, known],
                [ids[index] for index in known],
            )
        ]

    return Model(
        call,
        max_batch=1,
        decoder="tensorflow",
        collate=np.stack,
        output_transform=detections_of,
    )


def _by_contract(
    path: str | os.PathLike,
    session: "onnxruntime.InferenceSession",
    inputs: Inputs,
    outputs: Outputs,
    dataset: "Dataset",
) -> Model:
    given = session.get_inputs()
    names = [entry.name for entry in session.get_outputs()]
    raw = len(names) == 1 and outputs.by_class and len(outputs.names) == 0
    missing = [] if raw else [r for r in outputs.roles if outputs.name_of(r) not in names]
    if len(given) != 1 or missing:
        what = f"no output '{outputs.name_of(missing[0])}'" if missing else "more than one input"
        raise UserError(
            f"{path}: {what}; it {_signature(session)}. Name the outputs, like --outputs="
            "boxes=dets:cxcywh_norm,scores=logits:sigmoid,labels:coco"
        )
    sides = given[0].shape[-3:-1] if inputs.layout == "nhwc" else given[0].shape[-2:]
    input_hw = (sides[0], sides[1]) if all(isinstance(side, int) for side in sides) else None
    if inputs.resize != "none" and input_hw is None:
        raise UserError(
            f"{path}: its input has no size of its own ({given[0].shape}), and resize:"
            f"{inputs.resize} needs one; export it with a fixed input, or say resize:none"
        )
    id_of = ids_of(outputs.labels, dataset)
    as_integers = given[0].type == "tensor(uint8)"

    def prepare(image: np.ndarray) -> np.ndarray:
        values = inputs.prepared(image, input_hw)
        return values.astype(np.uint8 if as_integers else np.float32)

    def call(batch: np.ndarray) -> dict[str, np.ndarray]:
        values = dict(zip(names, _ran(path, session, names, batch), strict=True))
        if raw:
            return _split(values[names[0]])
        dimensions = {"boxes": 2, "scores": 1 + outputs.by_class, "labels": 1}
        return {
            role: _alone(path, values[outputs.name_of(role)], dimensions[role], outputs, role)
            for role in outputs.roles
        }

    def detections_of(values: dict[str, np.ndarray], image_hw: list) -> list[ModelDetections]:
        height, width = image_hw[0]
        of_input = input_hw or (height, width)
        try:
            detections = outputs.detections(
                values,
                lambda boxes: inputs.to_image(boxes, (height, width), of_input),
                of_input,
                id_of,
            )
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        return [detections]

    return Model(
        call,
        max_batch=1,
        input_transform=prepare,
        collate=lambda images: images[0],
        output_transform=detections_of,
    )


def _ran(
    path: str | os.PathLike,
    session: "onnxruntime.InferenceSession",
    names: Sequence[str],
    batch: np.ndarray,
) -> list[np.ndarray]:
    """The outputs of one input.

    Raises:
      UserError: the model does not take it.
    """
    try:
        return session.run(names, {session.get_inputs()[0].name: batch})
    except Exception as error:  # its errors have no common type of their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: it fails on an input of {batch.dtype} {list(batch.shape)} ({first}). It "
            f"{_signature(session)}; say with --inputs=layout:…,pixels:…,resize:… how an image "
            "goes in, or export it again"
        ) from None


def _alone(
    path: str | os.PathLike, value: np.ndarray, dimensions: int, outputs: Outputs, role: str
) -> np.ndarray:
    """An output of one image, without its batch dimension where it has one.

    Raises:
      UserError: it has not so many dimensions, or is of several images.
    """
    if value.ndim == dimensions:
        return value
    if value.ndim == dimensions + 1 and len(value) == 1:
        return value[0]
    shapes = {
        "boxes": "[N, 4]",
        "scores": "[N, classes]" if outputs.by_class else "[N]",
        "labels": "[N]",
    }
    expected = ", ".join(f"{name} {shapes[name]}" for name in outputs.roles)
    raise UserError(
        f"{path}: the output '{outputs.name_of(role)}' has for an image the shape "
        f"{list(value.shape)}; by scores:{outputs.scores} these are expected: {expected}, with or "
        "without a leading 1. "
        "Name another output (boxes=NAME:…), another kind of scores, or export the model with a "
        "batch of 1"
    )


def _split(value: np.ndarray) -> dict[str, np.ndarray]:
    """YOLO's one output [1, 4 + classes, N] as boxes (N, 4) and scores (N, classes)."""
    rows = value[0].T if value.ndim == 3 else value
    if rows.ndim != 2 or rows.shape[1] < 5:
        raise UserError(
            f"an output of shape {list(value.shape)} is not [1, 4 + classes, N], boxes and scores"
        )
    return {"boxes": rows[:, :4], "scores": rows[:, 4:]}
