"""Reason 16: shards missing or cut off, images missing or unreadable, a disk too small."""

import os
import pathlib
import shutil
from collections.abc import Iterator

from replicate.doctor.machine import existing
from replicate.evenly import evenly
from replicate.preflight.data_checks import CONVERT
from replicate.preflight.forecast import Forecast, size
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.overlap import SAMPLE
from replicate.preflight.result import CheckFinding, Note, breaks, mind
from replicate.records import Records, miscounted
from tfrecords import coco, framing, images
from tfrecords import manifest as manifests
from tfrecords.errors import BadImage

_TIGHT = 0.8


def whole(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """16: shards missing or cut off, images missing or unreadable."""
    intent = facts.intent
    for split in ("train", "val"):
        held = getattr(facts, f"{split}_records")
        if held.paths:
            yield from _shards(split, held)
        elif not intent.convert and split == "train":
            # Evaluation reads images and the annotation file, not records.
            yield breaks(
                f"{split}: no record matches '{held.pattern}'",
                "python tools/create_coco_tf_record.py makes them",
            )
        source = getattr(facts, f"{split}_source")
        folder = getattr(intent, f"{split}_images")
        if source is not None and folder and (split == "val" or not held.paths):
            yield from _image_files(split, source, folder)


def _shards(split: str, held: Records) -> Iterator[CheckFinding]:
    if held.num_shards and len(held.paths) != held.num_shards:
        yield breaks(f"{split}: {len(held.paths)} of {held.num_shards} shards are there", CONVERT)
    if held.manifest is not None:
        wrong = manifests.differing_shards(held.output_path, held.manifest)
        if wrong:
            name = held.manifest["shards"][wrong[0]]["name"]
            yield breaks(
                f"{split}: {len(wrong)} shards are missing or not of the manifest's size, first "
                f"{name}",
                f"{CONVERT}, which makes these alone",
            )
            return
    try:
        if held.manifest is not None:
            yield _counted(split, held)
            return
        records = sum(framing.count(path) for path in held.paths)
    except framing.CorruptRecord as error:
        yield breaks(f"{split}: {error}", CONVERT)
        return
    if records:
        yield Note(f"{split}: {len(held.paths)} shards, {records:,} records")
    else:
        yield breaks(f"{split}: {len(held.paths)} shards without a record", CONVERT)


def _counted(split: str, held: Records) -> CheckFinding:
    wrong = miscounted(held.paths)
    if wrong is None:
        return Note(f"{split}: {len(held.paths)} shards of the manifest's sizes and records")
    path, counted, there = wrong
    return breaks(
        f"{split}: {path} holds {there} records, its manifest counts {counted}",
        f"remove the shard; {CONVERT}, which makes it alone",
    )


def _image_files(split: str, source: coco.Source, folder: str) -> Iterator[CheckFinding]:
    missing = [
        image
        for image in source.images
        if not os.path.isfile(os.path.join(folder, image.file_name or ""))
    ]
    if missing:
        yield breaks(
            f"{split}: {len(missing):,} of {len(source.images):,} images are not in {folder}, "
            f"first {missing[0].file_name}",
            "is it the folder of the annotation file? python tools/download.py coco resumes",
        )
        return
    sample = evenly(source.images, SAMPLE)
    for image in sample:
        path = pathlib.Path(folder) / (image.file_name or "")
        try:
            encoded = path.read_bytes()
            images.check(encoded, str(path), (image.height, image.width))
            images.decode_fully(encoded)
        except (BadImage, OSError, ValueError) as error:
            yield breaks(
                f"{split}: {path} (image {image.id}) cannot be used: {error}",
                "replace the file; tools/create_coco_tf_record.py --on_error=skip lists all",
            )
            return
    yield Note(f"{split}: all {len(source.images):,} images are there, {len(sample)} read")


def room(facts: LaunchFacts, trial: dict, forecast: Forecast) -> Iterator[CheckFinding]:
    """16, the other half: free space against what the run writes."""
    folder = existing(facts.run.root)
    free = shutil.disk_usage(folder).free
    seen = (
        f"{size(forecast.disk_bytes)} will be written ({forecast.disk_parts}); "
        f"{size(free)} free in {folder}"
    )
    if forecast.disk_bytes > free:
        yield breaks(seen, "free some space, or name another run directory")
    elif forecast.disk_bytes > _TIGHT * free:
        yield mind(seen, "free some space: others may write there too")
    else:
        yield Note(seen)
