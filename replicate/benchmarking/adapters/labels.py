"""From a model's class indices to the annotation file's category ids."""

import os
import pathlib
from typing import TYPE_CHECKING, Any

from replicate.errors import UserError
from replicate.export.labels import FILE as LABELS
from replicate.export.reading import contract_of

if TYPE_CHECKING:
    from replicate.benchmarking.dataset import Dataset


# A first line of this kind stands for no class.
_NO_CLASS = ("???", "background", "__background__", "n/a")


def category_ids(path: str | os.PathLike | None, dataset: "Dataset") -> list[int | None]:
    """The category id of each class index (0-based).

    Args:
      path: text file with a class name a line, in the model's order; a first line "???" or
        "background" is passed over. None: class index i is category id i + 1, COCO's own, where
        the dataset has that category.
      dataset: Dataset, whose categories have the names.

    Returns:
      a sequence of category ids; None for a class that is no category of the dataset.

    Raises:
      UserError: no such file, or none of its names is a category.
    """
    if path is None:
        known = dataset.groundtruth.categories
        return _ByIndex(id if id in known else None for id in range(1, 1 + max(known, default=0)))
    try:
        names = [line.strip() for line in pathlib.Path(path).read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: labels cannot be read ({error})") from None
    names = names[1:] if names and names[0].lower() in _NO_CLASS else names
    return _of_names(path, names, dataset)


def _of_names(path: str | os.PathLike, names: list[str], dataset: "Dataset") -> list[int | None]:
    id_of = {name: id for id, name in dataset.groundtruth.categories.items()}
    ids = _ByIndex(id_of.get(name) for name in names)
    if all(id is None for id in ids):
        raise UserError(
            f"{path}: none of its {len(names)} names is a category of {dataset.annotations_file} "
            f"({', '.join(list(id_of)[:3])}, …)"
        )
    return ids


def category_ids_of(
    path: str | os.PathLike, labels: str | os.PathLike | None, dataset: "Dataset"
) -> list[int | None]:
    """The category id of each class index of a form.

    Args:
      path: the model; a form in a folder of tools/export.py has its labels beside it.
      labels: as of `category_ids`; they come before those.

    Raises:
      UserError: as `category_ids`.
    """
    beside = pathlib.Path(path).parent / LABELS
    if labels or not contract_of(path) or not beside.is_file():
        return category_ids(labels, dataset)
    labels = beside
    names = labels.read_text("utf-8").splitlines()
    return _of_names(labels, names, dataset)


class _ByIndex(list):
    """Category ids by class index; a class beyond the last has none."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index) if 0 <= index < len(self) else None
