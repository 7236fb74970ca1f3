"""COCO as the Hugging Face hub stores it: Parquet files with the images' bytes in them.

One row an image: image_id, image {bytes, path}, width, height, and objects, which holds for each
object its category (a label from 0), bbox, area and, in some datasets, an id and a crowd flag.
Rows are read as a stream, a batch at a time, from local files or over HTTP, with nothing unpacked.
"""

import glob
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tfrecords import coco, formats, shards
from tfrecords.errors import InputError
from tfrecords.formats import contract

_BATCH_ROWS = 64
_TOLERANCE_PX = 1.0  # a box may leave its image by this and still speak for a layout
_LAYOUT_KEY = b"box_layout"  # written by `write`; other writers do not say
LAYOUTS = ("auto", "xywh", "xyxy")
# The words of the hub's COCO datasets (detection-datasets/coco, rafaelpadilla/coco2017 and kin).
_IDS, _LABELS, _CROWD = ("bbox_id", "id", "ids"), ("category", "label"), ("iscrowd", "is_crowd")


class ParquetDataset:
    """Parquet files as a dataset of images; iterate `rows()`.

    Attributes:
      names: the files, in order.
      num_images: rows in all files.
      categories: names by category id.
      box_layout: "xywh" or "xyxy", pixels.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike],
        label_map: dict[int, str] | None = None,
        box_layout: str = "auto",
    ) -> None:
        """Opens the files and reads what they say of themselves.

        Args:
          paths: list of files, folders (their *.parquet), patterns, or URLs (https://…, and
            hf://datasets/NAME/… with huggingface_hub installed).
          label_map: names by category id. Labels are matched by name where the files name
            them, otherwise by position. Without it, ids are the labels plus 1.
          box_layout: "xywh", "xyxy" (the hub has both), or "auto", which asks whether the
            boxes of the first images fit into them.

        Raises:
          InputError: no files; not Parquet, or other columns; labels without names; a layout that
            cannot be told.
        """
        self.names = _expanded(paths)
        first = self._open(self.names[0])
        self.num_images = sum(self._open(name).metadata.num_rows for name in self.names)
        self._label_ids, self.categories = _categories(
            _label_names(first.schema_arrow), label_map, self.names[0]
        )
        noted = (first.schema_arrow.metadata or {}).get(_LAYOUT_KEY, b"").decode()
        self.box_layout = noted or box_layout
        if self.box_layout == "auto":
            batch = next(first.iter_batches(_BATCH_ROWS), None)
            self.box_layout = _told_layout([] if batch is None else batch.to_pylist(), first)

    def rows(self) -> Iterator[tuple[coco.SourceImage, bytes]]:
        """Yields (`coco.SourceImage`, the image's bytes), in the files' order.

        Annotations without an id are numbered from 1; without an area, the box's is taken.

        Raises:
          InputError: naming the file and the row.
        """
        annotations, rows = 0, contract.Rows(self.categories)
        for name in self.names:
            row = 0
            for batch in self._batches(name):
                for entry in batch.to_pylist():
                    with contract.named(f"{name}: row {row}"):
                        image, encoded = self._image(entry, annotations)
                        _check(image, rows)
                    annotations += len(image.objects.ids)
                    row += 1
                    yield image, encoded

    def _batches(self, name: str) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._open(name).iter_batches(_BATCH_ROWS)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{name}: damaged, or cut off: {error}") from error

    def _open(self, name: str) -> pq.ParquetFile:
        try:
            source = fsspec.open(name, "rb").open() if "://" in name else name
            file = pq.ParquetFile(source)
        except ImportError as error:
            raise _lacking(name, error) from error
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{name}: cannot be read as Parquet: {error}") from error
        lacking = {"image", "objects"} - set(file.schema_arrow.names)
        if lacking:
            raise InputError(
                f"{name}: lacks the column(s) {', '.join(sorted(lacking))}; it has "
                f"{', '.join(file.schema_arrow.names)}"
            )
        return file

    def _image(self, entry: dict, before: int) -> tuple[coco.SourceImage, bytes]:
        encoded = entry["image"]["bytes"]
        if not isinstance(encoded, bytes):
            raise ValueError("the image has no bytes")
        width, height = entry.get("width"), entry.get("height")
        if width is None or height is None:
            width, height = _size_of(encoded)
        columns = _columns(entry["objects"])
        boxes = [_xywh(box, self.box_layout) for box in columns["bbox"]]
        count = len(boxes)
        ids = _first_of(columns, _IDS) or list(range(before + 1, before + count + 1))
        crowd = [int(flag) for flag in _first_of(columns, _CROWD) or [0] * count]
        objects = coco.Objects(
            ids=ids,
            category_ids=[self._category_id(label) for label in _first_of(columns, _LABELS) or []],
            boxes_xywh_px=boxes,
            areas_px=columns.get("area") or [w * h for _, _, w, h in boxes],
            crowd=crowd,
        )
        lengths = {len(objects.ids), len(objects.category_ids), len(objects.areas_px), len(crowd)}
        if lengths != {count}:
            raise ValueError(f"{count} boxes with lists of {sorted(lengths)} entries")
        image_id = entry["image_id"]
        name = entry["image"].get("path") or f"{image_id:012d}.jpg"
        # Datasets give paths of the machine that made them; the last part is the file's name.
        name = name.replace("\\", "/").rsplit("/", 1)[-1]
        return coco.SourceImage(image_id, name, (height, width), objects), encoded

    def _category_id(self, label: Any) -> int:
        whole = isinstance(label, int) and not isinstance(label, bool)
        if not whole or not 0 <= label < len(self._label_ids):
            raise ValueError(f"label {label!r} is none of the {len(self._label_ids)} (from 0)")
        return self._label_ids[label]


def _size_of(encoded: bytes) -> tuple[int, int]:
    """(width, height) of an image's bytes."""
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            return opened.size
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a readable image: {error}") from error


def _check(image: coco.SourceImage, rows: contract.Rows) -> None:
    """Holds a row to the contract of foreign formats."""
    rows.image(image.id, image.file_name, image.image_hw)
    for row in _objects(image):
        rows.annotation(*row)


def _objects(image: coco.SourceImage) -> Iterator[tuple]:
    """(id, category id, box_xywh_px, area_px, crowd) of each object of an image."""
    objects = image.objects
    return zip(
        objects.ids,
        objects.category_ids,
        objects.boxes_xywh_px,
        objects.areas_px,
        objects.crowd,
        strict=True,
    )


def read(dataset: ParquetDataset, image_dir: str | os.PathLike) -> dict:
    """The content of a COCO JSON; the images are written to `image_dir`, a new folder."""
    images, annotations = [], []
    with formats.new_folder(image_dir) as partial:
        for image, encoded in dataset.rows():
            (partial / image.file_name).write_bytes(encoded)
            height, width = image.image_hw
            images.append(
                {"id": image.id, "file_name": image.file_name, "height": height, "width": width}
            )
            annotations += _annotations(image)
    return formats.document(images, annotations, dataset.categories)


def write(
    source: coco.Source,
    image_dir: str | os.PathLike,
    folder: str | os.PathLike,
    split: str = "train",
    rows_a_file: int = 5000,
) -> dict[str, int]:
    """Writes FOLDER/SPLIT-00000-of-0000N.parquet, which the hub's viewer and `datasets` read.

    Args:
      image_dir: the images.
      folder: a new folder.
      split: the split's name.
      rows_a_file: images in one file.

    Returns:
      dict of counts: images, annotations.

    Raises:
      InputError: an image is missing, or the folder exists.
    """
    labels = {category_id: label for label, category_id in enumerate(source.categories)}
    schema = _schema(list(source.categories.values()))
    count = len(source.images)
    files = max(1, -(-count // rows_a_file))
    annotations = 0
    with formats.new_folder(folder) as partial:
        for index in range(files):
            path = partial / f"{split}-{index:05d}-of-{files:05d}.parquet"
            end = min(count, (index + 1) * rows_a_file)
            with pq.ParquetWriter(path, schema) as writer:
                for first in range(index * rows_a_file, end, _BATCH_ROWS):
                    images = [source.image(i) for i in range(first, min(end, first + _BATCH_ROWS))]
                    rows = [_row(image, image_dir, labels) for image in images]
                    annotations += sum(len(image.objects.ids) for image in images)
                    writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
    return {"images": count, "annotations": annotations}


def _expanded(paths: Iterable[str | os.PathLike]) -> list[str]:
    names = []
    for path in paths:
        path = os.fspath(path)
        if "://" in path:
            if any(letter in path for letter in "*?["):
                names += _globbed(path)
            else:
                names.append(path)
        elif os.path.isdir(path):
            names += sorted(glob.glob(os.path.join(glob.escape(path), "*.parquet")))
        else:
            names += sorted(glob.glob(path))
    if not names:
        raise InputError(f"{', '.join(map(str, paths))}: no Parquet files there")
    return names


def _globbed(url: str) -> list[str]:
    try:
        return [file.full_name for file in fsspec.open_files(url)]
    except ImportError as error:
        raise _lacking(url, error) from error
    except (ValueError, OSError, NotImplementedError) as error:
        raise InputError(f"{url}: cannot be listed: {error}; name the files one by one") from error


def _lacking(name: str, error: ImportError) -> InputError:
    return InputError(f"{name}: {error}; for hf:// addresses pip install -r requirements-hub.txt")


def _label_names(schema: pa.Schema) -> list[str] | None:
    """The class names in the hub's metadata, None where it has none."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]["objects"]
    except (KeyError, TypeError, ValueError):
        return None
    features = features[0] if isinstance(features, list) else features.get("feature", features)
    for key in _LABELS:
        if key in features:
            label = features[key]
            label = label[0] if isinstance(label, list) else label.get("feature", label)
            return label.get("names")
    return None


def _categories(
    names: list[str] | None, label_map: dict[int, str] | None, where: str
) -> tuple[list[int], dict[int, str]]:
    """(category id by label, {category id: name})."""
    if label_map is None:
        if names is None:
            raise InputError(f"{where}: does not name its labels; give a label map")
        return list(range(1, len(names) + 1)), dict(enumerate(names, start=1))
    if names is None:
        return sorted(label_map), dict(sorted(label_map.items()))
    by_name = {name: category_id for category_id, name in label_map.items()}
    lacking = [name for name in names if name not in by_name]
    if lacking:
        raise InputError(f"{where}: label(s) {', '.join(lacking[:5])} are not in the label map")
    ids = [by_name[name] for name in names]
    return ids, dict(sorted(zip(ids, names, strict=True)))


def _told_layout(entries: list[dict], file: pq.ParquetFile) -> str:
    """Which layout lets every box lie in its image and hold its object's area."""
    possible = {"xywh", "xyxy"}
    for entry in entries:
        width, height = entry.get("width"), entry.get("height")
        columns = _columns(entry["objects"])
        areas = columns.get("area") or [0] * len(columns["bbox"])
        for box, area in zip(columns["bbox"], areas, strict=True):
            for layout in list(possible):
                x, y, w, h = _xywh(box, layout)
                inside = not (width and height) or (
                    x + w <= width + _TOLERANCE_PX and y + h <= height + _TOLERANCE_PX
                )
                if not (inside and w >= 0 and h >= 0 and area <= (w + 1) * (h + 1)):
                    possible.discard(layout)
    if len(possible) == 1:
        return possible.pop()
    raise InputError(
        f"the first {len(entries)} images do not tell whether boxes are xywh or xyxy; say "
        "--box_layout, after a look at the dataset's page"
    )


def _columns(objects: dict | list[dict]) -> dict[str, list]:
    """Objects as a dict of lists; some writers store a list of dicts."""
    if isinstance(objects, list):
        keys = objects[0] if objects else ("bbox", *_LABELS)
        return {key: [entry[key] for entry in objects] for key in keys}
    return {key: values if values is not None else [] for key, values in objects.items()}


def _first_of(columns: dict[str, list], names: Iterable[str]) -> list | None:
    return next((columns[name] for name in names if name in columns), None)


def _xywh(box: Sequence[float], layout: str) -> list[float]:
    x, y, third, fourth = box
    return [x, y, third - x, fourth - y] if layout == "xyxy" else [x, y, third, fourth]


def _annotations(image: coco.SourceImage) -> list[dict]:
    return [
        {
            "id": annotation_id,
            "image_id": image.id,
            "category_id": category_id,
            "bbox": box,
            "area": area,
            "iscrowd": crowd,
        }
        for annotation_id, category_id, box, area, crowd in _objects(image)
    ]


def _row(image: coco.SourceImage, image_dir: str | os.PathLike, labels: dict[int, int]) -> dict:
    path = os.path.join(image_dir, image.file_name)
    encoded = shards.read_image(path)
    if encoded is None:
        raise InputError(f"{path}: no such image (image {image.id}); is --image_dir right?")
    height, width = image.image_hw
    objects = image.objects
    return {
        "image_id": image.id,
        "image": {"bytes": encoded, "path": os.path.basename(image.file_name)},
        "width": width,
        "height": height,
        "objects": {
            "bbox_id": objects.ids,
            "category": [labels[category_id] for category_id in objects.category_ids],
            "bbox": objects.boxes_xywh_px,
            "area": objects.areas_px,
            "iscrowd": [bool(crowd) for crowd in objects.crowd],
        },
    }


def _schema(names: list[str]) -> pa.Schema:
    """The Arrow schema, with the features that `datasets` looks for in the metadata."""

    def value(dtype: str) -> dict[str, str]:
        return {"dtype": dtype, "_type": "Value"}

    features = {
        "image_id": value("int64"),
        "image": {"_type": "Image"},
        "width": value("int64"),
        "height": value("int64"),
        "objects": {
            "feature": {
                "bbox_id": value("int64"),
                "category": {"names": names, "_type": "ClassLabel"},
                "bbox": {"feature": value("float64"), "length": 4, "_type": "Sequence"},
                "area": value("float64"),
                "iscrowd": value("bool"),
            },
            "_type": "Sequence",
        },
    }
    objects = [
        ("bbox_id", pa.list_(pa.int64())),
        ("category", pa.list_(pa.int64())),
        ("bbox", pa.list_(pa.list_(pa.float64(), 4))),
        ("area", pa.list_(pa.float64())),
        ("iscrowd", pa.list_(pa.bool_())),
    ]
    columns = [
        ("image_id", pa.int64()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("objects", pa.struct(objects)),
    ]
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}).encode(),
        _LAYOUT_KEY: b"xywh",
    }
    return pa.schema(columns, metadata)
