"""The conversion as an Apache Beam pipeline, for data beyond one machine.

One worker reads the annotation file and hands out a task a shard; each shard is written by one
worker, in the file's order, so its bytes are those of `conversion.convert`. Paths are whatever
Beam's file systems read: local, gs://, s3://, hdfs://.

Needs requirements-beam.txt; the workers need the kit's `tfrecords` package (see docs/tfrecords.md).
"""

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from typing import IO

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

from tfrecords import coco, conversion, features, manifest, shards
from tfrecords.errors import InputError


@dataclasses.dataclass(frozen=True)
class _Request:
    annotations_file: str
    image_dir: str
    output_path: str
    num_shards: int
    keypoints_file: str | None
    settings: features.FeatureSettings


def convert(
    annotations_file: str | os.PathLike,
    image_dir: str | os.PathLike,
    output_path: str | os.PathLike,
    num_shards: int,
    *,
    include_masks: bool = False,
    keypoints_file: str | os.PathLike | None = None,
    invalid_boxes: str = "skip",
    keep_images_without_annotations: bool = True,
    on_error: str = "stop",
    include_class_labels: bool = False,
    runner: str = "DirectRunner",
    pipeline_options: Sequence[str] = (),
) -> conversion.Summary:
    """As `conversion.convert`, by a Beam runner; a stopped pipeline starts again.

    Args:
      runner: name of a Beam runner.
      pipeline_options: further options as on Beam's command line, such as
        ["--project=…", "--region=…", "--setup_file=./setup.py"].

    Raises:
      InputError: as `conversion.convert`; or the output holds a finished conversion.
    """
    request = _Request(
        os.fspath(annotations_file),
        os.fspath(image_dir),
        os.fspath(output_path),
        num_shards,
        os.fspath(keypoints_file) if keypoints_file else None,
        features.FeatureSettings(
            include_masks=include_masks,
            include_keypoints=bool(keypoints_file),
            invalid_boxes=invalid_boxes,
            keep_images_without_annotations=keep_images_without_annotations,
            on_error=on_error,
            include_class_labels=include_class_labels,
        ),
    )
    _check_paths(request)
    options = PipelineOptions([f"--runner={runner}", *pipeline_options])
    options.view_as(SetupOptions).save_main_session = False
    with beam.Pipeline(options=options) as pipeline:
        _build(pipeline, request)
    problems = _problems_path(request.output_path)
    if FileSystems.exists(problems):
        with FileSystems.open(problems) as file:
            problem = file.read().decode()
        FileSystems.delete([problems])
        raise InputError(problem)
    with FileSystems.open(manifest.path_of(request.output_path)) as file:
        return conversion.summary_of(request.output_path, json.loads(file.read()), reused=False)


def _build(pipeline: beam.Pipeline, request: _Request) -> None:
    """Bad input travels as data, not as exceptions, which runners would try again."""
    loaded = (
        pipeline
        | "request" >> beam.Create([request])
        | "read annotations" >> beam.FlatMap(_load).with_outputs("facts", "problem", main="tasks")
    )
    written = (
        loaded.tasks
        | "spread shards" >> beam.Reshuffle()
        | "write shards" >> beam.FlatMap(_write).with_outputs("problem", main="results")
    )
    problems = (loaded.problem, written.problem) | "problems" >> beam.Flatten()
    _ = (
        pipeline
        | "output" >> beam.Create([request.output_path])
        | "finish"
        >> beam.Map(
            _finish,
            beam.pvalue.AsList(loaded.facts),
            beam.pvalue.AsList(written.results),
            beam.pvalue.AsList(problems),
        )
    )


def _check_paths(request: _Request) -> None:
    if FileSystems.exists(manifest.path_of(request.output_path)):
        raise InputError(
            f"{manifest.path_of(request.output_path)}: is a finished conversion; check it with "
            "tools/verify_tf_record.py, or name another output_path"
        )
    if not FileSystems.exists(request.annotations_file):
        raise InputError(f"{request.annotations_file}: no such annotation file")
    folder = os.path.dirname(request.output_path)
    if folder and not FileSystems.exists(folder):
        with contextlib.suppress(OSError):  # another runner made it, or it needs no making
            FileSystems.mkdirs(folder)


def _load(request: _Request) -> Iterator:
    """Yields (shard index, `shards.Task`), and what the manifest says of the source as "facts"."""
    try:
        source, header = _source(request)
        unknown = conversion.ledger_of_unknown(source, request.settings)
    except InputError as error:
        yield beam.pvalue.TaggedOutput("problem", str(error))
        return
    where = (request.num_shards, request.output_path, request.image_dir, request.settings)
    for index in range(request.num_shards):
        yield index, conversion.task_of(source, index, *where)
    entry = conversion.source_entry(source, header, request.image_dir, request.keypoints_file)
    settings = {"num_shards": request.num_shards} | header["settings"]
    facts = (entry, settings, unknown, source.num_crowd_unknown)
    yield beam.pvalue.TaggedOutput("facts", facts)


def _source(request: _Request) -> tuple[coco.Source, dict]:
    with contextlib.ExitStack() as stack:
        local = {
            path: stack.enter_context(_local_copy(path))
            for path in (request.annotations_file, request.keypoints_file)
            if path
        }
        keypoints = local[request.keypoints_file] if request.keypoints_file else None
        try:
            source = coco.load(
                local[request.annotations_file],
                segmentations=request.settings.include_masks,
                keypoints_file=keypoints,
            )
        except InputError as error:
            message = str(error)
            for path, copy in local.items():
                message = message.replace(copy, path)
            raise InputError(message) from error
        header = {
            "sha256": source.sha256,
            "keypoints_sha256": source.keypoints_sha256,
            "settings": dataclasses.asdict(request.settings),
        }
    return dataclasses.replace(source, annotations_file=request.annotations_file), header


def _write(item: tuple[int, shards.Task]) -> Iterator:
    index, task = item
    try:
        yield index, shards.write(task, open_shard=_written_whole, read=_read)
    except InputError as error:
        yield beam.pvalue.TaggedOutput("problem", str(error))


def _finish(
    output_path: str,
    facts: list,
    results: list[tuple[int, shards.WrittenShard]],
    problems: list[str],
) -> None:
    """Writes the manifest and the ledger, or the first problem for `convert` to tell."""
    if problems:
        with _written_whole(_problems_path(output_path)) as file:
            file.write(min(problems).encode())
        return
    ((source, settings, unknown, crowd_unknown),) = facts
    in_order = [result for _, result in sorted(results, key=lambda item: item[0])]
    made = manifest.assemble(source, settings, in_order, unknown, crowd_unknown)
    ledger = manifest.ledger_of(made, unknown, in_order)
    manifest.write_ledger(output_path, ledger, _written_whole)
    manifest.write(output_path, made, _written_whole)


def _problems_path(output_path: str) -> str:
    return manifest.beside(output_path, "problems", ".txt")


def _read(path: str) -> bytes | None:
    """As `shards.read_image`, from any of Beam's file systems."""
    if not FileSystems.exists(path):
        return None
    with FileSystems.open(path) as file:
        return file.read()


@contextlib.contextmanager
def _written_whole(path: str) -> Iterator[IO[bytes]]:
    """As `whole_files.written_whole`, on any of Beam's file systems.

    The partial name is a bundle's own, for runners that retry.
    """
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    try:
        with FileSystems.create(partial, mime_type="application/octet-stream") as file:
            yield file
        if FileSystems.exists(path):
            FileSystems.delete([path])
        FileSystems.rename([partial], [path])
    except BaseException:
        with contextlib.suppress(Exception):
            FileSystems.delete([partial])
        raise


@contextlib.contextmanager
def _local_copy(path: str) -> Iterator[str]:
    """Path of a local copy with the same ending, gone when the block ends."""
    suffix = ".json.gz" if path.endswith(".gz") else ".json"
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
        with FileSystems.open(path, compression_type="uncompressed") as file:
            shutil.copyfileobj(file, copy)
        copy.flush()
        yield copy.name
