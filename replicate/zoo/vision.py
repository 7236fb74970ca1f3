"""TF-Vision's published detectors (official/vision and its projects), kept in `data/tfvision.csv`.

    from replicate.zoo import vision
    vision.find("retinanet_mobile_spinenet49_384").box_ap        # 28.1
    vision.find("retinanet_mobile_spinenet49_384").disagrees     # the YAML's header says 27.6

Names are the kit's: the published tables have display names alone.
"""

import csv
import dataclasses
import difflib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from replicate.errors import UserError
from replicate.zoo.figures import Figure
from replicate.zoo.row import Row

_DATA = pathlib.Path(__file__).parent.parent / "data" / "tfvision.csv"
#: The page that says train2017 and val2017 of its tables.
_SAYS_VAL2017 = "official/vision/README.md"
#: Where it is reported that the bucket of every published checkpoint is gone.
GONE = "reported gone with all of tf_model_garden/vision (tensorflow/models#13610)"


@dataclasses.dataclass(frozen=True)
class VisionRow:
    """One published row.

    Attributes:
      name: the kit's name of it.
      display_name: the published table's.
      family: retinanet, mask_rcnn, cascade_rcnn, centernet, detr, panoptic_fpn or
        deep_mask_head_rcnn.
      experiment: the factory that its config starts from.
      experiment_inferred: whether no document names that factory.
      yaml: file name of the published overrides; "" where there are none.
      yaml_source: repository, path and commit of that file.
      input_height, input_width: pixels, as the table or the config has them; None where neither.
      epochs: as the table says, or train_steps by 118287 images where it says nothing.
      params_m, flops_b: millions and billions, where a table gives them.
      box_ap, mask_ap: COCO AP in points, as `source` publishes it.
      header_box_ap, header_mask_ap: the same, as the header of the YAML has it.
      hardware: what it was trained on, where a document says.
      checkpoint_url: the published weights, "" where there are none.
      note: what the documents disagree on, and what was inferred.
      source: repository, path and commit of the document with the figures.
    """

    name: str
    display_name: str
    family: str
    experiment: str
    experiment_inferred: bool
    yaml: str
    yaml_source: str
    input_height: int | None
    input_width: int | None
    epochs: int | None
    params_m: float | None
    flops_b: float | None
    box_ap: float | None
    mask_ap: float | None
    header_box_ap: float | None
    header_mask_ap: float | None
    hardware: str
    checkpoint_url: str
    note: str
    source: str

    @property
    def input_size(self) -> str:
        """ "640x640" (height x width, pixels), or "" where unknown."""
        return f"{self.input_height}x{self.input_width}" if self.input_height else ""

    def as_row(self) -> Row:
        """The row as the verdict takes it, with every figure that COCO val2017 was scored for.

        The deep mask heads' figures are of the categories that no mask was trained of; they have
        none here.
        """
        figures = [] if self.family == "deep_mask_head_rcnn" else list(self._figures())
        masks = any(figure.kind == "mask" for figure in figures)
        return Row(
            archive=self.name,
            display_name=self.display_name,
            family=self.family,
            input_height=self.input_height,
            input_width=self.input_width,
            resizer="keep_aspect",
            speed_ms=None,
            box_map=self.box_ap,
            mask_map=self.mask_ap,
            keypoint_map=None,
            outputs=("Boxes", "Masks") if masks else ("Boxes",),
            template=None,
            url=self.checkpoint_url,
            note=self.note,
            sha256="",
            figures=tuple(figures),
        )

    def _figures(self) -> Iterator[Figure]:
        """The table's figures, then the header's; one that stands in the header alone is its."""
        for origin, source, points in (
            ("table", self.source, (self.box_ap, self.mask_ap)),
            ("header", self.yaml_source, (self.header_box_ap, self.header_mask_ap)),
        ):
            document, _, commit = source.partition("@")
            if origin == "table" and document.endswith(".yaml"):
                continue
            for kind, value in zip(("box", "mask"), points, strict=True):
                if value is not None:
                    yield Figure(
                        kind=kind,
                        points=value,
                        decimals=len(_digits(value).partition(".")[2]),
                        origin=origin,
                        runs=None,
                        spread=None,
                        val2017="stated" if document.endswith(_SAYS_VAL2017) else "inferred",
                        document=document,
                        commit=commit,
                        released="",
                    )

    @property
    def checkpoint_state(self) -> str:
        """What is known of the published weights."""
        return GONE if self.checkpoint_url else "none published"

    @property
    def disagrees(self) -> tuple[str, ...]:
        """Each figure that the table and the YAML's header give differently, both with source."""
        pairs = (
            ("box", self.box_ap, self.header_box_ap),
            ("mask", self.mask_ap, self.header_mask_ap),
        )
        return tuple(
            f"{kind} AP {table:g} ({self.source}), {header:g} (header of {self.yaml_source})"
            for kind, table, header in pairs
            if table is not None and header is not None and table != header
        )


@functools.cache
def rows() -> list[VisionRow]:
    """The 48 rows, in the order of the published tables."""
    with open(_DATA, encoding="utf-8", newline="") as file:
        return [_row(record) for record in csv.DictReader(file)]


def families() -> list[str]:
    """The families' names, in the order of the tables."""
    return list(dict.fromkeys(row.family for row in rows()))


def get(name: str) -> VisionRow | None:
    """The row of a name or display name, None where there is none or more than one."""
    wanted = name.strip().lower()
    for row in rows():
        if row.name == wanted:
            return row
    shown = [row for row in rows() if row.display_name.lower() == wanted]
    return shown[0] if len(shown) == 1 else None


def find(name: str) -> VisionRow:
    """Like `get`; raises UserError with the nearest names where there is no such row."""
    row = get(name)
    if row is None:
        close = difflib.get_close_matches(name.lower(), [model.name for model in rows()], 3, 0.5)
        lines = [f"unknown TF-Vision model '{name}'", *(f"did you mean {near}?" for near in close)]
        lines.append("all of them: python tools/zoo.py list --engine=tfvision")
        raise UserError("\n  ".join(lines))
    return row


def _digits(points: float) -> str:
    """A figure with the digits that the documents print: one, or two."""
    return f"{points:.2f}".removesuffix("0")


def _row(record: dict[str, str]) -> VisionRow:
    def number(key: str, kind: Callable[[str], Any] = float) -> Any:
        return kind(record[key]) if record[key] else None

    texts = (
        *("name", "display_name", "family", "experiment", "yaml", "yaml_source"),
        *("hardware", "checkpoint_url", "note", "source"),
    )
    return VisionRow(
        **dict[str, Any]({key: record[key] for key in texts}),
        **{key: number(key, int) for key in ("input_height", "input_width", "epochs")},
        **{
            key: number(key)
            for key in (
                *("params_m", "flops_b", "box_ap", "mask_ap", "header_box_ap", "header_mask_ap"),
            )
        },
        experiment_inferred=record["experiment_inferred"] == "yes",
    )
