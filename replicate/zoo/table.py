"""The rows of the zoo's table, kept in `data/zoo.csv`, and the names they answer to.

Input sizes are those of the training config where one is public; the figures' sources are in
each row's `figures`.
"""

import csv
import difflib
import functools
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from replicate.errors import UserError
from replicate.zoo import figures, vision
from replicate.zoo.row import Row

_DATA = pathlib.Path(__file__).parent.parent / "data" / "zoo.csv"
# Recipes that the table does not list, with the figure in their config's header: no archive.
_ALONE = _DATA.with_name("zoo_configs_alone.csv")


@functools.cache
def rows() -> list[Row]:
    """The 43 published rows, in the order of the published table."""
    return _read(_DATA)


def families() -> list[str]:
    """The families' names, in the order of the table."""
    return list(dict.fromkeys(row.family for row in rows()))


def find(name: str) -> Row:
    """The row that answers to `name`: an archive's, a training config's or a display name.

    Case does not matter; folders before the name and `.tar.gz` or `.config` after it are ignored.
    A recipe that the table does not list is found too, with the figure in its config's header.
    Of two rows with the same archive name (ExtremeNet) the newer one is returned; display names
    are unique.

    Raises:
      UserError: no such row; the message lists the nearest names.
    """
    row = get(name)
    if row is None:
        raise unknown(name)
    return row


def get(name: str) -> Row | None:
    """Like `find`, but None where no row answers to `name`."""
    return _by_name().get(_normal(name))


def unknown(name: str, others: Iterable[str] = ()) -> UserError:
    """The `UserError` about a name that is no model's, with the nearest that are.

    Args:
      name: what was asked for.
      others: names that would have done besides those of the rows.
    """
    if vision.get(name) is not None:
        return UserError(
            f"'{name}' is TF-Vision's, and this is told of the Object Detection API's models "
            "alone; docs/tfvision.md says what the kit does with it"
        )
    rows_names = [model for row in rows() for model in (row.archive, row.template) if model]
    of_vision = [row.name for row in vision.rows()]
    known = {_normal(model): model for model in [*rows_names, *others, *of_vision]}
    close = difflib.get_close_matches(_normal(name), known, n=3, cutoff=0.5)
    lines = [
        f"unknown zoo model '{name}'",
        *(f"did you mean {known[model]}?" for model in close),
    ]
    return UserError("\n  ".join([*lines, "all of them: python tools/zoo.py list"]))


@functools.cache
def _by_name() -> dict[str, Row]:
    # Later rows win: of two rows for one archive the table lists the deprecated one first.
    return {_normal(name): row for row in [*_read(_ALONE), *rows()] for name in row.names}


def _read(path: pathlib.Path) -> list[Row]:
    with open(path, encoding="utf-8", newline="") as table:
        return [_row(record) for record in csv.DictReader(table)]


def _normal(name: str) -> str:
    name = pathlib.PurePath(name.strip()).name
    return name.lower().removesuffix(".tar.gz").removesuffix(".config")


def _row(record: dict[str, str]) -> Row:
    def number(text: str, kind: Callable[[str], Any] = float) -> Any:
        return kind(text) if text else None

    return Row(
        archive=record["archive"],
        display_name=record["display_name"],
        family=record["family"],
        input_height=number(record["input_height"], int),
        input_width=number(record["input_width"], int),
        resizer=record["resizer"] or None,
        speed_ms=number(record["speed_ms"]),
        box_map=number(record["box_map"]),
        mask_map=number(record["mask_map"]),
        keypoint_map=number(record["keypoint_map"]),
        outputs=tuple(record["outputs"].split("/")),
        template=record["template"] or None,
        url=record["url"],
        note=record["note"],
        sha256=record.get("sha256") or "",
        figures=figures.of_record(record),
    )
