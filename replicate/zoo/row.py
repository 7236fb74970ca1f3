"""What was published of a model: a row as the verdict takes it, whichever table it stands in."""

import dataclasses

from replicate.zoo.figures import Figure


@dataclasses.dataclass(frozen=True)
class Row:
    """One published model.

    Attributes:
      archive: name of the released archive, without `.tar.gz`; where none was, the config's.
      display_name: the name in the published table; unique, unlike `archive`.
      family: centernet, efficientdet, ssd, faster_rcnn, mask_rcnn or extremenet.
      input_height, input_width: pixels; of a `keep_aspect` resizer its shorter and longer bound.
        None where neither a config nor the name tells.
      resizer: "fixed" or "keep_aspect"; None without a public training config.
      speed_ms: published milliseconds an image, or None.
      box_map, mask_map, keypoint_map: the table's COCO mAP in points (22.2), or None.
      outputs: what the model detects, e.g. ("Boxes", "Masks").
      template: name of the training config in `configs/`, or None where none was ever published.
      url: the released archive; "" where none was.
      note: where the published sources disagree with each other, or "".
      sha256: of the released archive, "" until someone records it: the zoo publishes none. A
        download is held to it.
      figures: every published figure with its document: the table's, then the config header's.
    """

    archive: str
    display_name: str
    family: str
    input_height: int | None
    input_width: int | None
    resizer: str | None
    speed_ms: float | None
    box_map: float | None
    mask_map: float | None
    keypoint_map: float | None
    outputs: tuple[str, ...]
    template: str | None
    url: str
    note: str
    sha256: str
    figures: tuple[Figure, ...]

    @property
    def input_size(self) -> str:
        """ "640x640" (height x width, pixels), or "" where unknown."""
        return f"{self.input_height}x{self.input_width}" if self.input_height else ""

    def header_figure(self, kind: str) -> Figure | None:
        """What the training config's header publishes of `kind` ("box", "mask", "keypoint")."""
        return self._figure(kind, "header")

    def table_figure(self, kind: str) -> Figure | None:
        """What the zoo's table publishes of `kind` ("box", "mask", "keypoint")."""
        return self._figure(kind, "table")

    def figure(self, kind: str) -> Figure | None:
        """What is published of `kind`: the table's, or the header's where the table has none."""
        return self.table_figure(kind) or self.header_figure(kind)

    def _figure(self, kind: str, origin: str) -> Figure | None:
        figures = (
            figure for figure in self.figures if (figure.kind, figure.origin) == (kind, origin)
        )
        return next(figures, None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name this row answers to."""
        return tuple(name for name in (self.archive, self.template, self.display_name) if name)
