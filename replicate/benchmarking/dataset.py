"""The images of a COCO annotation file, and the identity of what they hold."""

import dataclasses
import functools
import hashlib
import os
import pathlib

from replicate.errors import UserError
from replicate.score.groundtruth import Groundtruth


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Annotated images.

    Attributes:
      annotations_file: COCO annotations (`.json`, `.json.gz`).
      image_dir: the folder of their files; None where detections from a file are scored, which
        takes no pixels.
      num_images: only the first so many, in ascending order of id; None for all.
    """

    annotations_file: str | os.PathLike
    image_dir: str | os.PathLike | None = None
    num_images: int | None = None

    @classmethod
    def of(cls, given: "Dataset | tuple[str | os.PathLike, str | os.PathLike | None]") -> "Dataset":
        """A Dataset, or a pair (annotations_file, image_dir)."""
        if isinstance(given, cls):
            return given
        try:
            annotations_file, image_dir = given  # type: ignore[misc]  # a pair, or it is told
        except (TypeError, ValueError):
            raise UserError(
                f"dataset: expected (annotations_file, image_dir), got {given!r}"
            ) from None
        return cls(annotations_file, image_dir)

    @functools.cached_property
    def groundtruth(self) -> Groundtruth:
        return Groundtruth.read(self.annotations_file)

    @functools.cached_property
    def images(self) -> list[tuple[int, pathlib.Path]]:
        """list of (image id, path), in ascending order of id.

        Raises:
          UserError: the folder or an image is not there.
        """
        if self.image_dir is None:
            raise UserError(
                "a model that is run, or drawing, needs the images: name their folder, --image_dir"
            )
        folder = pathlib.Path(self.image_dir)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such image folder")
        names = self.groundtruth.file_names
        image_ids = sorted(names)[: self.num_images]
        files = [(image_id, folder / names[image_id]) for image_id in image_ids]
        missing = [path for image_id, path in files if not names[image_id] or not path.is_file()]
        if missing:
            raise UserError(
                f"{folder}: {len(missing)} of {len(files)} images of {self.annotations_file} are "
                f"not there, the first {missing[0].name or '(without a file_name)'}; is it the "
                "folder of this annotation file?"
            )
        return files

    def without_images(self) -> "Dataset":
        """The same without the pixels."""
        return dataclasses.replace(self, image_dir=None)

    @functools.cached_property
    def identity(self) -> dict:
        """dict of SHA-256: of the annotations, and of the images' ids and contents.

        Without an image folder the latter is None.
        """
        if self.image_dir is None:
            return {
                "annotations_sha256": self.groundtruth.sha256,
                "images_sha256": None,
                "images": len(sorted(self.groundtruth.file_names)[: self.num_images]),
            }
        digest = hashlib.sha256()
        for image_id, path in self.images:
            digest.update(f"{image_id} ".encode())
            with open(path, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return {
            "annotations_sha256": self.groundtruth.sha256,
            "images_sha256": digest.hexdigest(),
            "images": len(self.images),
        }
