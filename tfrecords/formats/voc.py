"""Pascal VOC XML, converted by hotcoco.

Boxes are corners in whole pixels, counted from 1 and inclusive, so positions move by up to half a
pixel; ids, areas and segmentations are lost; a crowd becomes "difficult" and comes back as crowd.
"""

import os

from tfrecords import annotation_file, coco, formats
from tfrecords.errors import InputError
from tfrecords.formats import contract
from tfrecords.hotcoco_loaded import hotcoco


def read(folder: str | os.PathLike) -> dict:
    """The annotations of FOLDER/Annotations/*.xml (or FOLDER/*.xml).

    Returns:
      COCO content; ids count from 1, categories are in the order of FOLDER/labels.txt, or
      alphabetical.

    Raises:
      InputError: no such folder, no XML file in it, or one that is malformed.
    """
    with contract.converted(folder, "not Pascal VOC annotations"):
        content = hotcoco.COCO.from_voc(str(folder)).dataset
    if not content["images"]:
        raise InputError(f"{folder}: holds no *.xml, neither itself nor in Annotations/")
    return contract.checked(content, folder)


def write(annotations_file: str | os.PathLike, folder: str | os.PathLike) -> dict[str, int]:
    """Writes FOLDER/Annotations/*.xml and FOLDER/labels.txt.

    Returns:
      dict of counts: images, annotations, crowd_as_difficult, skipped_no_bbox.

    Raises:
      InputError: the annotation file is not COCO, or the folder exists.
    """
    coco.load(annotations_file)  # names what is wrong, which hotcoco may take as it is
    with formats.new_folder(folder) as partial, contract.converted(annotations_file, "not written"):
        counts = hotcoco.COCO(annotation_file.for_library(annotations_file)).to_voc(str(partial))
        # hotcoco says nothing of a write that failed.
        for path in partial.rglob("*.xml"):
            if not path.read_bytes().rstrip().endswith(b"</annotation>"):
                raise InputError(
                    f"{folder}: {path.name} could not be written whole; is there room?"
                )
        return counts
