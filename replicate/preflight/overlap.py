"""Whether training images are evaluated: by annotation files, manifests, records and image bytes.

What cannot be compared is said, so that nothing found never stands for nothing looked at.
"""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from replicate import reasons
from replicate.evenly import evenly
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.result import CheckFinding, Note, differs, mind
from replicate.records import Records
from tfrecords import annotation_file, coco, example, framing
from tfrecords.errors import InputError

SAMPLE = 24  # images looked at, and records read, of each split
_TWINS = 12  # files compared byte by byte
_FIX = "take training and evaluation images that share none (train2017 and val2017)"


@dataclasses.dataclass(frozen=True)
class _TrainingImages:
    """The training images: the annotation file, its hash, image entries and image folder."""

    file: str
    sha256: str
    images: list
    folder: pathlib.Path


def of_launch(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """Whether evaluation images are training images.

    Args:
      facts: LaunchFacts.

    Yields:
      one result.Note or result.PreflightProblem.
    """
    manifest = facts.train_records.manifest
    evaluated, file = _evaluated(facts)
    trained = facts.train_source.sha256 if facts.train_source else None
    trained = trained or (manifest["source"]["sha256"] if manifest else None)
    if evaluated is None:
        yield mind("overlap with the training images not checked: no evaluation annotations")
    elif trained == evaluated:
        yield _overlap(f"training and evaluation annotations are one file ({file})")
    elif facts.val_source is None:
        yield mind(
            "overlap with the training images not checked: no evaluation annotations; the "
            "records were made of two annotation files"
        )
    else:
        training = _training(facts, manifest)
        if training is not None:
            yield _of_images(facts, facts.val_source, training)
        else:
            yield _of_records(facts, facts.val_source)


def _evaluated(facts: LaunchFacts) -> tuple[str | None, str | None]:
    """(SHA-256, path) of the evaluation's annotation file; of the manifest's where none is read."""
    source, held = facts.val_source, facts.val_records.manifest
    if source is not None:
        return source.sha256, source.annotations_file
    if held is not None and not facts.intent.val_annotations:
        return held["source"]["sha256"], held["source"].get("annotations_file")
    return None, None


def _training(facts: LaunchFacts, manifest: dict | None) -> _TrainingImages | None:
    """The training images of the annotations given, or of those that the records were made of."""
    source = facts.train_source
    if source is not None:
        folder = pathlib.Path(facts.intent.train_images)
        return _TrainingImages(source.annotations_file, source.sha256, source.images, folder)
    if manifest is None:
        return None
    file = manifest["source"].get("annotations_file") or ""
    try:
        if annotation_file.sha256_of(file) != manifest["source"]["sha256"]:
            return None  # another file by now
        images = annotation_file.read(file).images
        annotation_file.forget(file)
    except (OSError, InputError):
        return None
    folder = pathlib.Path(manifest["source"].get("image_dir") or "")
    named = [image for image in images if image.file_name]
    return _TrainingImages(file, manifest["source"]["sha256"], named, folder)


def _of_images(
    facts: LaunchFacts, evaluated: coco.Source, training: _TrainingImages
) -> CheckFinding:
    """Told by the bytes of image files that have the same number in both annotation files."""
    of_train = {_coco_number(image): image for image in training.images}
    val = pathlib.Path(facts.intent.val_images)
    twins = [
        (
            val / (image.file_name or ""),
            training.folder / (of_train[_coco_number(image)].file_name or ""),
        )
        for image in evaluated.images
        if _coco_number(image) in of_train
    ]
    if not twins:
        return Note(f"none of their numbers is a training image's of {training.file}")
    looked_at = evenly(twins, _TWINS)
    same = [_same_bytes(*pair) for pair in looked_at]
    if True in same:
        name = looked_at[same.index(True)][0].name
        return _overlap(
            f"{len(twins):,} numbers are in both annotation files, and {name} is the same file in "
            "both folders"
        )
    if False not in same:
        return mind(
            f"overlap with the training images not checked: {len(twins):,} numbers are in both "
            f"annotation files, and {' or '.join(map(str, looked_at[0]))} cannot "
            "be read",
            "name both image folders",
        )
    return Note(
        f"of {len(twins):,} numbers that are a training image's too, {same.count(False)} were "
        "compared: other images"
    )


def _of_records(facts: LaunchFacts, evaluated: coco.Source) -> CheckFinding:
    """Told by the images that training records hold."""
    val = pathlib.Path(facts.intent.val_images)
    of_val: dict[int | None, pathlib.Path] = {
        _coco_number(image): val / (image.file_name or "") for image in evaluated.images
    }
    looked_at = 0
    for features in sample_records(facts.train_records):
        name, source_id, encoded = (
            (features.get(f"image/{key}", (None, ()))[1] or [b""])[0]
            for key in ("filename", "source_id", "encoded")
        )
        looked_at += bool(encoded)
        for text in (name, source_id):
            text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
            file = of_val.get(_number(text))
            if file is not None and _sha256(file) == hashlib.sha256(encoded).hexdigest():
                return _overlap(f"{file.name} is in the training records")
    if not looked_at:
        return mind(
            "overlap with the training images not checked: neither their annotations nor records",
            "give --train_annotations and --train_images",
        )
    return mind(
        f"overlap with the training images not checked in whole: {looked_at} training records "
        "were read, none holds an evaluation image",
        "give --train_annotations and --train_images",
    )


def _overlap(how: str) -> CheckFinding:
    return differs(f"{reasons.TRAINING_EVALUATED}: {how}", _FIX)


def sample_records(held: Records) -> Iterator[dict]:
    """Decoded records, the first of some shards.

    Args:
      held: records.Records.

    Yields:
      dicts as `tfrecords.example.decode` gives; none after a damaged record, which reason 16 tells.
    """
    paths = evenly(held.paths, 4)
    for path in paths:
        try:
            for number, record in enumerate(framing.read(path)):
                if number >= SAMPLE // len(paths):
                    break
                yield example.decode(record)
        except (framing.CorruptRecord, ValueError):
            return


def _coco_number(image: Any) -> int:
    """The number at the end of a COCO file name; the id where there is none."""
    number = _number(image.file_name)
    return image.id if number is None else number


def _number(name: str) -> int | None:
    """The number at the end of a file name or an id, or None."""
    match = re.search(r"(\d+)(\.\w+)?$", name)
    return int(match[1]) if match else None


def _sha256(path: pathlib.Path) -> str | None:
    try:
        return annotation_file.file_sha256(path)
    except OSError:
        return None


def _same_bytes(a: pathlib.Path, b: pathlib.Path) -> bool | None:
    """Whether two files are the same; None where one cannot be read."""
    try:
        return a.stat().st_size == b.stat().st_size and a.read_bytes() == b.read_bytes()
    except OSError:
        return None
