"""What tools/export.py writes beside the forms, and what each form keeps."""

from typing import Literal, NotRequired, TypedDict

from replicate.contracts.scores import Dataset, Latency
from tfrecords.json_shapes import Sha256

FormName = Literal["saved_model", "tflite", "tflite_float16", "tflite_int8", "onnx"]


class Normalization(TypedDict):
    """Of each channel: input = pixel × scale + offset."""

    scale: list[float]
    offset: list[float]


class FormInput(TypedDict):
    type: str
    pixels: str
    image_hw: NotRequired[list[int]]
    resize: NotRequired[Literal["stretch", "keep_aspect_pad"]]
    pad: NotRequired[list[float] | None]
    pad_where: NotRequired[str | None]
    kernel: NotRequired[str]
    normalization: NotRequired[Normalization | None]


class FormOutput(TypedDict):
    boxes: str
    classes: str
    scores: str
    count: str


class Quantization(TypedDict):
    scale: float
    zero_point: int


class Tensor(TypedDict):
    name: str
    shape: list[int | str | None]
    dtype: str
    quantization: NotRequired[Quantization | None]
    role: NotRequired[Literal["boxes", "classes", "scores", "count"] | None]


class Tensors(TypedDict):
    inputs: list[Tensor]
    outputs: list[Tensor]
    opset: NotRequired[dict[str, int]]


class RepresentativeImages(TypedDict):
    images: int
    source_ids: list[str]
    seed: int
    records: list[str]


class ExportedForm(TypedDict):
    path: str
    bytes: int
    sha256: Sha256
    input: FormInput
    output: FormOutput
    made_by: dict[str, str]
    max_detections: NotRequired[int]
    nms: NotRequired[Literal["regular", "fast"]]
    representative: NotRequired[RepresentativeImages]
    tensors: NotRequired[Tensors]


class ExportedCheckpoint(TypedDict):
    path: str
    sha256: dict[str, Sha256]


class ExportFile(TypedDict):
    """export.json: what was exported, how it was made, what goes in and what comes out."""

    format: int
    checkpoint: ExportedCheckpoint
    pipeline_config_sha256: Sha256
    labels: str | None
    forms: dict[FormName, ExportedForm]


class Rung(TypedDict):
    form: FormName | Literal["checkpoint"]
    path: str
    says: str
    preprocessing: Literal["the checkpoint's", "a device's"]
    AP: float | None
    AP50: float | None
    difference: float | None
    low: float | None
    high: float | None
    of: Literal["population", "samples"] | None
    kept: bool | None
    latency_ms: Latency | None
    warmup_batches: int | None
    device: str | None
    bytes: int


class LadderFile(TypedDict):
    """What each form of an export keeps of the checkpoint's AP."""

    format: int
    export: str
    dataset: Dataset
    tolerance_points: float
    rungs: list[Rung]
