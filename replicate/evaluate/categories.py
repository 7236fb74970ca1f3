"""From the model's class indices to the category ids of the annotation file."""

import os
import pathlib
import sys

from replicate.errors import UserError
from tfrecords import label_map


def kept_with(config_folder: str | os.PathLike | None) -> str | None:
    """The label map of the records that a run was trained on, where it made them itself: what tells
    its classes' names if its config does not (TF-Vision's)."""
    path = pathlib.Path(config_folder or "", "data", "label_map.pbtxt")
    return str(path) if config_folder and path.is_file() else None


def as_they_are(categories: dict[int, str], num_classes: int) -> list[int | None]:
    """Of a model that was trained on the annotation file's own ids: class index i is id i + 1.

    Args:
      categories, num_classes: as of `category_ids`.

    Raises:
      UserError: a category whose id is beyond the model's classes.
    """
    beyond = [category_id for category_id in categories if not 1 <= category_id <= num_classes]
    if beyond:
        raise UserError(
            f"category {categories[beyond[0]]!r} has id {beyond[0]}, but the model tells "
            f"{num_classes} classes apart; is it another data set's model?"
        )
    return [i + 1 if i + 1 in categories else None for i in range(num_classes)]


def category_ids(
    label_map_path: str | os.PathLike, categories: dict[int, str], num_classes: int
) -> list[int | None]:
    """The annotation file's category id of each class the model knows.

    Where the label map's ids are the file's (90 for COCO), class index i is id i + 1. Where
    they are not (80 contiguous ids, say), ids are matched by name.

    Args:
      label_map_path: eval_input_reader's StringIntLabelMap.
      categories: {category id: name} of the annotation file.
      num_classes: the model's class count.

    Returns:
      list of num_classes entries: category id, or None for a class the file does not have.

    Raises:
      UserError: a category that the label map lacks, or one name under two ids.
    """
    names = label_map.read(label_map_path)
    if max(names, default=0) < num_classes:
        print(
            f"{label_map_path}: the highest of its {len(names)} labels is "
            f"{max(names, default=0)}, but the model has {num_classes} classes (num_classes): "
            "what it detects of the others is left out; is it the label map of the training?",
            file=sys.stderr,
        )
    by_name = {name: item_id for item_id, name in names.items()}
    if all(names.get(category_id) == name for category_id, name in categories.items()):
        label_of = {category_id: category_id for category_id in categories}
    else:
        lacking = [name for name in categories.values() if name not in by_name]
        if lacking:
            raise UserError(
                f"{label_map_path}: no entry for {len(lacking)} of the annotation file's "
                f"{len(categories)} categories, first {lacking[0]!r}; give the label map that the "
                "model was trained with"
            )
        label_of = {category_id: by_name[name] for category_id, name in categories.items()}
    beyond = {c: label for c, label in label_of.items() if not 1 <= label <= num_classes}
    if beyond:
        category_id, label = next(iter(beyond.items()))
        raise UserError(
            f"{label_map_path}: category {categories[category_id]!r} is label {label}, but the "
            f"model has {num_classes} classes (num_classes); the config and the label map disagree"
        )
    ids: list[int | None] = [None] * num_classes
    for category_id, label in label_of.items():
        ids[label - 1] = category_id
    return ids
