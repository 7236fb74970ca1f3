"""Label maps (StringIntLabelMap text), with the annotation file's category ids kept as they are.

Beside each lies the same as `id,name` lines (CSV), which TF-Vision's label map decoder reads.
"""

import csv
import functools
import os
import pathlib

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

from tfrecords import coco
from tfrecords.errors import InputError
from tfrecords.whole_files import written_whole

_Field = descriptor_pb2.FieldDescriptorProto


def write(
    annotations_file_or_categories: str | os.PathLike | dict[int, str], path: str | os.PathLike
) -> None:
    """Writes a label map with one item a category, sorted by id.

    Ids stay COCO's (1 to 90 with gaps for COCO itself), as the zoo's label map has them; name and
    display_name are both the category's name, because the API's converter writes that name into
    the records' image/object/class/text, by which the input pipeline finds the id.

    Args:
      annotations_file_or_categories: path of a COCO JSON, or a dict of id to name.
      path: the label map to write; the CSV has its name, ending in .csv.

    Raises:
      InputError: as `coco.load_categories`; or two categories of one name, or an id below 1;
        or `path` ends in .csv.
    """
    if pathlib.Path(path).suffix == ".csv":
        raise InputError(
            f"{path}: name the StringIntLabelMap, such as label_map.pbtxt; the CSV goes beside it"
        )
    categories = annotations_file_or_categories
    if not isinstance(categories, dict):
        categories = coco.load_categories(categories)
    message = _label_map_class()()
    ids: dict[str, int] = {}
    for category_id, name in sorted(categories.items()):
        if category_id < 1:
            raise InputError(
                f"category {name!r} has id {category_id}: label maps start at 1, 0 is background"
            )
        if name in ids:
            raise InputError(
                f"categories {ids[name]} and {category_id} are both named {name!r}: records name "
                "categories, so names must differ"
            )
        ids[name] = category_id
        message.item.add(name=name, id=category_id, display_name=name)
    with written_whole(path, newline="\n") as file:
        file.write(text_format.MessageToString(message, as_utf8=True))
    with written_whole(csv_path_of(path), newline="\n") as file:
        csv.writer(file, lineterminator="\n").writerows(
            (item.id, item.name) for item in message.item
        )


def csv_path_of(path: str | os.PathLike) -> pathlib.Path:
    """Where the CSV of a label map lies."""
    return pathlib.Path(path).with_suffix(".csv")


def read(path: str | os.PathLike) -> dict[int, str]:
    """Reads a label map, StringIntLabelMap text or (`.csv`) lines of `id,name`.

    Returns:
      dict of id to display name (or name, where there is none).

    Raises:
      InputError: the file is missing or not a label map, has no items, or one without an id.
    """
    if pathlib.Path(path).suffix == ".csv":
        return _read_csv(path)
    message = _label_map_class()()
    try:
        with open(path, encoding="utf-8") as file:
            text_format.Parse(file.read(), message, allow_unknown_field=True)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise InputError(f"{path}: cannot be read as a label map: {error}") from error
    if not message.item:
        raise InputError(f"{path}: no item {{…}} found; a label map is StringIntLabelMap text")
    for item in message.item:
        if not item.HasField("id"):
            raise InputError(f"{path}: item {item.name!r} has no id")
    return {item.id: item.display_name or item.name for item in message.item}


def _read_csv(path: str | os.PathLike) -> dict[int, str]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            found = {int(id_): name for id_, name in csv.reader(file)}
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as lines of id,name: {error}") from error
    if not found:
        raise InputError(f"{path}: no line of id,name found")
    return found


@functools.cache
def _label_map_class() -> type:
    """The fields that matter of the API's protos/string_int_label_map.proto."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tfrecords/label_map.proto", package="tfrecords", syntax="proto2"
    )
    optional, repeated = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
    item = file.message_type.add(name="Item")
    item.field.add(name="name", number=1, label=optional, type=_Field.TYPE_STRING)
    item.field.add(name="id", number=2, label=optional, type=_Field.TYPE_INT32)
    item.field.add(name="display_name", number=3, label=optional, type=_Field.TYPE_STRING)
    file.message_type.add(name="LabelMap").field.add(
        name="item", number=1, label=repeated, type=_Field.TYPE_MESSAGE, type_name=".tfrecords.Item"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tfrecords.LabelMap"))
