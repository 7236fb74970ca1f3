"""Class names of other frameworks as category ids of the annotation file."""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset

#: Pascal VOC's words for categories of COCO, which Darknet's and PaddleDetection's lists of COCO
#: have kept, and with them the models converted from there.
_SYNONYMS = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
#: Names that stand for no class.
NO_CLASS = ("n/a", "background", "__background__", "no-object", "???")


def ids_of_names(names: Iterable[str], dataset: "Dataset") -> dict[str, int]:
    """dict name -> category id, of the names that are categories of the dataset.

    Args:
      names: as a model writes them; case, and Pascal VOC's words, are passed over.
      dataset: Dataset.

    Raises:
      UserError: none of them is a category.
    """
    id_of = {name.lower(): id for id, name in dataset.groundtruth.categories.items()}
    ids: dict[str, int] = {}
    given = list(dict.fromkeys(names))
    for name in given:
        plain = name.strip().lower()
        id = id_of.get(plain, id_of.get(_SYNONYMS.get(plain, "")))
        if id is not None:
            ids[name] = id
    if given and not ids:
        near = difflib.get_close_matches(given[0].lower(), id_of, 1)
        raise UserError(
            f"none of the model's {len(given)} class names ({', '.join(given[:3])}, …) is a "
            f"category of {dataset.annotations_file} ({', '.join(list(id_of)[:3])}, …)"
            + (f"; did it mean '{near[0]}'?" if near else "")
        )
    return ids
