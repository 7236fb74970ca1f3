"""The boxes that conversion dropped, from its ledger, drawn where the annotations have them."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from replicate import records
from replicate.report import gallery
from tfrecords import coco, manifest

if TYPE_CHECKING:
    from google.protobuf.message import Message

#: So many images are drawn, spread over the reasons.
MOST = 12
REASONS = {
    "box_empty": "no width or no height",
    "box_outside_image": "outside of the image",
    "box_negative": "begins left of or above the image",
    "box_not_finite": "a number of the box is not finite",
    "mask_empty": "its mask has no pixel",
    "segmentation": "its segmentation cannot be read",
}


def of(
    ledger: Iterable[dict],
    annotations_file: str | os.PathLike[str],
    image_dir: str | os.PathLike[str] | None,
) -> tuple[dict, dict[str, str]]:
    """The dropped boxes of a conversion.

    Args:
      ledger: its entries (image_id, annotation_id, reason).
      annotations_file: the COCO JSON that was converted.
      image_dir: folder of its images, or None.

    Returns:
      (dict: annotations_file, reasons (reason -> annotations dropped), and drawn: up to MOST
      images, each image_id, file_name, image_hw and boxes (box_xywh_px, category, crowd, reason);
      pictures: image id -> data URI). Annotations of an image that could not be read are counted
      and not drawn.

    Raises:
      InputError: annotations that cannot be read.
    """
    of_image: dict[int, dict[int, str]] = {}
    reasons: Counter[str] = Counter()
    for entry in ledger:
        if entry.get("annotation_id") is not None and entry.get("image_id") is not None:
            reasons[entry["reason"]] += 1
            of_image.setdefault(entry["image_id"], {})[entry["annotation_id"]] = entry["reason"]
    drawn = list(_drawn(of_image, annotations_file)) if of_image else []
    images = [{"id": image["image_id"], "file_name": image["file_name"]} for image in drawn]
    section = {
        "annotations_file": os.fspath(annotations_file),
        "reasons": dict(reasons.most_common()),
        "drawn": drawn,
    }
    return section, gallery.pictures(images, image_dir)


def _drawn(
    of_image: dict[int, dict[int, str]], annotations_file: str | os.PathLike[str]
) -> Iterator[dict]:
    source = coco.load(annotations_file)
    places = {image.id: index for index, image in enumerate(source.images)}
    for image_id in _chosen({key: rows for key, rows in of_image.items() if key in places}):
        image, wanted = source.image(places[image_id]), of_image[image_id]
        objects = image.objects
        boxes: list[dict] = [
            {
                "box_xywh_px": [round(value, 2) for value in objects.boxes_xywh_px[row]],
                "category": source.categories.get(objects.category_ids[row], "?"),
                "crowd": bool(objects.crowd[row]),
                "reason": wanted[objects.ids[row]],
            }
            for row in range(len(objects.ids))
            if objects.ids[row] in wanted
        ]
        yield {
            "image_id": image_id,
            "file_name": image.file_name,
            "image_hw": list(image.image_hw),
            "boxes": [box for box in boxes if _finite(box["box_xywh_px"])],
        }


def _chosen(of_image: dict[int, dict[int, str]]) -> list[int]:
    """Image ids, the reasons in turn, so that a rare one is drawn as well."""
    by_reason: dict[str, list[int]] = {}
    for image_id, rows in of_image.items():
        for reason in dict.fromkeys(rows.values()):
            by_reason.setdefault(reason, []).append(image_id)
    chosen: dict[int, None] = {}
    for turn in range(max(map(len, by_reason.values()), default=0)):
        for image_ids in by_reason.values():
            if turn < len(image_ids) and len(chosen) < MOST:
                chosen[image_ids[turn]] = None
    return list(chosen)


def _finite(box: list[float]) -> bool:
    return all(abs(value) < float("inf") for value in box)  # NaN compares false


def of_records(config: "Message") -> tuple[dict, dict[str, str], str]:
    """`of` the conversion that made a config's training records.

    Returns:
      (`of`'s dict, its pictures, ""); ({}, {}, why) where nothing is known of a conversion.
    """
    held = records.of_reader(config.train_input_reader)
    if held.manifest is None:
        return {}, {}, held.damaged or "no manifest of a conversion lies beside the records"
    source, path = held.manifest["source"], manifest.ledger_path_of(held.output_path)
    if not os.path.isfile(path):
        return {}, {}, f"{path}: the conversion's ledger is not there"
    annotations_file = source.get("annotations_file") or ""
    with open(path, encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines if line.strip()]
    if not any(entry.get("annotation_id") is not None for entry in entries):
        return {"annotations_file": annotations_file, "reasons": {}, "drawn": []}, {}, ""
    if not os.path.isfile(annotations_file):
        counted = Counter(
            entry["reason"] for entry in entries if entry.get("annotation_id") is not None
        )
        alone: dict = {"annotations_file": annotations_file, "reasons": dict(counted), "drawn": []}
        return alone, {}, f"{annotations_file}: the annotations are not there, so none is drawn"
    section, pictures = of(entries, annotations_file, source.get("image_dir"))
    return section, pictures, ""
