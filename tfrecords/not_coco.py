"""What a file is that is not as COCO has it: which entry, its value as written, and the way on."""

import json
import re
from typing import Any

import msgspec

_SHOWN = 60
_AS_COCO = "export the data set there as COCO, or convert it to COCO JSON"
# The fields of msgspec's messages: "Expected `int`, got `str` - at `$.bbox[0]`".
_FIELD = re.compile(r"(?:at `\$\.(?P<at>\w+)|missing required field `(?P<missing>\w+))")
_NUMBERS = ("id", "image_id", "category_id", "iscrowd", "area", "bbox", "height", "width")


def shown(value: Any) -> str:
    """A value as JSON writes it, strings in their quotes; a long one cut."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def offer(code: str, what: str) -> str:
    """The sentence that offers one of `mending.FIXES`."""
    return (
        f"--fix={code} {what} (of the converter and of tools/replicate.py; for other tools, "
        f"tools/convert_annotations.py --from=coco --to=coco --fix={code} writes the mended file)"
    )


def no_json(text: bytes, problem: Exception) -> str:
    """What bytes that no JSON parser takes are, and what to do."""
    place = re.search(r"byte (\d+)", str(problem))
    if place and text.rstrip().endswith((b"}", b"]")):
        before = text[: int(place[1])]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        return (
            f"not JSON: {problem}, line {line}, column {column}: {_around(text, int(place[1]))}. "
            "Was it written by hand? Mend it there"
        )
    return f"not JSON, or cut off ({len(text)} bytes): {problem}. Copy or download it again"


def _around(text: bytes, at: int) -> str:
    return text[max(0, at - 20) : at + 20].decode("utf-8", "replace").strip()


def first_bad(
    text: bytes, types: dict[str, type[msgspec.Struct]], error: msgspec.ValidationError
) -> str:
    """Names the first entry that is not as COCO has it; msgspec names the field alone.

    Args:
      text: JSON.
      types: what an entry of "images", "categories" and "annotations" has to be.
      error: what the whole document was refused with.

    Raises:
      msgspec.DecodeError: further on it is no JSON at all.
    """
    try:
        document = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return f"the file holds no object of images, annotations and categories, but {_list(text)}"
    for name, entry_type in types.items():
        if name not in document:
            return f"it has no {name!r}{_object(text, name)}"
        try:
            entries = msgspec.json.decode(document[name], type=list[msgspec.Raw])
        except msgspec.ValidationError:
            return f"{name!r} is not a list{_no_list(name, document[name])}"
        decoder = msgspec.json.Decoder(entry_type)
        for number, entry in enumerate(entries):
            try:
                decoder.decode(entry)
            except msgspec.ValidationError as entry_error:
                return f"{name}[{number}]{_explained(name, entry, entry_error)}"
    return str(error)


def _explained(name: str, raw: msgspec.Raw, error: msgspec.ValidationError) -> str:
    entry = msgspec.json.decode(raw)
    if not isinstance(entry, dict):
        return f": {error}; it is {shown(entry)}"
    identity = f", id {shown(entry['id'])}" if "id" in entry else ""
    match = _FIELD.search(str(error))
    field = match and (match["at"] or match["missing"])
    if not field:
        return f"{identity}: {error}"
    value = f"; '{field}' is {shown(entry[field])}" if field in entry else ""
    if name == "categories" and field == "name":
        identity += f" ({shown(entry)})"
    return f"{identity}: {error}{value}{_way_on(name, field, entry)}"


def _way_on(name: str, field: str, entry: dict) -> str:
    value = entry.get(field)
    if field in _NUMBERS and type(value) is not int and means_number(field, value):
        return ". " + offer("numbers", "takes values that mean a number as that number")
    if field == "area":
        return ". " + offer("areas", "computes areas from the segmentations, or the boxes")
    if field in ("id", "image_id") and (isinstance(value, str) or field not in entry):
        return ". " + offer("ids", "gives images and annotations numbers in the file's order")
    if name == "images" and field in ("height", "width"):
        return ". " + offer("sizes", "reads them from the image files")
    if name != "categories" and field in ("id", "image_id") and isinstance(value, float):
        return ". " + offer("ids", "gives images and annotations numbers in the file's order")
    if field == "iscrowd" and value is None:
        return ". " + offer("crowds", "writes 0 there")
    if name == "categories" and field == "name" and isinstance(value, (int, float)):
        return ". If that number is its name: " + offer("names", "takes it as text")
    if field == "bbox" and isinstance(value, dict):
        return ". COCO has a list [x, y, width, height] in pixels" + _as_list(value)
    if field == "category_id" and isinstance(value, str):
        return (
            ". If it is the category's name, this writes its id: jq '(.categories | map({key: "
            ".name, value: .id}) | from_entries) as $ids | .annotations[].category_id |= $ids[.]' "
            "OLD.json > NEW.json"
        )
    if field == "category_id" and value is None:
        return (
            ". Write its category's id; or leave out such annotations: jq 'del(.annotations[] | "
            "select(.category_id == null))' OLD.json > NEW.json"
        )
    return ""


def _as_list(box: dict) -> str:
    """How to make COCO's list of a box by names, where these tell."""
    for names in (("x", "y", "width", "height"), ("x", "y", "w", "h")):
        if box.keys() == set(names):
            listed = ", ".join(f".{key}" for key in names)
            return f": jq '.annotations[].bbox |= [{listed}]' OLD.json > NEW.json writes it"
    return ""


LVIS = ". It is LVIS, whose names stand in coco_url: " + offer(
    "file_names", "takes them from there, and finds them in the image folder"
)
_WITH_PARTS = ("area", "bbox")


def means_number(field: str, value: Any) -> bool:
    """Whether the value of a field is no number of the right type, and can only mean one."""
    try:
        number = as_number(value, whole=field not in _WITH_PARTS)
    except (TypeError, ValueError):
        return False
    if field == "bbox":
        return isinstance(number, list) and len(number) == 4
    return not isinstance(number, list) or len(number) == 1


def as_number(value: Any, *, whole: bool) -> Any:
    """The number, or list of numbers, that a value means; raises TypeError or ValueError."""
    if isinstance(value, str):
        value = json.loads(value)  # "12", "53.5", "[1, 2, 3, 4]"
        if isinstance(value, (str, bool, dict)) or value is None:
            raise ValueError
    if isinstance(value, list) and not whole:
        return [as_number(number, whole=False) for number in value]
    if isinstance(value, bool) and not whole:
        raise ValueError
    if not isinstance(value, (int, float)):
        raise TypeError
    if whole:
        if int(value) != value:
            raise ValueError
        return int(value)
    return value


def _list(text: bytes) -> str:
    """What a document is that is no object."""
    document = msgspec.json.decode(text)
    if not isinstance(document, list):
        return shown(document)
    first = document[0] if document and isinstance(document[0], dict) else {}
    if {"images", "annotations"} <= first.keys():
        return "a list with such an object in it: jq '.[0]' OLD.json > NEW.json takes it out"
    if {"image_id", "score"} <= first.keys():
        return "a list, as COCO results are: these are detections"
    if "annotations" in first and "data" in first:
        return f"a list, as Label Studio exports its own format: {_AS_COCO}"
    return "a list, as COCO results are"


def _object(text: bytes, lacks: str) -> str:
    """What an object without a part of COCO's is."""
    document = msgspec.json.decode(text)
    first = next((value for value in document.values() if isinstance(value, dict)), {})
    if "_via_img_metadata" in document or {"filename", "regions"} <= first.keys():
        return f": it is a project of the VGG Image Annotator (VIA); {_AS_COCO}"
    if {"shapes", "imagePath"} <= document.keys():
        return f": it is labelme's file of one image; {_AS_COCO}"
    if {"objects", "size"} <= document.keys():
        return f": it is Supervisely's file of one image; {_AS_COCO}"
    if lacks == "categories" and "annotations" in document:
        return ", the list of {id, name} that says what the annotations' category ids are; add it"
    return ""


def _no_list(name: str, raw: msgspec.Raw) -> str:
    if bytes(raw).lstrip()[:1] != b"{":
        return f", but {shown(msgspec.json.decode(raw))}"
    return (
        f", but an object, as if by id: jq '.{name} |= [.[]]' OLD.json > NEW.json makes it the "
        "list that COCO has"
    )
