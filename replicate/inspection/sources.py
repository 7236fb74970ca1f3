"""Where the images come from: shards, a COCO folder, or Parquet; read as far as asked, no further.

COCO and Parquet become a temporary shard of the images that are looked at, made by the converter's
own function for one image; nothing is converted beyond them.
"""

import contextlib
import dataclasses
import glob
import itertools
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from replicate import records
from replicate.errors import UserError
from tfrecords import annotation_file, coco, features, framing, label_map, shards
from tfrecords.formats import parquet
from tfrecords.whole_files import in_temporary_folder

if TYPE_CHECKING:
    from google.protobuf.message import Message

COCO_SOURCE, PARQUET, RECORDS = "coco", "parquet", "records"


@dataclasses.dataclass(frozen=True)
class InspectionRequest:
    """What to look at.

    Attributes:
      records: pattern(s) of shards, comma-separated, or a folder; "" for the config's own.
      coco: annotation file, or a folder with annotations/instances_*.json.
      image_dir: folder of the images of `coco`; "" looks for it beside the annotations.
      parquet: folder, file or pattern of Parquet as the hub stores COCO.
      label_map: path; "" for the config's, or the categories of `coco` or `parquet`.
      max_images: cap on the images.
      seed: of the choice among the images of `coco`.
    """

    records: str = ""
    coco: str = ""
    image_dir: str = ""
    parquet: str = ""
    label_map: str = ""
    max_images: int = 100
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class StreamSource:
    """Where the stream reads from.

    Attributes:
      kind: "records", "coco" or "parquet".
      paths: as given or found.
      config: copy of the config that reads from there.
      categories: category id -> name, the label map's.
      images: of the whole source; None where that is not known without reading it.
      dropped: reason -> annotations (or images) that the converter leaves out of the images
        looked at; empty for records.
      how: a sentence: which images, in which order.
      ledger: what the converter's ledger would say of the images looked at; empty for records,
        whose conversion kept one.
      image_dir: folder of the images of an annotation file, or "".
    """

    kind: str
    paths: list[str]
    config: "Message"
    categories: dict[int, str]
    images: int | None
    dropped: dict[str, int]
    how: str
    ledger: list[dict] = dataclasses.field(default_factory=list)
    image_dir: str = ""


def image_dir_of(config: "Message", given_coco: str, given_records: str) -> str:
    """The folder of the training images, as far as they are known; "" where they are not.

    Args:
      config: TrainEvalPipelineConfig.
      given_coco: annotation file or folder, or "".
      given_records: shards' pattern(s), or "".
    """
    if given_coco:
        annotations, folder = _coco_paths(InspectionRequest(coco=given_coco))
        return str(folder or _image_dir_beside(annotations, coco.load(annotations).images))
    patterns = [_as_pattern(pattern) for pattern in given_records.split(",") if pattern]
    reader = config.train_input_reader
    if patterns:
        reader = _reading(config, patterns, reader.label_map_path).train_input_reader
    source = (records.of_reader(reader).manifest or {}).get("source", {})
    return source.get("image_dir") or ""


@contextlib.contextmanager
def opened(config: "Message", request: InspectionRequest) -> Iterator[StreamSource]:
    """Gives the StreamSource of a request; a temporary shard goes with the block.

    Raises:
      UserError, InputError: nothing there, more than one source, no label map, or records that the
        config cannot train on.
    """
    given = [name for name in ("records", "coco", "parquet") if getattr(request, name)]
    if len(given) > 1:
        raise UserError(f"give one of --{', --'.join(given)}: they are different data")
    reader = config.train_input_reader
    if reader.num_keypoints and given in (["coco"], ["parquet"]):
        raise UserError(
            "this config trains keypoints, which are in records alone: convert with "
            "tools/create_coco_tf_record.py and give --records"
        )
    if given == ["coco"]:
        annotations, image_dir = _coco_paths(request)
        with _temporary_shard() as shard:
            yield _from_coco(config, request, annotations, image_dir, shard)
    elif given == ["parquet"]:
        with _temporary_shard() as shard:
            yield _from_parquet(config, request, shard)
    else:
        yield _from_records(config, request)


@contextlib.contextmanager
def _temporary_shard() -> Iterator[pathlib.Path]:
    with in_temporary_folder("inspect-") as folder:
        yield folder / "looked-at.tfrecord"


# ---- records


def _from_records(config: "Message", request: InspectionRequest) -> StreamSource:
    given = [records for records in request.records.split(",") if records]
    patterns = [_as_pattern(records) for records in given]
    patterns = patterns or list(config.train_input_reader.tf_record_input_reader.input_path)
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern))
    if not paths:
        where = f"--records={request.records}" if given else "train_input_reader.input_path"
        raise UserError(
            f"{where}: no file matches {', '.join(patterns) or '(empty)'}; give --records, --coco "
            "or --parquet, or make records with tools/create_coco_tf_record.py"
        )
    from replicate.train import input_stream

    return StreamSource(
        kind=RECORDS,
        paths=patterns,
        config=_reading(config, patterns, path := _label_map_path(config, request)),
        categories=label_map.read(path),
        images=input_stream.count_records(paths),
        dropped={},
        how="in the order in which a run of this seed reads them",
    )


def _as_pattern(given: str) -> str:
    """A folder's shards, shards by their common prefix, or the pattern itself."""
    if os.path.isdir(given):
        return os.path.join(glob.escape(given), "*.tfrecord*")
    prefixed = f"{given}-?????-of-?????*"
    return prefixed if not glob.glob(given) and glob.glob(prefixed) else given


# ---- COCO


def _coco_paths(request: InspectionRequest) -> tuple[pathlib.Path, pathlib.Path | None]:
    """(annotation file, image folder), found where only a folder was given."""
    given = pathlib.Path(request.coco)
    annotations = given
    if given.is_dir():
        files = sorted([*given.glob("instances*.json"), *given.glob("annotations/instances*.json")])
        train = [path for path in files if "train" in path.name]
        if len(train or files) != 1:
            listed = ", ".join(map(str, files)) or "none"
            raise UserError(
                f"--coco={given}: one instances*.json is wanted there or in its annotations/, "
                f"found {listed}; give the file itself"
            )
        (annotations,) = train or files
    elif not given.is_file():
        raise UserError(f"--coco={given}: no such annotation file or folder")
    if request.image_dir:
        if not os.path.isdir(request.image_dir):
            raise UserError(f"--image_dir={request.image_dir}: no such folder")
        return annotations, pathlib.Path(request.image_dir)
    return annotations, None


def _image_dir_beside(
    annotations: pathlib.Path, images: Sequence[annotation_file.Image]
) -> pathlib.Path:
    """The folder near the annotation file that holds the first image."""
    roots = [annotations.parent, annotations.parent.parent]
    candidates = [
        folder
        for root in roots
        for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    ]
    for folder in candidates:
        if (folder / images[0].known_file_name).is_file():
            return folder
    raise UserError(
        f"{annotations}: its first image, {images[0].file_name}, is in no folder beside it; "
        "give --image_dir"
    )


def _from_coco(
    config: "Message",
    request: InspectionRequest,
    annotations: pathlib.Path,
    image_dir: pathlib.Path | None,
    shard: pathlib.Path,
) -> StreamSource:
    masks = config.train_input_reader.load_instance_masks
    source = coco.load(annotations, segmentations=masks)
    if not source.images:
        raise UserError(f"{annotations}: there is no image in it")
    folder = image_dir or _image_dir_beside(annotations, source.images)
    chosen = np.arange(len(source.images))
    if request.max_images < len(chosen):
        chosen = np.sort(
            np.random.default_rng(request.seed).permutation(chosen)[: request.max_images]
        )

    def rows() -> Iterator[tuple[coco.SourceImage, str, bytes | None]]:
        for index in chosen.tolist():
            image = source.image(index)
            path = os.path.join(folder, image.file_name)
            yield image, path, shards.read_image(path)

    dropped, ledger = _write(rows(), len(chosen), shard, source.categories, masks)
    for _, _, reason in source.unknown:
        dropped[f"annotations of the file: {reason}"] += 1
    return _of_shard(
        config, request, shard, COCO_SOURCE, [str(annotations), str(folder)], source.categories,
        len(source.images), dropped, ledger,
        "all of them" if len(chosen) == len(source.images)
        else f"{len(chosen):,} of them chosen by the seed",
    )  # fmt: skip


# ---- Parquet


def _from_parquet(
    config: "Message", request: InspectionRequest, shard: pathlib.Path
) -> StreamSource:
    if config.train_input_reader.load_instance_masks:
        raise UserError(
            "this config trains masks, which Parquet of the hub does not hold; give --coco or "
            "--records"
        )
    names = label_map.read(request.label_map) if request.label_map else None
    dataset = parquet.ParquetDataset([request.parquet], names)
    count = min(request.max_images, dataset.num_images)
    first = itertools.islice(dataset.rows(), count)
    rows = ((image, f"{request.parquet}: {image.file_name}", encoded) for image, encoded in first)
    dropped, ledger = _write(rows, count, shard, dataset.categories, False)
    return _of_shard(
        config, request, shard, PARQUET, dataset.names, dataset.categories, dataset.num_images,
        dropped, ledger,
        "all of them" if count == dataset.num_images else f"the first {count:,} of the stream",
    )  # fmt: skip


# ---- a temporary shard


def _write(
    rows: Iterable[tuple[coco.SourceImage, str, bytes | None]],
    count: int,
    shard: pathlib.Path,
    categories: dict[int, str],
    masks: bool,
) -> tuple[Counter[str], list[dict]]:
    """Writes the records of (image, name, bytes); returns what was left out: by reason, ledger."""
    settings = features.FeatureSettings(include_masks=masks, on_error="skip")
    dropped: Counter[str] = Counter()
    ledger: list[dict] = []
    with open(shard, "wb") as stream:
        writer = framing.Writer(stream)
        for image, name, encoded in tqdm(rows, total=count, desc="read", unit="image"):
            outcome = features.convert_image(image, encoded, name, categories, settings)
            if outcome.record is not None:
                writer.write(outcome.record)
            ledger += outcome.ledger
            for entry in outcome.ledger:
                what = "images" if entry["annotation_id"] is None else "annotations"
                dropped[f"{what}: {entry['reason']}"] += 1
        written = writer.records
    if not written:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise UserError(f"none of the {count} images can be used ({reasons})")
    return dropped, ledger


def _of_shard(
    config: "Message",
    request: InspectionRequest,
    shard: pathlib.Path,
    kind: str,
    paths: list[str],
    categories: dict[int, str],
    images: int,
    dropped: Mapping[str, int],
    ledger: list[dict],
    how: str,
) -> StreamSource:
    if request.label_map or os.path.isfile(config.train_input_reader.label_map_path):
        path = _label_map_path(config, request)
    else:
        path = str(shard.with_name("label_map.pbtxt"))
        label_map.write(categories, path)
    return StreamSource(
        kind=kind,
        paths=paths,
        config=_reading(config, [str(shard)], path),
        categories=label_map.read(path),
        images=images,
        dropped=dict(dropped),
        how=f"{how}, not in the order in which a run reads its records",
        ledger=ledger,
        image_dir=paths[1] if kind == COCO_SOURCE else "",
    )


def _label_map_path(config: "Message", request: InspectionRequest) -> str:
    path = request.label_map or config.train_input_reader.label_map_path
    if not os.path.isfile(path):
        raise UserError(
            f"{'--label_map' if request.label_map else 'train_input_reader.label_map_path'}: "
            f"{path or '(empty)'}: no such file; give --label_map, the one the records were made "
            "with"
        )
    return path


def _reading(config: "Message", patterns: Sequence[str], label_map_path: str) -> "Message":
    """A copy of the config that reads these records."""
    copy = type(config)()
    copy.CopyFrom(config)
    reader = copy.train_input_reader
    reader.tf_record_input_reader.ClearField("input_path")
    reader.tf_record_input_reader.input_path.extend(patterns)
    reader.label_map_path = label_map_path
    return copy
