"""YOLO text, converted by hotcoco.

Boxes are centre and size over the image's; classes are 0-based in the order of data.yaml; ids and
areas are lost, crowds are left out.
"""

import os
import pathlib
import re

from tfrecords import annotation_file, coco, formats
from tfrecords.errors import InputError
from tfrecords.formats import contract
from tfrecords.hotcoco_loaded import hotcoco

_LINE = re.compile(r"\d+( -?\d+\.\d{6}){4}")


def read(folder: str | os.PathLike, image_dir: str | os.PathLike) -> dict:
    """The annotations of FOLDER/*.txt with FOLDER/data.yaml.

    Args:
      folder: the label files, named like the images.
      image_dir: the images; their sizes scale the boxes, their extensions complete the names.

    Returns:
      COCO content; ids count from 1, category ids are the class numbers plus 1.

    Raises:
      InputError: data.yaml or an image is missing, a label file is malformed.
    """
    names: dict[str, str] = {}
    for path in sorted(pathlib.Path(image_dir).glob("*")):
        if path.stem in names:
            raise InputError(
                f"{image_dir}: {names[path.stem]} and {path.name} would have the same label file"
            )
        names[path.stem] = path.name
    labels = [path for path in pathlib.Path(folder).glob("*.txt")]
    missing = sorted(path.name for path in labels if path.stem not in names)
    if missing or not labels:
        lack = f"no image for {', '.join(missing[:3])}" if missing else "no label files (*.txt)"
        raise InputError(f"{folder}: {lack}; the images are looked for in {image_dir}")
    with contract.converted(folder, "not YOLO labels"):
        content = hotcoco.COCO.from_yolo(str(folder), images_dir=str(image_dir)).dataset
    for image in content["images"]:
        image["file_name"] = names[pathlib.PurePath(image["file_name"]).name]
    return contract.checked(content, folder)


def write(annotations_file: str | os.PathLike, folder: str | os.PathLike) -> dict[str, int]:
    """Writes FOLDER/*.txt, one an image, and FOLDER/data.yaml.

    Returns:
      dict of counts: images, annotations, skipped_crowd, skipped_no_bbox.

    Raises:
      InputError: the annotation file is not COCO, two images share a stem, or the folder exists.
    """
    coco.load(annotations_file)  # names what is wrong, which hotcoco may take as it is
    with formats.new_folder(folder) as partial, contract.converted(annotations_file, "not written"):
        counts = hotcoco.COCO(annotation_file.for_library(annotations_file)).to_yolo(str(partial))
        # hotcoco says nothing of a write that failed.
        lines = 0
        for path in partial.glob("*.txt"):
            written = path.read_text(encoding="utf-8").splitlines()
            lines += len(written)
            if not all(map(_LINE.fullmatch, written)):
                raise InputError(
                    f"{folder}: {path.name} could not be written whole; is there room?"
                )
        if lines != counts["annotations"]:
            raise InputError(f"{folder}: {lines} of {counts['annotations']} boxes could be written")
        return counts
