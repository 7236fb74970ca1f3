"""One image and its annotations to one record: the features of the API's create_coco_tf_record."""

import dataclasses
import hashlib
from collections import Counter
from typing import Any

import msgspec

from tfrecords import boxes, example, images, masks
from tfrecords.annotation_file import COCO_KEYPOINTS
from tfrecords.coco import SourceImage
from tfrecords.errors import BadImage, InputError

_LARGEST_FLOAT32 = 3.4028234663852886e38  # what a record can hold
_HOW_TO_SKIP = "; --on_error=skip leaves it out and lists it in the ledger"


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """What a conversion was asked for; part of the manifest.

    Attributes:
      include_masks: whether records hold instance masks.
      include_keypoints: whether records hold keypoints.
      invalid_boxes: "skip", "clip" or "error" (`boxes.corners`).
      keep_images_without_annotations: whether an image none of whose annotations arrives becomes
        a record.
      on_error: "stop" at an image or annotation that cannot be used, or "skip" it.
      include_class_labels: whether records hold the category ids as image/object/class/label,
        which TF-Vision's decoder reads; the API's converter writes the names alone.
    """

    include_masks: bool = False
    include_keypoints: bool = False
    invalid_boxes: str = "skip"
    keep_images_without_annotations: bool = True
    on_error: str = "stop"
    include_class_labels: bool = False


@dataclasses.dataclass
class Outcome:
    """What became of one image.

    Attributes:
      record: the serialized tf.train.Example, None where the image was left out.
      ledger: an entry for each annotation (or image: annotation_id None) left out.
      counts: Counter; keys as in `manifest.counts_of`.
    """

    record: bytes | None
    ledger: list[dict]
    counts: Counter


def convert_image(
    image: SourceImage,
    encoded: bytes | None,
    name: str,
    categories: dict[int, str],
    settings: FeatureSettings,
) -> Outcome:
    """Makes the record of one image.

    Args:
      encoded: bytes of the image file, or None where it is missing.
      name: path of the image file, for messages.
      categories: names by category id.

    Raises:
      InputError: a bad image or segmentation with on_error="stop", a bad box with
        invalid_boxes="error".
    """
    counts: Counter = Counter()
    ledger: list[dict] = []
    objects = image.objects

    def drop(row: int | None, reason: str, detail: Any = None) -> None:
        entry = {"image_id": image.id, "annotation_id": row if row is None else objects.ids[row]}
        ledger.append(entry | {"reason": reason} | ({"detail": detail} if detail else {}))
        if row is None:
            counts["images_skipped/" + reason] += 1
        else:
            counts["dropped/" + reason] += 1
            counts["crowd_dropped"] += objects.crowd[row]

    try:
        if encoded is None:
            raise BadImage("image_missing", f"{name}: no such image")
        image_format, notes = images.check(encoded, name, image.image_hw)
    except BadImage as bad:
        if settings.on_error == "stop":
            raise InputError(f"image {image.id}: {bad}{_HOW_TO_SKIP}") from None
        drop(None, bad.reason, bad.message)
        for row in range(len(objects.ids)):
            drop(row, bad.reason)
        return Outcome(None, ledger, counts)

    counts.update("notes/" + note for note in notes)
    rows, corners, pngs = [], [], []
    for row, box in enumerate(objects.boxes_xywh_px):
        xyxy_px, problem = _usable_box(image, row, settings)
        if xyxy_px is None:
            assert problem is not None
            drop(row, problem, box)
            continue
        if settings.include_masks:
            assert objects.segmentations is not None
            try:
                png = masks.png_of_json(objects.segmentations[row], image.image_hw)
            except masks.NoPixels as error:
                drop(row, "mask_empty", str(error))
                continue
            except (ValueError, msgspec.DecodeError) as error:
                detail = str(error) if objects.segmentations[row] else "there is no segmentation"
                if settings.on_error == "stop":
                    raise InputError(
                        f"annotation {objects.ids[row]} of image {image.id}: {detail}, and "
                        f"masks are asked for{_HOW_TO_SKIP}"
                    ) from None
                drop(row, "segmentation", detail)
                continue
            pngs.append(png)
        counts["boxes_clipped"] += problem is not None
        rows.append(row)
        corners.append(xyxy_px)

    if not rows:
        counts["images_without_annotations"] += 1
        if not settings.keep_images_without_annotations:
            drop(None, "no_annotations")
            return Outcome(None, ledger, counts)
    counts["images"] += 1
    counts["annotations_written"] += len(rows)
    counts["crowd"] += sum(objects.crowd[row] for row in rows)

    features = _image_features(image, encoded, image_format)
    features |= _object_features(image, rows, corners, categories)
    if settings.include_class_labels:
        labels = [image.objects.category_ids[row] for row in rows]
        features["image/object/class/label"] = ("int64_list", labels)
    if settings.include_masks:
        features["image/object/mask"] = ("bytes_list", pngs)
    if settings.include_keypoints:
        features |= _keypoint_features(image, rows)
    return Outcome(example.encode(features), ledger, counts)


def _usable_box(
    image: SourceImage, row: int, settings: FeatureSettings
) -> tuple[tuple[float, float, float, float] | None, str | None]:
    """As `boxes.corners`; an area that is no number makes an annotation unusable too."""
    objects = image.objects
    box = objects.boxes_xywh_px[row]
    xyxy_px, problem = boxes.corners(box, image.image_hw, settings.invalid_boxes)
    if xyxy_px is not None and not abs(objects.areas_px[row]) <= _LARGEST_FLOAT32:
        xyxy_px, problem = None, "area_not_finite"
    if problem and settings.invalid_boxes == "error":
        height, width = image.image_hw
        raise InputError(
            f"annotation {objects.ids[row]} of image {image.id} ({image.file_name}, "
            f"{width}x{height}): {problem}: bbox {box}, area {objects.areas_px[row]}; "
            "--invalid_boxes=skip leaves it out, --invalid_boxes=clip cuts it to the image"
        )
    return xyxy_px, problem


def _image_features(
    image: SourceImage, encoded: bytes, image_format: str
) -> dict[str, tuple[str, list]]:
    height, width = image.image_hw
    return {
        "image/height": ("int64_list", [height]),
        "image/width": ("int64_list", [width]),
        "image/filename": ("bytes_list", [image.file_name.encode()]),
        "image/source_id": ("bytes_list", [str(image.id).encode()]),
        "image/key/sha256": ("bytes_list", [hashlib.sha256(encoded).hexdigest().encode()]),
        "image/encoded": ("bytes_list", [encoded]),
        "image/format": ("bytes_list", [image_format.encode()]),
    }


def _object_features(
    image: SourceImage,
    rows: list[int],
    corners: list[tuple[float, float, float, float]],
    categories: dict[int, str],
) -> dict[str, tuple[str, list]]:
    objects, (height, width) = image.objects, image.image_hw
    names = [categories[objects.category_ids[row]].encode() for row in rows]
    return {
        "image/object/bbox/xmin": ("float_list", [x0 / width for x0, _, _, _ in corners]),
        "image/object/bbox/xmax": ("float_list", [x1 / width for _, _, x1, _ in corners]),
        "image/object/bbox/ymin": ("float_list", [y0 / height for _, y0, _, _ in corners]),
        "image/object/bbox/ymax": ("float_list", [y1 / height for _, _, _, y1 in corners]),
        "image/object/class/text": ("bytes_list", names),
        "image/object/is_crowd": ("int64_list", [objects.crowd[row] for row in rows]),
        "image/object/area": ("float_list", [objects.areas_px[row] for row in rows]),
    }


def _keypoint_features(image: SourceImage, rows: list[int]) -> dict[str, tuple[str, list]]:
    """Normalized x and y, visibility and name of every keypoint; zeros where there are none."""
    objects, (height, width) = image.objects, image.image_hw
    x: list[float] = []
    y: list[float] = []
    visibility: list[int] = []
    count: list[int] = []
    nothing = [0] * (3 * len(COCO_KEYPOINTS))
    assert objects.keypoints is not None
    for row in rows:
        num_keypoints, text = objects.keypoints[row] or (0, None)
        points = nothing if text is None else msgspec.json.decode(text)
        if len(points) != len(nothing):
            raise InputError(
                f"annotation {objects.ids[row]} of image {image.id}: {len(points)} numbers in "
                f"'keypoints', COCO's person has {len(nothing)} (17 times x, y, visibility)"
            )
        x.extend(value / width for value in points[0::3])
        y.extend(value / height for value in points[1::3])
        visibility.extend(int(value) for value in points[2::3])
        count.append(num_keypoints)
    names = [name.encode() for name in COCO_KEYPOINTS] * len(rows)
    return {
        "image/object/keypoint/x": ("float_list", x),
        "image/object/keypoint/y": ("float_list", y),
        "image/object/keypoint/num": ("int64_list", count),
        "image/object/keypoint/visibility": ("int64_list", visibility),
        "image/object/keypoint/text": ("bytes_list", names),
    }
