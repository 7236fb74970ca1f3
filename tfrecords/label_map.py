"""Label maps (StringIntLabelMap text), with the annotation file's category ids kept as they are.

Beside each lies the same as `id,name` lines (CSV), which TF-Vision's label map decoder reads.
"""

import codecs
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

from tfrecords.errors import InputError
from tfrecords.whole_files import written_whole

_SHAPE = "a label map is, for each category, item { id: 1 name: 'red' }"
_Field = descriptor_pb2.FieldDescriptorProto


def write(
    annotations_file_or_categories: str | os.PathLike | dict[int, str],
    path: str | os.PathLike,
    *,
    replace: bool = True,
) -> None:
    """Writes a label map with one item a category, sorted by id.

    Ids stay COCO's (1 to 90 with gaps for COCO itself), as the zoo's label map has them; name and
    display_name are both the category's name, because the API's converter writes that name into
    the records' image/object/class/text, by which the input pipeline finds the id.

    Args:
      annotations_file_or_categories: path of a COCO JSON, or a dict of id to name.
      path: the label map to write; the CSV has its name, ending in .csv.
      replace: whether another one that lies there is replaced. Without, one of the same ids and
        names stays as it is, and any other file is refused.

    Raises:
      InputError: as `coco.load_categories`; or two categories of one name, or an id below 1;
        or `path` ends in .csv; or another file lies there.
    """
    if pathlib.Path(path).suffix == ".csv":
        raise InputError(
            f"{path}: name the StringIntLabelMap, such as label_map.pbtxt; the CSV goes beside it"
        )
    categories = annotations_file_or_categories
    if not isinstance(categories, dict):
        from tfrecords import coco  # which reads annotation files, for this alone

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
    wanted = [pathlib.Path(path), csv_path_of(path)]
    if not replace:
        for there in wanted:
            refuse_other(there, categories)
        wanted = [each for each in wanted if not each.exists()]
    if pathlib.Path(path) in wanted:
        with written_whole(path, newline="\n") as file:
            file.write(text_format.MessageToString(message, as_utf8=True))
    if csv_path_of(path) in wanted:
        with written_whole(csv_path_of(path), newline="\n") as file:
            csv.writer(file, lineterminator="\n").writerows(
                (item.id, item.name) for item in message.item
            )


def refuse_other(path: str | os.PathLike, categories: dict[int, str] | None = None) -> None:
    """Raises InputError where a file lies at `path` that is not the label map of `categories`, or
    (None) no label map at all."""
    if not os.path.lexists(path):
        return
    kept = "; it stays as it is: name another --label_map, or move it away"
    try:
        names = read(path)
    except InputError as error:
        raise InputError(f"{error}{kept}") from None
    if categories is None or names == categories:
        return
    ours = set(categories.items())
    apart = [f"{i} {name!r}" for i, name in sorted(set(names.items()) ^ ours)]
    raise InputError(
        f"{path}: a label map of {len(names)} categories, where the annotation file has "
        f"{len(categories)}; not in both: {', '.join(apart[:4])}{', …' * (len(apart) > 4)}{kept}"
    )


def csv_path_of(path: str | os.PathLike) -> pathlib.Path:
    """Where the CSV of a label map lies."""
    return pathlib.Path(path).with_suffix(".csv")


def read(path: str | os.PathLike) -> dict[int, str]:
    """Reads a label map, StringIntLabelMap text or (`.csv`) lines of `id,name`.

    Returns:
      dict of id to name; the display name where an item has one.

    Raises:
      InputError: as `parse`, or the file cannot be read.
    """
    if pathlib.Path(path).suffix == ".csv":
        return _read_csv(path)
    try:
        with open(path, "rb") as file:
            return parse(file.read(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a label map: {error.strerror}") from error


def _read_csv(path: str | os.PathLike) -> dict[int, str]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            entries = [(int(id_), name) for id_, name in csv.reader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as lines of id,name: {error}") from error
    if not entries:
        raise InputError(f"{path}: no line of id,name found")
    names = dict(entries)
    if len(names) < len(entries) or len(set(names.values())) < len(entries):
        raise InputError(f"{path}: an id or a name stands there twice; they must differ")
    return names


def has_byte_order_mark(path: str | os.PathLike) -> bool:
    """Whether a file begins with the mark that the API's parser does not take."""
    with open(path, "rb") as file:
        return file.read(3) == codecs.BOM_UTF8


def parse(content: bytes, path: str) -> dict[int, str]:
    """`read` of a file's bytes.

    Raises:
      InputError: not a label map (line, column, what it is instead), no items, an item without a
        name, without an id or with one below 1, or an id or a name that two items have.
    """
    message = _label_map_class()()
    try:
        text = content.decode("utf-8-sig")
        text_format.Parse(text, message, allow_unknown_field=True)
    except UnicodeDecodeError as error:
        utf16 = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        raise InputError(
            f"{path}: cannot be read as a label map: "
            + (
                "it is encoded in UTF-16: iconv -f UTF-16 -t UTF-8 OLD > NEW"
                if utf16
                else f"it is not UTF-8 ({error})"
            )
        ) from error
    except text_format.ParseError as error:
        raise InputError(
            f"{path}: cannot be read as a label map: {error}{_what_it_is(text)}"
        ) from error
    if not message.item:
        raise InputError(f"{path}: no item {{…}} found; a label map is StringIntLabelMap text")
    names: dict[int, str] = {}
    for number, item in enumerate(message.item, start=1):
        what = f"{path}: item {number} ({item.display_name or item.name!r})"
        if not item.HasField("id"):
            raise InputError(f"{what} has no id")
        if item.id < 1:
            raise InputError(
                f"{what} has id {item.id}: ids start at 1, 0 is the background, which has no item"
            )
        name = item.display_name or item.name
        if not name:
            raise InputError(f"{what} has no name, by which records name its objects")
        if item.id in names:
            raise InputError(
                f"{what}: id {item.id} is also that of {names[item.id]!r}; ids must differ"
            )
        if name in names.values():
            first = next(id_ for id_, other in names.items() if other == name)
            raise InputError(
                f"{what}: there are two items of that name: ids {first} and {item.id} are both "
                f"{name!r}; names must differ"
            )
        names[item.id] = name
    return names


def _what_it_is(text: str) -> str:
    """What a text is that is no label map, in words; "" where that is not told."""
    start = text.strip()
    if any(mark in text for mark in "‘’“”"):
        return ". Its quotes are typographic (‘ ’ “ ”); write ' or \""
    if start[:1] in "{[":
        return f". It is JSON; {_SHAPE}"
    if start[:1] in "'\"" and "item" in start[:20]:
        return ". The whole text stands in quotes; take them off"
    if "item" not in text:
        return f". It looks like a list of names; {_SHAPE}"
    return ""


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
