"""From a model's class indices to the annotation file's category ids."""

import pathlib

import numpy as np

from replicate.errors import UserError

# A first line of this kind stands for no class.
_NO_CLASS = ("???", "background", "__background__", "n/a")


def read_labels(path, dataset):
    """A function from class indices (0-based) to category ids.

    Args:
      path: text file with a class name a line, in the model's order; a first line "???" or
        "background" is passed over. None: class index i is category id i + 1, COCO's own.
      dataset: Dataset, whose categories have the names.

    Returns:
      function (N,) int -> ((N,) int ids, (N,) bool whether the class has a category).

    Raises:
      UserError: no such file, or none of its names is a category.
    """
    if path is None:
        return lambda classes: (classes + 1, np.ones(len(classes), bool))
    try:
        names = [line.strip() for line in pathlib.Path(path).read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: labels cannot be read ({error})") from None
    names = names[1:] if names and names[0].lower() in _NO_CLASS else names
    id_of = {name: id for id, name in dataset.groundtruth.categories.items()}
    ids = np.array([id_of.get(name, -1) for name in names], int)
    if not (ids >= 0).any():
        raise UserError(
            f"{path}: none of its {len(names)} names is a category of {dataset.annotations_file} "
            f"({', '.join(list(id_of)[:3])}, …)"
        )

    def to_id(classes):
        inside = (classes >= 0) & (classes < len(ids))
        found = np.where(inside, ids[np.clip(classes, 0, len(ids) - 1)], -1)
        return found, found >= 0

    return to_id
