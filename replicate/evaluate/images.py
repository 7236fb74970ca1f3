"""The images of a COCO annotation file, found and checked before the first one is detected."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable

from replicate.errors import UserError
from tfrecords import annotation_file


def bytes_sha256(images: "Iterable[EvaluatedImage]") -> str:
    """SHA-256 over images' ids and bytes, by ascending id: what was evaluated, to the pixel."""
    digest = hashlib.sha256()
    for image in sorted(images, key=lambda image: image.id):
        content = pathlib.Path(image.path).read_bytes()
        digest.update(f"{image.id} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class EvaluatedImage:
    """One image of the annotation file. `image_hw` is what the file says, in pixels."""

    id: int
    path: str
    image_hw: tuple[int, int]


def of(
    annotations_file: str | os.PathLike, image_dir: str | os.PathLike
) -> tuple[list[EvaluatedImage], dict[int, str]]:
    """The images to evaluate, in the annotation file's order, and its categories.

    Returns:
      (list of EvaluatedImage, {category id: name}).

    Raises:
      UserError: not a COCO annotation file, no such folder, or an image that is not there.
    """
    file = annotation_file.read(annotations_file)
    for index, entry in enumerate(file.images):
        if entry.file_name is None:
            raise UserError(str(file.lacks("images", index, "file_name")))
    folder = pathlib.Path(image_dir)
    if not folder.is_dir():
        raise UserError(f"{image_dir}: no such image folder")
    images = [
        EvaluatedImage(entry.id, str(folder / entry.known_file_name), (entry.height, entry.width))
        for entry in file.images
    ]
    if not images:
        raise UserError(f"{annotations_file}: no images in it")
    missing = [image for image in images if not pathlib.Path(image.path).is_file()]
    if missing:
        raise UserError(
            f"{image_dir}: {len(missing)} of {len(images)} images are not there, first "
            f"{missing[0].path} (image id {missing[0].id}); is it the folder of {annotations_file}?"
        )
    return images, {entry.id: entry.name for entry in file.categories}
