"""Do records hold what the annotation file says? Checked by reading them, not by making them again.

Quick: every shard's size, SHA-256, checksums and number of records against the manifest. Full:
also decodes every image and mask and compares every object with the JSON; whatever is in neither
the records nor the ledger is a problem. Records without a manifest: `unlisted`.
"""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set

import numpy as np
import tqdm
from pycocotools import mask as coco_mask

from tfrecords import (
    annotation_file,
    coco,
    example,
    framing,
    images,
    inverse,
    manifest,
    masks,
    pool,
    unlisted,
)
from tfrecords.errors import InputError


@dataclasses.dataclass
class _Task:
    """One shard; without `images` the check is quick."""

    path: str
    entry: dict
    images: list[coco.SourceImage] | None = None
    left_out: Set = frozenset()  # (image id, annotation id or None)
    categories: dict[int, str] = dataclasses.field(default_factory=dict)
    settings: dict = dataclasses.field(default_factory=dict)


def verify(
    output_path: str,
    *,
    full: bool = False,
    annotations_file: str | os.PathLike | None = None,
    num_workers: int | None = None,
    progress: bool = True,
) -> list[str]:
    """Checks the records of a conversion.

    Args:
      output_path: of the conversion, such as "data/val2017".
      full: whether to compare with the annotation file too.
      annotations_file: where it is now (default: where it was). Records of another converter,
        which have no manifest, are compared with it, full or not.
      num_workers: processes (default: the cores this process may use).
      progress: whether to show a progress bar.

    Returns:
      list of problems, each one sentence that names shard, record and ids; empty if all is well.

    Raises:
      InputError: there is neither a manifest nor an annotation file, or that is another one.
    """
    held = manifest.read(output_path)
    if held is None:
        if annotations_file is not None:
            return unlisted.verify(output_path, annotations_file, progress=progress)
        raise InputError(
            f"{manifest.path_of(output_path)}: no such manifest; is output_path right? Records of "
            "another converter (the API's, TF-Vision's) have none: give the --annotations_file "
            "they were made from"
        )
    problems = list(_extra_shards(output_path, held))
    folder = os.path.dirname(output_path)
    tasks: Iterable[_Task] = [
        _Task(os.path.join(folder, entry["name"]), entry) for entry in held["shards"]
    ]
    if full:
        source = _source(held, annotations_file)
        left_out = _ledger(output_path)
        problems += _sums(held, source, left_out)
        tasks = _full_tasks(tasks, held, source, left_out)
    total = sum(shard["records"] for shard in held["shards"])
    by_shard: dict[int, list[str]] = {}
    with tqdm.tqdm(total=total, unit="image", desc="verify", disable=not progress) as bar:
        workers = pool.num_workers_for(num_workers, len(held["shards"]), total)
        pool.run(_check, enumerate(tasks), workers, bar.update, by_shard.__setitem__)
    return problems + [problem for index in sorted(by_shard) for problem in by_shard[index]]


def _extra_shards(output_path: str, held: dict) -> Iterator[str]:
    """Shards beside the manifest's, which a pattern in a pipeline.config would read too."""
    try:
        paths = inverse.shard_paths(f"{output_path}-?????-of-?????.tfrecord")
    except InputError:
        return
    names = {shard["name"] for shard in held["shards"]}
    for path in paths:
        if os.path.basename(path) not in names:
            yield f"{path}: is not in the manifest"


def _source(held: dict, annotations_file: str | os.PathLike | None) -> coco.Source:
    settings, before = held["settings"], held["source"]
    annotations_file = annotations_file or before["annotations_file"]
    if annotations_file is None:
        raise InputError("these records were made of a stream; say which --annotations_file it was")
    source = coco.load(
        annotations_file,
        segmentations=settings["include_masks"],
        keypoints_file=before["keypoints_file"],
    )
    if before["annotations_file"] and source.sha256 != before["sha256"]:
        raise InputError(
            f"{source.annotations_file}: not the file that was converted (SHA-256 "
            f"{source.sha256}, the manifest has {before['sha256']})"
        )
    return source


def _ledger(output_path: str) -> Counter:
    path = manifest.ledger_path_of(output_path)
    try:
        with open(path, encoding="utf-8") as file:
            entries = [json.loads(line) for line in file]
        return Counter(
            (entry["image_id"], entry["annotation_id"])
            for entry in entries
            if entry["reason"] != "read_as"  # of the file as a whole
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a readable ledger ({error}); the conversion's command writes it again"
        ) from error


def _sums(held: dict, source: coco.Source, left_out: Counter) -> Iterator[str]:
    """The manifest's counts and the ledger against the annotation file."""
    counts = held["counts"]
    dropped = sum(number for key, number in left_out.items() if key[1] is not None)
    for what, here, there in (
        ("images", len(source.images), held["source"]["images"]),
        ("annotations", source.num_annotations, held["source"]["annotations"]),
        ("crowd annotations", source.num_crowd, held["source"]["crowd"]),
        ("images", len(source.images), counts["images"] + left_out.total() - dropped),
        (
            "annotations",
            source.num_annotations,
            counts["annotations_written"] + dropped,
        ),
        ("crowd annotations", source.num_crowd, counts["crowd"] + counts["crowd_dropped"]),
    ):
        if here != there:
            yield f"manifest: {there} {what} arrived or are in the ledger, the JSON has {here}"


def _full_tasks(
    tasks: Iterable[_Task], held: dict, source: coco.Source, left_out: Counter
) -> Iterator[_Task]:
    num_shards = held["settings"]["num_shards"]
    by_image: dict[int, list[tuple]] = {}
    for key in left_out:
        by_image.setdefault(key[0], []).append(key)
    for index, task in enumerate(tasks):
        positions = range(index, len(source.images), num_shards)
        of_shard = [source.image(position) for position in positions]
        yield dataclasses.replace(
            task,
            images=of_shard,
            left_out={key for image in of_shard for key in by_image.get(image.id, ())},
            categories=source.categories,
            settings=held["settings"],
        )


def _check(task: _Task, count_image: Callable[[], object]) -> list[str]:
    """The problems of one shard."""
    name, entry = task.entry["name"], task.entry
    if not os.path.isfile(task.path):
        return [f"{name}: is missing"]
    size = os.path.getsize(task.path)
    if size != entry["bytes"]:
        return [f"{name}: {size} bytes, the manifest has {entry['bytes']}"]
    problems, records = [], 0
    expected = None
    if task.images is not None:
        expected = iter([i for i in task.images if (i.id, None) not in task.left_out])
    try:
        for records, record in enumerate(framing.read(task.path), start=1):
            if expected is not None and (image := next(expected, None)) is not None:
                where = f"{name}: record {records - 1}, image {image.id}"
                problems += [f"{where}: {p}" for p in _differences(record, image, task)]
            count_image()
    except framing.CorruptRecord as error:
        problems.append(str(error))
    else:
        if records != entry["records"]:
            problems.append(f"{name}: {records} records, the manifest has {entry['records']}")
    if annotation_file.file_sha256(task.path) != entry["sha256"]:
        problems.append(f"{name}: its SHA-256 is not the manifest's")
    missing = [] if expected is None else [image.id for image in expected]
    if missing:
        problems.append(f"{name}: images {missing} are in neither the records nor the ledger")
    return problems


def _differences(record: bytes, image: coco.SourceImage, task: _Task) -> list[str]:
    """What a record says otherwise than the annotation file."""
    try:
        features = example.decode(record)
        ids = {name: category_id for category_id, name in task.categories.items()}
        read, annotations = inverse.image_of(features, ids)
        encoded = features["image/encoded"][1][0]
        (claimed_sha256,) = features["image/key/sha256"][1]
    except (ValueError, LookupError) as error:
        return [str(error)]
    height, width = image.image_hw
    if read != {"id": image.id, "file_name": image.file_name, "height": height, "width": width}:
        return [f"it is of {read}"]
    problems = []
    try:
        images.decode_fully(encoded)
    except ValueError as error:
        problems.append(f"{image.file_name} does not decode: {error}")
    if hashlib.sha256(encoded).hexdigest().encode() != claimed_sha256:
        problems.append(f"{image.file_name}: its bytes are not those of image/key/sha256")
    objects = image.objects
    rows = [row for row, i in enumerate(objects.ids) if (image.id, i) not in task.left_out]
    if len(rows) != len(annotations):
        expected = [objects.ids[row] for row in rows]
        return [*problems, f"{len(annotations)} objects, the JSON has annotations {expected}"]
    for position, (row, annotation) in enumerate(zip(rows, annotations, strict=True)):
        corners = [features[f"image/object/bbox/{side}"][1][position] for side in _SIDES]
        for what in _object_differences(image, row, annotation, corners, task.settings):
            problems.append(f"annotation {objects.ids[row]}: {what} differs from the JSON's")
    return problems


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _object_differences(
    image: coco.SourceImage, row: int, annotation: dict, corners_norm: list[float], settings: dict
) -> Iterator[str]:
    objects, (height, width) = image.objects, image.image_hw
    x, y, box_width, box_height = objects.boxes_xywh_px[row]
    expected = np.array([x, y, x + box_width, y + box_height])
    if settings["invalid_boxes"] == "clip":
        expected = np.clip(expected, 0, [width, height] * 2)
    if not np.array_equal(corners_norm, np.float32(expected / ([width, height] * 2))):
        yield "bbox"
    if annotation["area"] != np.float32(objects.areas_px[row]):
        yield "area"
    if annotation["iscrowd"] != objects.crowd[row]:
        yield "iscrowd"
    if annotation["category_id"] != objects.category_ids[row]:
        yield "category"
    if settings["include_masks"]:
        assert objects.segmentations is not None
        rle = masks.rle_of(json.loads(objects.segmentations[row]), image.image_hw)
        read = annotation["segmentation"]
        if not np.array_equal(coco_mask.decode(rle), coco_mask.decode(read)):
            yield "mask"
    keypoints = objects.keypoints if settings["include_keypoints"] else None
    if keypoints is not None and (known := keypoints[row]):
        expected = np.array(json.loads(known[1]), float)
        same = np.allclose(annotation["keypoints"], expected, rtol=1e-6, atol=1e-4)
        if annotation["num_keypoints"] != known[0] or not same:
            yield "keypoints"
