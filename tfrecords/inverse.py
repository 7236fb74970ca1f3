"""Records back to COCO JSON: what a training job saw, to be scored and inspected."""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tqdm

from tfrecords import example, framing, masks
from tfrecords.errors import InputError

_TEXT, _LABEL = "image/object/class/text", "image/object/class/label"
_BOX = tuple(f"image/object/bbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))


def shard_paths(pattern: str | os.PathLike) -> list[str]:
    """The sorted shards of an OUTPUT_PATH, a glob pattern or a file. Raises InputError if none."""
    pattern = os.fspath(pattern)
    for candidate in (pattern, f"{pattern}-?????-of-?????.tfrecord"):
        if paths := sorted(path for path in glob.glob(candidate) if os.path.isfile(path)):
            return paths
    raise InputError(
        f"{pattern}: no records found; give the output_path of a conversion (data/val2017), a "
        "pattern (in quotes: 'data/val2017-*.tfrecord') or a file"
    )


def to_coco(
    paths: Iterable[str | os.PathLike], categories: dict[int, str], progress: bool = True
) -> dict:
    """The COCO annotations that records hold.

    Boxes are exact to float32 in normalized coordinates, as the records are; `area`, `iscrowd`
    and keypoints are as written, masks are RLE. Records do not hold annotation ids: annotations
    are numbered from 1, in the order of the images' ids and the records' objects.

    Args:
      paths: TFRecord files.
      categories: names by category id, as `label_map.read` gives it.
      progress: whether to show a progress bar.

    Returns:
      dict with images, annotations and categories, as COCO's JSON.

    Raises:
      InputError: a damaged record, or a category that `categories` does not have.
    """
    ids = {name: category_id for category_id, name in categories.items()}
    decoded = []
    for path in tqdm.tqdm(paths, unit="shard", disable=not progress):
        for number, record in enumerate(_records(path)):
            try:
                decoded.append(image_of(example.decode(record), ids))
            except (ValueError, LookupError) as error:
                raise InputError(f"{path}: record {number}: {error}") from error
    decoded.sort(key=lambda pair: pair[0]["id"])
    annotations = [annotation for _, of_image in decoded for annotation in of_image]
    return {
        "images": [image for image, _ in decoded],
        "annotations": [{"id": n} | a for n, a in enumerate(annotations, start=1)],
        "categories": [{"id": key, "name": name} for key, name in sorted(categories.items())],
    }


def image_of(
    features: Mapping[str, tuple[str, list]], category_ids: dict[str, int]
) -> tuple[dict, list[dict]]:
    """One record as COCO has it.

    Args:
      features: as `example.decode` gives them.
      category_ids: dict of category name to id.

    Returns:
      (image, annotations): COCO's dicts; annotations without an id.

    Raises:
      ValueError: a feature is missing or does not fit the others; LookupError: unknown category,
        or one whose class label is not the label map's id.
    """
    image = {
        "id": int(one(features, "image/source_id")),
        "file_name": one(features, "image/filename").decode(),
        "height": one(features, "image/height"),
        "width": one(features, "image/width"),
    }
    if not any(name in features for name in (*_BOX, _TEXT, _LABEL)):
        return image, []  # TF-Vision's converter leaves out an empty image's object features
    names = _names(features, category_ids, image["id"])
    columns = [_values(features, name) for name in _BOX]
    columns += [_values(features, f"image/object/{name}") for name in ("is_crowd", "area")]
    if any(len(column) != len(names) for column in columns):
        raise ValueError(f"image {image['id']}: its object features differ in length")
    extras: list[dict] = [{} for _ in names]
    if "image/object/mask" in features:
        for extra, png in zip(extras, _values(features, "image/object/mask"), strict=True):
            extra["segmentation"] = masks.rle_of_png(png)
    if "image/object/keypoint/num" in features:
        _add_keypoints(extras, features, image)
    annotations = []
    for name, x0, y0, x1, y1, crowd, area, extra in zip(names, *columns, extras, strict=True):
        width, height = image["width"], image["height"]
        annotations.append(
            {
                "image_id": image["id"],
                "category_id": category_ids[name],
                "bbox": [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height],
                "area": area,
                "iscrowd": crowd,
                **extra,
            }
        )
    return image, annotations


def _names(
    features: Mapping[str, tuple[str, list]], category_ids: dict[str, int], image_id: int
) -> list[str]:
    """The objects' categories, of which the label map has every one.

    Raises:
      LookupError: it lacks one, or has another id for it than the record.
    """
    if _TEXT in features:
        names = [name.decode() for name in _values(features, _TEXT)]
        for name in names:
            if name not in category_ids:
                raise LookupError(f"image {image_id}: no category {name!r} in the label map")
        if _LABEL in features:
            _check_labels(_values(features, _LABEL), names, category_ids, image_id)
        return names
    by_id = {category_id: name for name, category_id in category_ids.items()}
    for label in _values(features, _LABEL):
        if label not in by_id:
            raise LookupError(f"image {image_id}: no category of id {label} in the label map")
    return [by_id[label] for label in _values(features, _LABEL)]


def _check_labels(
    labels: list[int], names: list[str], category_ids: dict[str, int], image_id: int
) -> None:
    if len(labels) != len(names):
        raise ValueError(f"image {image_id}: its object features differ in length")
    for label, name in zip(labels, names, strict=True):
        if category_ids[name] != label:
            raise LookupError(
                f"image {image_id}: an object named {name!r} has class label {label}, the label "
                f"map has {category_ids[name]}"
            )


def _records(path: str | os.PathLike) -> Iterator[bytes]:
    try:
        yield from framing.read(path)
    except (framing.CorruptRecord, OSError) as error:
        raise InputError(f"{error}; make the shard again") from error


def _add_keypoints(
    extras: list[dict], features: Mapping[str, tuple[str, list]], image: dict
) -> None:
    x, y, visibility = (
        _values(features, f"image/object/keypoint/{name}") for name in ("x", "y", "visibility")
    )
    counts = _values(features, "image/object/keypoint/num")
    points_an_object = len(x) // max(1, len(extras))
    for row, (extra, count) in enumerate(zip(extras, counts, strict=True)):
        points = range(row * points_an_object, (row + 1) * points_an_object)
        extra["num_keypoints"] = count
        extra["keypoints"] = [
            value
            for i in points
            for value in (x[i] * image["width"], y[i] * image["height"], visibility[i])
        ]


def _values(features: Mapping[str, tuple[str, list]], name: str) -> list:
    if name not in features:
        raise ValueError(f"there is no feature {name}")
    return features[name][1]


def one(features: Mapping[str, tuple[str, list]], name: str) -> Any:
    """The value of a feature that has one; raises ValueError where it is missing or has not."""
    values = _values(features, name)
    if len(values) != 1:
        raise ValueError(f"{name} has {len(values)} values")
    return values[0]
