"""Records without a manifest, such as TF-Vision's own, held to the COCO JSON they were made from.

What another converter left out stands in no ledger; here every image and object of the JSON that
the records lack is named. Objects are told apart by category and box, in the JSON's order, which
both the API's and TF-Vision's converter keep.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tqdm
from pycocotools import mask as coco_mask

from tfrecords import coco, example, framing, images, inverse, masks
from tfrecords.errors import InputError

_NAME = re.compile(r"-(?P<index>\d{5})-of-(?P<num_shards>\d{5})(\.tfrecord)?$")
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_Features = Mapping[str, tuple[str, list]]


def verify(
    output_path: str, annotations_file: str | os.PathLike, *, progress: bool = True
) -> list[str]:
    """Compares records with the annotation file, image by image and object by object.

    Args:
      output_path: prefix of the shards, a pattern or a file (`inverse.shard_paths`).
      annotations_file: COCO JSON that they were made from.
      progress: whether to show a progress bar.

    Returns:
      list of problems, each one sentence that names shard, record and ids; empty if all is well.

    Raises:
      InputError: there are no records, or the annotation file cannot be used.
    """
    paths = inverse.shard_paths(output_path)
    source = coco.load(annotations_file, segmentations=_have_masks(paths))
    ids = {name: category_id for category_id, name in source.categories.items()}
    positions = {entry.id: position for position, entry in enumerate(source.images)}
    problems, read_ids = list(_missing_shards(paths)), set()
    with tqdm.tqdm(total=len(positions), unit="image", desc="verify", disable=not progress) as bar:
        for path in paths:
            name = os.path.basename(path)
            try:
                for number, record in enumerate(framing.read(path)):
                    where = f"{name}: record {number}"
                    try:
                        features = example.decode(record)
                        image, annotations = inverse.image_of(features, ids)
                    except (ValueError, LookupError) as error:
                        problems.append(f"{where}: {error}")
                        continue
                    where = f"{where}, image {image['id']}"
                    if image["id"] in read_ids:
                        problems.append(f"{where}: is there more than once")
                    elif image["id"] not in positions:
                        problems.append(f"{where}: is not in the JSON")
                    else:
                        expected = source.image(positions[image["id"]])
                        differences = _differences(features, image, annotations, expected)
                        problems += [f"{where}: {problem}" for problem in differences]
                    read_ids.add(image["id"])
                    bar.update()
            except framing.CorruptRecord as error:
                problems.append(str(error))
    if missing := [image_id for image_id in positions if image_id not in read_ids]:
        shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
        problems.append(f"{len(missing)} image(s) of the JSON are in no record: {shown}")
    return problems


def _have_masks(paths: Sequence[str]) -> bool:
    """Whether the first record with objects has their masks."""
    for path in paths:
        try:
            for record in framing.read(path):
                features = example.decode(record)
                if features.get("image/object/bbox/xmin", ("", []))[1]:
                    return "image/object/mask" in features
        except (framing.CorruptRecord, ValueError):
            continue  # `verify` names it
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return False


def _missing_shards(paths: Sequence[str]) -> Iterator[str]:
    """Shards that the others' names count."""
    matches = [match for path in paths if (match := _NAME.search(path))]
    there = {(int(match["index"]), int(match["num_shards"])) for match in matches}
    for num_shards in sorted({number for _, number in there}):
        for index in range(num_shards):
            if (index, num_shards) not in there:
                yield f"shard {index} of {num_shards} is missing"


def _differences(
    features: _Features, image: dict, annotations: list[dict], expected: coco.SourceImage
) -> Iterator[str]:
    """What a record says otherwise than the annotation file."""
    height, width = expected.image_hw
    whole = {"id": expected.id, "file_name": expected.file_name, "height": height, "width": width}
    if image != whole:
        yield f"it is of {image}, the JSON has {whole}"
        return
    try:
        images.decode_fully(inverse.one(features, "image/encoded"))
    except ValueError as error:
        yield f"{expected.file_name} does not decode: {error}"
    objects, left = expected.objects, list(range(len(expected.objects.ids)))
    for position, annotation in enumerate(annotations):
        corners = [features[f"image/object/bbox/{side}"][1][position] for side in _SIDES]
        row = next((row for row in left if _is_same(corners, annotation, expected, row)), None)
        if row is None:
            yield (
                f"object {position} (category {annotation['category_id']}, bbox "
                f"{[round(value, 2) for value in annotation['bbox']]}) is none of the JSON's"
            )
            continue
        left.remove(row)
        for what in _object_differences(annotation, expected, row):
            yield f"annotation {objects.ids[row]}: {what} differs from the JSON's"
    if left:
        yield f"annotations {[objects.ids[row] for row in left]} are not in it"


def _is_same(
    corners_norm: list[float], annotation: dict, expected: coco.SourceImage, row: int
) -> bool:
    objects, (height, width) = expected.objects, expected.image_hw
    x, y, box_width, box_height = objects.boxes_xywh_px[row]
    box = np.array([x, y, x + box_width, y + box_height]) / ([width, height] * 2)
    return annotation["category_id"] == objects.category_ids[row] and np.array_equal(
        corners_norm, np.float32(box)
    )


def _object_differences(annotation: dict, expected: coco.SourceImage, row: int) -> Iterator[str]:
    objects = expected.objects
    if annotation["area"] != np.float32(objects.areas_px[row]):
        yield "area"
    if annotation["iscrowd"] != objects.crowd[row]:
        yield "iscrowd"
    if "segmentation" in annotation:
        assert objects.segmentations is not None
        rle = masks.rle_of(json.loads(objects.segmentations[row]), expected.image_hw)
        if not np.array_equal(coco_mask.decode(rle), coco_mask.decode(annotation["segmentation"])):
            yield "mask"
