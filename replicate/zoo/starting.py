"""Where the weights that a recipe starts from were published.

The TF2 classification zoo (tf2_classification_zoo.md) publishes 14 backbones trained on ImageNet;
which of them a recipe starts from is told by the file that its `fine_tune_checkpoint` names
(`mobilenet_v2.ckpt-1`), of the EfficientDets by the feature extractor's type. Of seven CenterNets
the starting weights were not published there; `note` says what is known.
"""

import csv
import dataclasses
import functools
import pathlib

from replicate.zoo import table

_DATA = pathlib.Path(__file__).parent.parent / "data" / "starting_points.csv"


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """What training begins with, of one or several recipes.

    Attributes:
      archive: name of the published archive, without `.tar.gz`; "" where none was published.
      checkpoint: the checkpoint's file name in the recipes, without `.index`; "" where they name
        none.
      templates: the training configs that start from it.
      url: of the archive, or "".
      source: the document that says so, with its commit.
      note: why there is none, or what is not known; "" otherwise.
    """

    archive: str
    checkpoint: str
    templates: tuple[str, ...]
    url: str
    source: str
    note: str


def starting_point(model: str, checkpoint: str = "") -> StartingPoint | None:
    """What the recipe of `model` starts from; None where no recipe of that name is published.

    Args:
      model: an archive's, a training config's or a display name.
      checkpoint: the file that a recipe of an unknown name starts from ("mobilenet_v2.ckpt-1");
        one that a single backbone has is enough.
    """
    row = table.get(model)
    name = row.template if row is not None else pathlib.PurePath(model.strip()).name
    name = (name or "").removesuffix(".config")
    points = [point for point in starting_points() if name in point.templates]
    points = points or [
        point
        for point in starting_points()
        if point.archive and point.checkpoint == checkpoint != ""
    ]
    return points[0] if len(points) == 1 else None


@functools.cache
def starting_points() -> tuple[StartingPoint, ...]:
    """All of them: the classification zoo's in its order, then what was not published."""
    with open(_DATA, encoding="utf-8", newline="") as lines:
        return tuple(
            StartingPoint(**record | {"templates": tuple(record["templates"].split())})
            for record in csv.DictReader(lines)
        )
