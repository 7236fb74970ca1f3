"""`export`: one checkpoint in several forms, and the record of how they were made."""

import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate.errors import UserError
from replicate.export import contract, forms, labels, onnx, representative, saved_model, tflite
from replicate.export.pixels import Pixels
from replicate.export.progress import Stages
from replicate.run import write_json, write_text
from tfrecords import label_map
from tfrecords.whole_files import temporary_folder

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.evaluate.detector import Detector

RECORD = "export.json"
# The zoo's own number of detections, over which COCO's AP is taken.
MAX_DETECTIONS = 100


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the forms are made.

    Attributes:
      input_type: of the SavedModel, one of saved_model.INPUT_TYPES.
      max_detections: detections an image of the TFLite forms.
      nms: suppression of an SSD's TFLite forms: "regular" or "fast" (see `tflite.write_graph`).
      representative: images of the training records for "tflite_int8".
      seed: of their sample.
    """

    input_type: str = "image_tensor"
    max_detections: int = MAX_DETECTIONS
    nms: str = "regular"
    representative: int = 200
    seed: int = 0


def export(
    config: "Message",
    checkpoint: str | os.PathLike,
    output_directory: str | os.PathLike,
    input_type: str = "image_tensor",
    names: tuple[str, ...] = ("saved_model",),
    settings: Settings | None = None,
    progress: bool = False,
    images: "representative.Representative | None" = None,
    beside: str | os.PathLike | None = None,
) -> str:
    """Exports a checkpoint; where the config evaluates moving averages, those are the weights.

    Args:
      config: TrainEvalPipelineConfig.
      checkpoint: prefix of a TF2 checkpoint (`…/ckpt-400`), or a folder with one.
      output_directory: a folder that is not there yet, or is empty; it appears complete.
      input_type: one of INPUT_TYPES; what the SavedModel takes: uint8 images [1, height, width,
        3], float32 images [n, height, width, 3], encoded images [n], serialized tf.Examples [n].
        `settings` overrides it.
      names: the forms, of `forms.FORMS`.
      settings: Settings.
      progress: whether to draw a progress line.
      images: of "tflite_int8": a representative.Representative in place of a sample of the
        training records.
      beside: the config's folder; records and label map that are not where the config says are
        looked for from there.

    Returns:
      prefix of the checkpoint that was exported.

    Raises:
      UserError: a form that the model does not have, no such checkpoint, not this model's, or the
        folder holds something.
    """
    settings = settings or Settings(input_type=input_type)
    if settings.input_type not in saved_model.INPUT_TYPES:
        raise UserError(
            f"input type '{settings.input_type}'; there are: {', '.join(saved_model.INPUT_TYPES)}"
        )
    forms.check(config, names)
    if "onnx" in names:
        onnx.require()
        if settings.input_type != "image_tensor":
            raise UserError("onnx: made of the SavedModel that takes an image_tensor alone")
    if "tflite_int8" in names and images is None:
        representative.shards(config, beside)  # told before minutes of work, not after
    output = pathlib.Path(output_directory)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: is there already; name a folder that is not")
    from replicate.evaluate.detector import Detector, find_checkpoint

    prefix = find_checkpoint(checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = temporary_folder(f"{output.name}.", output.parent)
    try:
        made = beside / "export"
        made.mkdir()
        with Stages(["the model and its weights", *_stages(names)], progress) as stages:
            with stages.next():
                detector = Detector(config)
                detector.restore(prefix)
                weights = saved_model.write_weights(detector.model, beside / "weights")
            written: dict[str, dict[str, Any]] = {}
            if {"saved_model", "onnx"} & set(names):
                written |= _saved_models(config, weights, beside, names, settings, stages)
            if set(forms.TFLITE) & set(names):
                written |= _tflites(
                    config, detector, weights, made, names, settings, stages, images, beside
                )
        if "saved_model" not in names:
            saved_model.write_checkpoint(config, weights, made)
        write_json(made / RECORD, _record(config, prefix, made, written, beside))
        if output.exists():
            output.rmdir()
        made.rename(output)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return prefix


def _stages(names: Collection[str]) -> Iterator[str]:
    """What `export` does after the model is there, in its order."""
    if {"saved_model", "onnx"} & set(names):
        yield "SavedModel"
    if "onnx" in names:
        yield "ONNX"
    if set(forms.TFLITE) & set(names):
        yield "the API's TFLite graph"
    for name in forms.TFLITE:
        if name in names:
            yield forms.FORMS[name].says


def _saved_models(
    config: "Message",
    weights: pathlib.Path,
    beside: pathlib.Path,
    names: Collection[str],
    settings: Settings,
    stages: Stages,
) -> dict[str, dict[str, Any]]:
    """{form: what the record says of it}, for the SavedModel and what is made of it."""
    import tensorflow as tf

    made, folder = beside / "export", beside / "saved_model"
    written = {}
    with stages.next():
        saved_model.write(config, weights, folder, settings.input_type)
        of_it = contract.of_saved_model(settings.input_type)
    if "onnx" in names:
        with stages.next():
            path = made / forms.FORMS["onnx"].file
            onnx.convert(folder / "saved_model", path, beside / "tf2onnx.log")
            written["onnx"] = of_it | {"tensors": onnx.described(path), "made_by": onnx.versions()}
    if "saved_model" in names:
        for part in folder.iterdir():
            part.rename(made / part.name)
        written["saved_model"] = of_it | {"made_by": {"tensorflow": tf.__version__}}
    return written


def _tflites(
    config: "Message",
    detector: "Detector",
    weights: pathlib.Path,
    made: pathlib.Path,
    names: Collection[str],
    settings: Settings,
    stages: Stages,
    images: "representative.Representative | None",
    beside: str | os.PathLike | None,
) -> dict[str, dict[str, Any]]:
    """{form: what the record says of it}, for the TFLite forms."""
    import tensorflow as tf

    with stages.next():
        of_it = contract.of_tflite(config, detector)
        given = Pixels.of_contract(of_it["input"])
        graph = tflite.write_graph(
            config, weights, made.parent / "tflite", settings.max_detections, settings.nms
        )
    written = {}
    for name in forms.TFLITE:
        if name not in names:
            continue
        with stages.next():
            of_form = of_it | {
                "made_by": {"tensorflow": tf.__version__},
                "max_detections": settings.max_detections,
            }
            if config.model.WhichOneof("model") == "ssd":
                of_form["nms"] = settings.nms
            chosen: list[np.ndarray] = []
            if name == "tflite_int8":
                images = images or representative.sample(
                    config, given.prepared, settings.representative, settings.seed, beside
                )
                chosen, of_form["representative"] = images.images, images.to_json()
            content = tflite.convert(graph, name, chosen)
            (made / forms.FORMS[name].file).write_bytes(content)
            written[name] = of_form | {"tensors": tflite.described(content)}
    return written


def _record(
    config: "Message",
    prefix: str,
    made: pathlib.Path,
    written: dict[str, dict[str, Any]],
    beside: str | os.PathLike | None,
) -> dict[str, Any]:
    """The content of export.json."""
    names = labels.of_config(config, beside)
    if names is not None:
        write_text(made / labels.FILE, "\n".join(labels.by_index(names)) + "\n")
        label_map.write(names, made / labels.LABEL_MAP)
    text = config.SerializeToString(deterministic=True)
    for name in written:
        path = made / forms.FORMS[name].file
        written[name] = {
            "path": path.name,
            "bytes": sum(file.stat().st_size for file in files_of(path)),
            "sha256": sha256_of(path),
        } | written[name]
    return {
        "format": 1,
        "checkpoint": {
            "path": str(prefix),
            "sha256": {
                pathlib.Path(path).name: _sha256(path)
                for path in sorted(
                    pathlib.Path(prefix).parent.glob(pathlib.Path(prefix).name + ".*")
                )
            },
        },
        "pipeline_config_sha256": hashlib.sha256(text).hexdigest(),
        "labels": labels.FILE if names is not None else None,
        "forms": {name: written[name] for name in forms.FORMS if name in written},
    }


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The files of a form: the file itself, or those of its folder."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def sha256_of(path: pathlib.Path) -> str:
    """A hash of a form's content: of a folder, of its files' names and hashes."""
    if path.is_file():
        return _sha256(path)
    digest = hashlib.sha256()
    for file in files_of(path):
        digest.update(f"{file.relative_to(path)} {_sha256(file)}\n".encode())
    return digest.hexdigest()


def _sha256(path: str | os.PathLike) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
