"""The published models of the TensorFlow 2 detection zoo.

    python tools/zoo.py list --family=ssd --sort=map
    python tools/zoo.py show ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8
    python tools/zoo.py list --format=json
    python tools/zoo.py check_links
    python tools/zoo.py reruns
    python tools/zoo.py list --engine=tfvision

`list` prints one line a model: input size (pixels), speed (published ms an image), COCO mAP in
points (boxes, masks, keypoints) and whether its training config is public. `show` prints all that
is known of one: each published figure with its document, the weights that training starts from,
what others measured when they evaluated the released model again. `reruns` lists all of those and
how far they lie from the table by the recipe's resizer (docs/replications.md).
`check_links` asks the server for every archive; exit status 1: one is not there.

--engine=tfvision lists TF-Vision's published detectors instead (docs/tfvision.md): input, epochs,
box and mask AP, the figures in the header of the YAML where it has others, the factory. Their names
are the kit's; `show` gives both sources of every figure that they disagree on.

MODEL may be the archive's name, the training config's, the display name, a released archive
(MODEL.tar.gz), a pipeline.config or a run of one. Where no training config was published, the
archive has one: fetch it with tools/download.py zoo MODEL, and give the archive wherever a model
is asked for.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from replicate import config, zoo
from replicate.errors import UserError
from replicate.zoo import vision
from tools import cli

_ENGINE = flags.DEFINE_enum(
    "engine",
    "odapi",
    ["odapi", "tfvision"],
    "whose models: the Object Detection API's, TF-Vision's",
)
_FAMILY = flags.DEFINE_enum(
    "family",
    None,
    list(dict.fromkeys([*zoo.families(), *vision.families()])),
    "list this family alone",
)
_SORT = flags.DEFINE_enum("sort", None, ["map", "speed"], "best mAP or fastest first")
_FORMAT = flags.DEFINE_enum("format", "text", ["text", "json"], "how the answer is written")

_VISION_COLUMNS = (
    *("model", "input", "epochs", "box", "mask", "header box", "header mask", "experiment"),
)
_COLUMNS = ("model", "input", "ms", "box", "mask", "keypoint", "training config")


def main(arguments: list[str]) -> int:
    match arguments:
        case ["list"] if _ENGINE.value == "tfvision":
            listed = _listed_vision()
            print(_json([_vision_record(row) for row in listed]) if _as_json() else _vision(listed))
        case ["list"]:
            rows = _listed()
            print(_json([_record(row) for row in rows]) if _as_json() else _table(rows))
        case ["reruns"]:
            print(_json(_reruns()) if _as_json() else _reruns_text())
        case ["check_links"]:
            return _check_links()
        case ["show", model] if _is_vision(model):
            record = _vision_record(vision.find(model))
            print(_json(record) if _as_json() else _sheet(record))
        case ["show", model]:
            record = _details(model)
            print(_json(record) if _as_json() else _sheet(record))
        case _:
            raise UserError("say what to do: python tools/zoo.py list, show MODEL, or reruns")
    return cli.DONE


def _is_vision(model: str) -> bool:
    """Whether `model` is asked of TF-Vision: by the flag, or as only its rows have the name."""
    return _ENGINE.value == "tfvision" or (zoo.get(model) is None and vision.get(model) is not None)


def _listed_vision() -> list[vision.VisionRow]:
    rows = [row for row in vision.rows() if _FAMILY.value in (None, row.family)]
    if not rows:
        raise UserError(f"--family={_FAMILY.value}: TF-Vision has {', '.join(vision.families())}")
    if _SORT.value == "speed":
        raise UserError("--sort=speed: TF-Vision's tables give no speeds; --sort=map sorts by AP")
    if _SORT.value == "map":
        rows.sort(key=lambda row: row.box_ap or 0.0, reverse=True)
    return rows


def _vision_record(row: vision.VisionRow) -> dict:
    record = {**dataclasses.asdict(row), "input_size": row.input_size}
    return record | {"checkpoint_state": row.checkpoint_state, "disagrees": row.disagrees}


def _vision(rows: list[vision.VisionRow]) -> str:
    lines = [
        (
            row.name,
            row.input_size,
            "" if row.epochs is None else str(row.epochs),
            _ap(row.box_ap),
            _ap(row.mask_ap),
            _ap(row.header_box_ap),
            _ap(row.header_mask_ap),
            row.experiment,
        )
        for row in rows
    ]
    return _aligned(_VISION_COLUMNS, lines, range(2, 7))


def _ap(value: float | None) -> str:
    """As many digits as the document gives."""
    return "" if value is None else f"{value:.2f}".removesuffix("0")


def _check_links() -> int:
    """Asks the server for every archive's header; tells those that are not there."""
    from tfrecords import fetch

    broken = 0
    for url in dict.fromkeys(row.url for row in zoo.rows()):
        answer = fetch.head(url)
        broken += not answer.there
        print(f"{answer.said}  {url}")
    return cli.NEGATIVE if broken else cli.DONE


def _listed() -> list[zoo.Row]:
    rows = [row for row in zoo.rows() if _FAMILY.value in (None, row.family)]
    if not rows:
        raise UserError(f"--family={_FAMILY.value}: the zoo has {', '.join(zoo.families())}")
    if _SORT.value == "speed":
        rows.sort(key=lambda row: row.speed_ms or float("inf"))
    if _SORT.value == "map":
        rows.sort(key=lambda row: row.box_map or 0.0, reverse=True)
    return rows


def _record(row: zoo.Row) -> dict[str, Any]:
    return {**dataclasses.asdict(row), "input_size": row.input_size}


def _details(model: str) -> dict[str, Any]:
    """What is known of one model: its row (if the zoo has one) and the facts of its config."""
    row, template = zoo.get(model), config.template_name(model)
    if row is None and pathlib.Path(model).exists():
        row = config.recipe_of(model).row
    elif row is None and template is None:
        zoo.find(model)
    record: dict[str, Any]
    record = _record(row) if row else {"archive": pathlib.Path(model).name, "note": "no zoo row"}
    if template or pathlib.Path(model).exists():
        facts = config.facts(config.read(model))
        record["config"] = {**dataclasses.asdict(facts), "images_seen": facts.images_seen}
    record["reruns"] = [dataclasses.asdict(rerun) for rerun in zoo.reruns(model)]
    if (point := zoo.starting_point(model)) is not None:
        record["starting_point"] = {
            key: value for key, value in dataclasses.asdict(point).items() if key != "templates"
        }
    return record


def _reruns() -> dict[str, Any]:
    return {
        "reruns": [dataclasses.asdict(rerun) | {"gap": rerun.gap} for rerun in zoo.all_reruns()],
        "gaps": {name: dataclasses.asdict(gap) for name, gap in zoo.gaps_by_resizer().items()},
    }


def _reruns_text() -> str:
    lines = [f"{rerun.zoo:7}{rerun.model:55}{rerun}" for rerun in zoo.all_reruns()]
    lines += ["", "SavedModels of the TF2 zoo, by their recipe's resizer, against the table:"]
    lines += [
        f"  {name:12}{gap.models:4}  {-gap.least:.2f} to {-gap.most:.2f} below, "
        f"median {-gap.median:.2f}"
        for name, gap in zoo.gaps_by_resizer().items()
    ]
    return "\n".join(lines)


def _table(rows: list[zoo.Row]) -> str:
    lines = [
        (
            row.archive,
            row.input_size,
            _number(row.speed_ms, 0),
            _number(row.box_map, 1),
            _number(row.mask_map, 1),
            _number(row.keypoint_map, 1),
            "public" if row.template else "in the archive",
        )
        for row in rows
    ]
    return _aligned(_COLUMNS, lines, range(2, 6))


def _aligned(columns: Sequence[str], lines: Sequence[tuple[str, ...]], right: range) -> str:
    """A table with a head; the cells of the columns in `right` stand to the right."""
    widths = [max(len(line[i]) for line in [columns, *lines]) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [columns, *lines]
    )


def _sheet(record: dict[str, Any]) -> str:
    lines = []
    for name, value in record.items():
        if name == "reruns":
            lines += [f"re-evaluated by others: {zoo.Rerun(**rerun)}" for rerun in value]
        elif name == "disagrees":
            lines += [f"disagrees: {text}" for text in value]
        elif name == "figures":
            lines += [f"published: {zoo.Figure(**figure)}" for figure in value]
        elif isinstance(value, dict):
            lines += [f"{name}:", *(f"  {line}" for line in _sheet(value).splitlines())]
        elif value not in (None, "", ()):
            text = ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else value
            lines.append(f"{name}: {text}")
    return "\n".join(lines)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1)


def _as_json() -> bool:
    return _FORMAT.value == "json"


if __name__ == "__main__":
    cli.run(main)
