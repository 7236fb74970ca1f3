"""A zoo archive, or any SavedModel with the zoo's signature."""

import atexit
import pathlib
import shutil
import tarfile
import tempfile

import numpy as np

from replicate.benchmarking.adapters.frameworks import tensorflow, tensorflow_device
from replicate.benchmarking.adapters.labels import read_labels
from replicate.benchmarking.model import Deferred, Found, Model, sha256_of, sha256_of_files
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
    to_id = read_labels(labels, dataset)
    label_text = labels and pathlib.Path(labels).read_text(encoding="utf-8")
    return Deferred(
        name,
        sha256_of("saved_model", _sha256(folder), label_text),
        lambda: _model(path, folder, name, to_id),
    )


def _model(path, folder, name, to_id):
    tf = tensorflow()
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
        values = {key: value.numpy() for key, value in outputs.items()}
        return [_found(values, row, hw, to_id) for row, hw in enumerate(image_hw)]

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


def _found(values, row, image_hw, to_id):
    height, width = image_hw
    count = int(values["num_detections"][row])
    scale = np.array([height, width, height, width], np.float32)
    y1, x1, y2, x2 = (values["detection_boxes"][row, :count].astype(np.float32) * scale).T
    # Classes count from 1 here.
    category_ids, known = to_id(values["detection_classes"][row, :count].astype(int) - 1)
    masks = values.get("detection_masks")
    if masks is not None:
        masks = full_size(masks[row, :count], values["detection_boxes"][row, :count], image_hw)
        masks = masks[known]
    keypoints = values.get("detection_keypoints")
    if keypoints is not None:
        points_yx_norm = keypoints[row, :count]
        xy = points_yx_norm[..., ::-1] * [width, height]
        keypoints = np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=2)[known]
    return Found(
        np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)[known],
        values["detection_scores"][row, :count][known],
        category_ids[known],
        masks=masks,
        keypoints=keypoints,
    )


def full_size(masks, boxes_yxyx_norm, image_hw):
    """Masks relative to their box [N, h, w] as bool masks of the image [N, height, width].

    The image's corners are found in each box's coordinates, where the mask is sampled at the
    image's pixels; beyond the box there is nothing. A mask that has the image's size is taken as
    it is.
    """
    if masks.shape[1:] == tuple(image_hw):
        return masks > 0.5
    low, high = boxes_yxyx_norm[:, :2], boxes_yxyx_norm[:, 2:]
    size = np.maximum(high - low, 1e-8)
    image_in_box = np.concatenate([-low / size, (1 - low) / size], axis=1)
    full = tensorflow().image.crop_and_resize(
        masks[..., np.newaxis].astype(np.float32),
        image_in_box.astype(np.float32),
        np.arange(len(masks)),
        image_hw,
    )
    return full[..., 0].numpy() > 0.5


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
