"""Albumentations' normalized corners, as JSON Lines: one image a line.

    {"image_id": 7, "file_name": "a.jpg", "height": 480, "width": 640,
     "bboxes": [[0.1, 0.2, 0.5, 0.6]], "labels": ["dog"],
     "category_ids": [18], "ids": [3], "areas": [12000.5], "iscrowd": [0]}

`bboxes` is what `A.BboxParams(format="albumentations")` takes, (x_min, y_min, x_max, y_max) over
the image's size; the lists beside it are its label fields. Everything survives but segmentations;
categories without an annotation are lost.
"""

import json
import os

from tfrecords import checked_json, coco, formats
from tfrecords.errors import InputError
from tfrecords.formats import contract
from tfrecords.whole_files import refuse_existing, written_whole

_LISTS = ("bboxes", "labels", "category_ids", "ids", "areas", "iscrowd")


def write(source: coco.Source, path: str | os.PathLike) -> dict[str, int]:
    """Writes the images and annotations of a `coco.Source`.

    Returns:
      dict of counts: images, annotations.
    """
    refuse_existing(path)
    with written_whole(path) as file:
        for index in range(len(source.images)):
            line = json.dumps(_line(source.image(index), source.categories), ensure_ascii=False)
            file.write(line + "\n")
    return {
        "images": len(source.images),
        "annotations": source.num_annotations - len(source.unknown),
        "unknown_image_or_category": len(source.unknown),
    }


def read(path: str | os.PathLike) -> dict:
    """The content of a COCO JSON from a file that `write`, or a script like it, made.

    "ids", "areas", "iscrowd" and "image_id" may be absent: ids then count from 1, areas are the
    boxes', nothing is crowd.

    Raises:
      InputError: a line is not JSON, lacks a field, or its lists differ in length.
    """
    images: list[dict] = []
    annotations: list[dict] = []
    categories: dict[int, str] = {}
    rows = contract.Rows()
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                with contract.named(f"{path}:{number}"):
                    _read_line(checked_json.loads(line), images, annotations, categories, rows)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return formats.document(images, annotations, dict(sorted(categories.items())))


def _line(image: coco.SourceImage, categories: dict[int, str]) -> dict:
    objects, (height, width) = image.objects, image.image_hw
    return {
        "image_id": image.id,
        "file_name": image.file_name,
        "height": height,
        "width": width,
        "bboxes": [
            [x / width, y / height, (x + w) / width, (y + h) / height]
            for x, y, w, h in objects.boxes_xywh_px
        ],
        "labels": [categories[category_id] for category_id in objects.category_ids],
        "category_ids": objects.category_ids,
        "ids": objects.ids,
        "areas": objects.areas_px,
        "iscrowd": objects.crowd,
    }


def _read_line(
    line: dict,
    images: list[dict],
    annotations: list[dict],
    categories: dict[int, str],
    rows: contract.Rows,
) -> None:
    image_id = line.get("image_id", len(images) + 1)
    height, width = line["height"], line["width"]
    rows.image(image_id, line["file_name"], (height, width))
    images.append(
        {"id": image_id, "file_name": line["file_name"], "height": height, "width": width}
    )
    count = len(line["bboxes"])
    lists = {name: line.get(name) for name in _LISTS}
    for name, values in lists.items():
        if values is not None and len(values) != count:
            raise ValueError(f"{len(values)} {name} for {count} bboxes")
    for row, (x0, y0, x1, y1) in enumerate(line["bboxes"]):
        box = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height]
        category_id, name = line["category_ids"][row], line["labels"][row]
        if isinstance(category_id, bool) or not isinstance(category_id, int):
            raise ValueError(f"category id {category_id!r} is no whole number")
        if not isinstance(name, str):
            raise ValueError(f"label {name!r} is no text")
        if categories.setdefault(category_id, name) != name:
            raise ValueError(
                f"category {category_id} is named {name!r}, before {categories[category_id]!r}"
            )
        annotation = {
            "id": lists["ids"][row] if lists["ids"] else len(annotations) + 1,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": box,
            "area": lists["areas"][row] if lists["areas"] else box[2] * box[3],
            "iscrowd": lists["iscrowd"][row] if lists["iscrowd"] else 0,
        }
        rows.annotation(
            annotation["id"], category_id, box, annotation["area"], annotation["iscrowd"]
        )
        annotations.append(annotation)
