"""A stream of images with their annotations to sharded TFRecords, in one pass.

For datasets that are read row by row, such as Parquet on the hub. All shards are written at once
and appear together at the end, so an interrupted conversion starts again; otherwise files, shard
assignment, manifest and ledger are those of `conversion.convert`.
"""

import contextlib
import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import tqdm

from tfrecords import (
    annotation_file,
    conversion,
    features,
    framing,
    locks,
    manifest,
    redaction,
    shards,
)
from tfrecords.errors import InputError
from tfrecords.whole_files import written_whole

if TYPE_CHECKING:
    from tfrecords.formats import parquet


def convert(
    dataset: "parquet.ParquetDataset",
    output_path: str | os.PathLike,
    num_shards: int,
    *,
    invalid_boxes: str = "skip",
    keep_images_without_annotations: bool = True,
    on_error: str = "stop",
    include_class_labels: bool = False,
    progress: bool = True,
) -> conversion.Summary:
    """Converts a stream to OUTPUT_PATH-00000-of-0000N.tfrecord, a manifest and a ledger.

    Args:
      dataset: has `names` (list of str), `num_images`, `categories` (dict of id to name) and
        `rows()`, which yields (`coco.SourceImage`, image bytes), such as
        `formats.parquet.ParquetDataset`.
      output_path, num_shards, invalid_boxes, keep_images_without_annotations, on_error,
        include_class_labels, progress: as in `conversion.convert`.

    Returns:
      `conversion.Summary`; `reused` where the same dataset had been converted already.

    Raises:
      InputError: bad input, or an output path that holds another conversion.
    """
    settings = features.FeatureSettings(
        invalid_boxes=invalid_boxes,
        keep_images_without_annotations=keep_images_without_annotations,
        on_error=on_error,
        include_class_labels=include_class_labels,
    )
    asked = {"num_shards": num_shards} | dataclasses.asdict(settings)
    output_path = os.fspath(output_path)
    with locks.held(output_path, "the conversion"):
        manifest.clean(output_path)
        return _convert(dataset, output_path, asked, settings, progress)


def _convert(
    dataset: "parquet.ParquetDataset",
    output_path: str,
    asked: dict,
    settings: features.FeatureSettings,
    progress: bool,
) -> conversion.Summary:
    before = manifest.read(output_path)
    if before is not None:
        if (
            before["source"].get("parquet") != redaction.everywhere(dataset.names)
            or manifest.settings_of(before) != asked
        ):
            raise InputError(
                f"{manifest.path_of(output_path)}: holds a conversion of other input or settings; "
                "name another output, or remove that one's files"
            )
        if not manifest.differing_shards(output_path, before):
            return conversion.summary_of(output_path, before, reused=True)
    os.makedirs(os.path.dirname(output_path) or ".", exist_ok=True)
    made = _write(dataset, output_path, asked, settings, progress)
    return conversion.summary_of(output_path, made, reused=False)


def _write(
    dataset: "parquet.ParquetDataset",
    output_path: str,
    asked: dict,
    settings: features.FeatureSettings,
    progress: bool,
) -> dict:
    counts: Counter = Counter()
    ledger: list[dict] = []
    digest = hashlib.sha256()
    annotations = crowd = 0
    image_ids: set[int] = set()
    annotation_ids: set[int] = set()
    num_shards = asked["num_shards"]
    paths = [shards.path_of(output_path, index, num_shards) for index in range(num_shards)]
    with contextlib.ExitStack() as stack:
        writers = [framing.Writer(stack.enter_context(written_whole(path, "wb"))) for path in paths]
        rows = tqdm.tqdm(
            dataset.rows(),
            total=dataset.num_images,
            unit="image",
            desc=os.path.basename(output_path),
            disable=not progress,
        )
        for index, (image, encoded) in enumerate(rows):
            _check_new("image", [image.id], image_ids)
            _check_new("annotation", image.objects.ids, annotation_ids)
            outcome = features.convert_image(
                image, encoded, image.file_name, dataset.categories, settings
            )
            if outcome.record is not None:
                writers[index % num_shards].write(outcome.record)
                digest.update(hashlib.sha256(outcome.record).digest())
            annotations += len(image.objects.ids)
            crowd += sum(image.objects.crowd)
            counts.update(outcome.counts)
            ledger.extend(outcome.ledger)
    results = [
        shards.WrittenShard(
            os.path.basename(path), writer.sha256, writer.records, writer.bytes, {}, []
        )
        for path, writer in zip(paths, writers, strict=True)
    ]
    # Of all: they are one stream's.
    results[0] = dataclasses.replace(results[0], counts=counts, ledger=ledger)
    source = {
        "annotations_file": None,
        "keypoints_file": None,
        "keypoints_sha256": None,
        "image_dir": None,
        "parquet": redaction.everywhere(dataset.names),
        "sha256": digest.hexdigest(),  # of the records' SHA-256, in order: there is no one file
        "images": len(image_ids),
        "annotations": annotations,
        "crowd": crowd,
        "categories": len(dataset.categories),
        "image_ids_sha256": annotation_file.ids_sha256(image_ids),
    }
    made = manifest.assemble(source, asked, results)
    manifest.write_ledger(output_path, manifest.ledger_of(made, (), results))
    manifest.write(output_path, made)
    return made


def _check_new(kind: str, ids: Iterable[int], ids_before: set[int]) -> None:
    for id_ in ids:
        if id_ in ids_before:
            raise InputError(f"{kind} id {id_} occurs more than once; ids must be unique")
        ids_before.add(id_)
