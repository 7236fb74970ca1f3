"""A zoo archive, or any SavedModel with the zoo's signature."""

import atexit
import os
import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from replicate import archive
from replicate.benchmarking.adapters.frameworks import (
    tensorflow,
    tensorflow_device,
    tensorflow_tf32,
    tensorflow_version,
)
from replicate.benchmarking.adapters.labels import category_ids_of
from replicate.benchmarking.model import Deferred, Model, sha256_of, sha256_of_files
from replicate.errors import UserError
from tfrecords.whole_files import temporary_folder

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset


_OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


def of(
    path: str | os.PathLike,
    dataset: "Dataset",
    labels: str | os.PathLike | None = None,
    tf32: bool = True,
) -> Deferred:
    """A SavedModel: uint8 images [1, height, width, 3] -> the API's detections.

    Args:
      path: a folder with saved_model.pb, the folder of an unpacked zoo archive, or the archive
        (.tar.gz).
      dataset: Dataset; names in `labels` become its category ids.
      labels: file with a class name a line; by default classes are category ids (one that is
        none of the file's is left out, as `tools/evaluate.py` does).
      tf32: whether a GPU that can may compute float32 in TensorFloat-32, as TensorFlow does by
        default; it is set for the whole process.
    """
    path = pathlib.Path(path)
    if path.is_file():
        name, content = path.name.removesuffix(".tgz").removesuffix(".tar.gz"), [path]
        folder = path
    else:
        folder = path if (path / "saved_model.pb").is_file() else path / "saved_model"
        name = path.parent.name if path.name == "saved_model" else path.name
        content = sorted(file for file in folder.rglob("*") if file.is_file())
    id_of = category_ids_of(folder, labels, dataset)
    names = [] if path.is_file() else [str(file.relative_to(folder)) for file in content]
    return Deferred(
        name,
        sha256_of(
            *("saved_model", tensorflow_version(), names, sha256_of_files(content)),
            *(list(id_of), tf32),
        ),
        lambda: _model(path, _unpacked(path) if path.is_file() else folder, name, id_of, tf32),
    )


def _model(
    path: pathlib.Path, folder: pathlib.Path, name: str, id_of: list[int | None], tf32: bool
) -> Model:
    tf = tensorflow()
    from replicate.evaluate import detections

    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{path}: TensorFlow cannot load it ({_first_line(error)})") from None
    signature = loaded.signatures.get("serving_default")
    outputs = signature.structured_outputs if signature else {}
    missing = [output_name for output_name in _OUTPUTS if output_name not in outputs]
    if missing:
        raise UserError(
            f"{path}: its signature has no output '{missing[0]}'; the zoo's has "
            f"{', '.join(_OUTPUTS)}"
        )
    entry = next(iter(signature.structured_input_signature[1].values()))
    if entry.dtype not in (tf.uint8, tf.float32):
        raise UserError(
            f"{path}: its signature takes {entry.dtype.name}, not an image's pixels; export it "
            "with --input_type=image_tensor"
        )

    def call(batch: Any) -> dict:
        # `loaded` is named here to keep its variables alive.
        return loaded.signatures["serving_default"](**{entry.name: batch})

    def detections_of(outputs: dict, image_hw: list) -> list[list[dict]]:
        output = {key: value.numpy()[0] for key, value in outputs.items()}
        if "image_info" in output:  # TF-Vision's: boxes in pixels of the resized image
            size, _, scale, _ = output["image_info"]
            output["detection_boxes"] = output["detection_boxes"] / np.tile(scale * size, 2)
        # Classes count from 1 in the signature, from 0 in the API's own outputs.
        output["detection_classes"] = output["detection_classes"] - 1
        return [detections.of_image(0, np.array(image_hw[0]), output, id_of)]

    return Model(
        call,
        name=name,
        device=tensorflow_device(),
        tf32=tensorflow_tf32(tf32),
        # Images of one batch have one size; the zoo's signature takes one image.
        max_batch=1,
        decoder="tensorflow",
        collate=np.stack,
        to_device=lambda batch: tf.cast(tf.constant(batch), entry.dtype),
        output_transform=detections_of,
    )


def _unpacked(path: pathlib.Path) -> pathlib.Path:
    """The SavedModel of an archive, unpacked until the process ends."""
    place = temporary_folder("replicate-archive-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    folder = archive.unpack(path, place / "model") / "saved_model"
    if not (folder / "saved_model.pb").is_file():
        raise UserError(f"{path}: no saved_model/saved_model.pb in it; is it a released zoo model?")
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
