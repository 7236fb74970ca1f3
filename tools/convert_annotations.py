#!/usr/bin/env python
"""Converts annotations between COCO JSON and other formats.

    # Pascal VOC XML, YOLO text, Penn-Fudan masks, Albumentations JSON Lines, hub Parquet to COCO
    python tools/convert_annotations.py --from=voc --input=VOC2012 --to=coco --output=voc.json
    python tools/convert_annotations.py --from=yolo --input=labels --image_dir=images \\
        --to=coco --output=labels.json
    python tools/convert_annotations.py --from=mask_pngs --input=PedMasks --image_dir=PNGImages \\
        --category=pedestrian --to=coco --output=pedestrians.json

    # COCO to them
    python tools/convert_annotations.py --from=coco --input=instances_val2017.json \\
        --to=parquet --image_dir=val2017 --split=val --output=data

    # a Parquet dataset as a stream, from a folder or the hub, to TFRecords, nothing unpacked
    python tools/convert_annotations.py --from=parquet --input='data/val-*.parquet' \\
        --label_map=label_map.pbtxt --to=tfrecord --output=records/val2017 --num_shards=32

    # COCO, as tools write it, to COCO as others read it: what an error message offers as --fix=…
    python tools/convert_annotations.py --from=coco --input=export.json --to=coco \\
        --fix=numbers,areas --output=mended.json

The result can go on to tools/create_coco_tf_record.py. What a format cannot hold is counted in the
output; docs/tfrecords.md has the table.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import json
from typing import TYPE_CHECKING

from absl import flags

from tfrecords import mending
from tfrecords.errors import InputError
from tfrecords.whole_files import refuse_existing, written_whole
from tools import cli

if TYPE_CHECKING:
    from tfrecords.formats.parquet import ParquetDataset

_FORMATS = ["coco", "voc", "yolo", "albumentations", "mask_pngs", "parquet"]
_FROM = flags.DEFINE_enum("from", None, _FORMATS, "format of the input")
_TO = flags.DEFINE_enum("to", None, [*_FORMATS, "tfrecord"], "format to write")
_INPUT = flags.DEFINE_multi_string(
    "input", None, "file or folder; for parquet also patterns and URLs, given several times"
)
_OUTPUT = flags.DEFINE_string("output", None, "new file or folder; tfrecord: prefix of the shards")
_IMAGE_DIR = flags.DEFINE_string(
    "image_dir",
    None,
    "the images: read (yolo, mask_pngs, to parquet, --fix), or written (parquet to coco)",
)
_CATEGORY = flags.DEFINE_string("category", "pedestrian", "mask_pngs: name of the one category")
_LABEL_MAP = flags.DEFINE_string(
    "label_map", None, "parquet: label map whose ids the labels get (by name); default: label + 1"
)
_BOX_LAYOUT = flags.DEFINE_enum(
    "box_layout", "auto", ["auto", "xywh", "xyxy"], "parquet: layout of the boxes"
)
_SPLIT = flags.DEFINE_string("split", "train", "to parquet: name of the split")
_FIX = flags.DEFINE_list(
    "fix", [], f"coco to coco: what to mend, as the error messages offer. {mending.help_text()}"
)
_NUM_SHARDS = flags.DEFINE_integer("num_shards", None, "tfrecord: number of shards", lower_bound=1)


def main(_: list[str]) -> None:
    if _TO.value == "tfrecord":
        if _FROM.value != "parquet":
            raise InputError(
                "--to=tfrecord is for --from=parquet; write COCO JSON first, then use "
                "tools/create_coco_tf_record.py"
            )
        from tfrecords import streaming

        _need(num_shards=_NUM_SHARDS.value)
        print(streaming.convert(_parquet(), _OUTPUT.value, _NUM_SHARDS.value))
        return
    if _TO.value == "coco":
        refuse_existing(_OUTPUT.value)
    if _FIX.value:
        if (_FROM.value, _TO.value) != ("coco", "coco"):
            raise InputError("--fix mends COCO JSON: --from=coco --to=coco")
        print("\n".join(mending.write(_one_input(), _OUTPUT.value, _FIX.value, _IMAGE_DIR.value)))
        return
    if (_FROM.value == "coco") == (_TO.value == "coco"):
        raise InputError(
            "one of --from and --to is coco: convert in two steps (both are, with --fix=…)"
        )
    counts = _from_coco() if _FROM.value == "coco" else _to_coco()
    print(", ".join(f"{name} {count}" for name, count in counts.items()))


def _to_coco() -> dict[str, int]:
    from tfrecords.formats import albumentations, mask_pngs, parquet, voc, yolo

    match _FROM.value:
        case "voc":
            content = voc.read(_one_input())
        case "yolo":
            _need(image_dir=_IMAGE_DIR.value)
            content = yolo.read(_one_input(), _IMAGE_DIR.value)
        case "albumentations":
            content = albumentations.read(_one_input())
        case "mask_pngs":
            _need(image_dir=_IMAGE_DIR.value)
            content = mask_pngs.read(_one_input(), _IMAGE_DIR.value, _CATEGORY.value)
        case "parquet":
            _need(image_dir=_IMAGE_DIR.value)
            content = parquet.read(_parquet(), _IMAGE_DIR.value)
    with written_whole(_OUTPUT.value) as file:
        json.dump(content, file, ensure_ascii=False)
    return {name: len(content[name]) for name in ("images", "annotations", "categories")}


def _from_coco() -> dict[str, int]:
    from tfrecords import coco
    from tfrecords.formats import albumentations, mask_pngs, parquet, voc, yolo

    path = _one_input()
    match _TO.value:
        case "voc":
            return voc.write(path, _OUTPUT.value)
        case "yolo":
            return yolo.write(path, _OUTPUT.value)
        case "albumentations":
            return albumentations.write(coco.load(path), _OUTPUT.value)
        case "mask_pngs":
            return mask_pngs.write(coco.load(path, segmentations=True), _OUTPUT.value)
        case "parquet":
            _need(image_dir=_IMAGE_DIR.value)
            return parquet.write(coco.load(path), _IMAGE_DIR.value, _OUTPUT.value, _SPLIT.value)
    raise AssertionError(_TO.value)  # the flag takes no other


def _parquet() -> "ParquetDataset":
    from tfrecords import label_map
    from tfrecords.formats import parquet

    labels = label_map.read(_LABEL_MAP.value) if _LABEL_MAP.value else None
    return parquet.ParquetDataset(_INPUT.value, labels, _BOX_LAYOUT.value)


def _one_input() -> str:
    if len(_INPUT.value) != 1:
        raise InputError("several --input are for parquet; give one")
    return _INPUT.value[0]


def _need(**values: str | None) -> None:
    missing = [f"--{name}" for name, value in values.items() if value is None]
    if missing:
        raise InputError(f"--from={_FROM.value} --to={_TO.value} needs {', '.join(missing)}")


if __name__ == "__main__":
    cli.run(main, required=["from", "to", "input", "output"], folders=["output"])
