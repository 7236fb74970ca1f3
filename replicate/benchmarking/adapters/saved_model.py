"""A zoo archive, or any SavedModel with the zoo's signature."""

import atexit
import pathlib
import shutil
import tarfile
import tempfile

import numpy as np

from replicate.benchmarking.adapters.frameworks import tensorflow, tensorflow_device
from replicate.benchmarking.adapters.labels import category_ids
from replicate.benchmarking.model import Deferred, Model, sha256_of, sha256_of_files
from replicate.errors import UserError

_OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


def of(path, dataset, labels=None):
    """A SavedModel: uint8 images [1, height, width, 3] -> the API's detections.

    Args:
      path: a folder with saved_model.pb, the folder of an unpacked zoo archive, or the archive
        (.tar.gz).
      dataset: Dataset; names in `labels` become its category ids.
      labels: file with a class name a line; by default classes are COCO's ids.
    """
    folder, name = _folder(pathlib.Path(path))
    id_of = category_ids(labels, dataset)
    return Deferred(
        name,
        sha256_of("saved_model", _sha256(folder), str(id_of)),
        lambda: _model(path, folder, name, id_of),
    )


def _model(path, folder, name, id_of):
    tf = tensorflow()
    from replicate.evaluate import detections

    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{path}: TensorFlow cannot load it ({_first_line(error)})") from None
    signature = loaded.signatures.get("serving_default")
    outputs = signature.structured_outputs if signature else {}
    missing = [each for each in _OUTPUTS if each not in outputs]
    if missing:
        raise UserError(
            f"{path}: its signature has no output '{missing[0]}'; the zoo's has "
            f"{', '.join(_OUTPUTS)}"
        )
    entry = next(iter(signature.structured_input_signature[1].values()))

    def call(batch):
        # `loaded` is named here to keep its variables alive.
        return loaded.signatures["serving_default"](**{entry.name: batch})

    def found(outputs, image_hw):
        output = {key: value.numpy()[0] for key, value in outputs.items()}
        # Classes count from 1 in the signature, from 0 in the API's own outputs.
        output["detection_classes"] = output["detection_classes"] - 1
        return [detections.of_image(0, np.array(image_hw[0]), output, id_of)]

    return Model(
        call,
        name=name,
        device=tensorflow_device(),
        # Images of one batch have one size; the zoo's signature takes one image.
        max_batch=1,
        collate=np.stack,
        to_device=tf.constant,
        output_transform=found,
    )


def _folder(path):
    """The folder with saved_model.pb, and the model's name."""
    if path.is_dir():
        inner = path / "saved_model"
        folder = path if (path / "saved_model.pb").is_file() else inner
        name = path.parent.name if path.name == "saved_model" else path.name
        return folder, name
    name = path.name.removesuffix(".tar.gz").removesuffix(".tgz")
    unpacked = pathlib.Path(tempfile.mkdtemp(prefix="replicate-archive-"))
    atexit.register(shutil.rmtree, unpacked, ignore_errors=True)
    try:
        with tarfile.open(path) as archive:
            members = [each for each in archive if "saved_model/" in f"{each.name}/"]
            archive.extractall(unpacked, members, filter="data")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{path}: not a readable archive ({error})") from None
    found = sorted(unpacked.rglob("saved_model.pb"))
    if not found:
        raise UserError(f"{path}: no saved_model/ in it; is it an archive of the zoo?")
    return found[0].parent, name


def _sha256(folder):
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    return sha256_of([str(each.relative_to(folder)) for each in files], sha256_of_files(files))


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
