"""What a file of detections is instead, where it is not COCO results."""

import json
from typing import Any

from tfrecords.not_coco import shown

_RESULTS = "COCO results are one JSON list of detections"


def of_text(raw: bytes, error: ValueError) -> str:
    """What bytes that are no JSON look like, and what to do."""
    start = raw.lstrip()
    first = start.partition(b"\n")[0]
    try:
        if isinstance(json.loads(first), dict):
            return (
                "JSON Lines (an object a line), not JSON; "
                f"{_RESULTS}: jq -s . OLD.jsonl > NEW.json makes one"
            )
    except ValueError:
        pass
    if start[:30].replace(b" ", b"")[:3] in (b"[{'", b"{'i", b"{'b"):
        return (
            "what Python prints of a list (single quotes), not JSON; write it with "
            "json.dump(detections, file)"
        )
    return f"not JSON ({error}); is the file complete?"


def of_document(document: Any) -> str:
    """What a JSON document that is no list is instead, and what to do."""
    if not isinstance(document, dict):
        return f"{_RESULTS}, this is {shown(document)}"
    if "images" in document and "annotations" in document:
        scored = _first_has_score(document["annotations"])
        return f"{_RESULTS}, this is a whole annotation file (images, annotations, categories)" + (
            "; its annotations have scores: jq .annotations OLD.json > NEW.json takes them alone"
            if scored
            else "; give what the detector found in these images"
        )
    for key, value in document.items():
        if isinstance(value, list) and _first_has_score(value):
            return (
                f"{_RESULTS}, this is an object that holds one under '{key}': "
                f"jq .{key} OLD.json > NEW.json takes it out"
            )
    if "image_id" in document:
        return f"{_RESULTS}, this is a single detection; put it in a list: [ … ]"
    keys = ", ".join(map(shown, list(document)[:4]))
    return f"{_RESULTS}, this is an object of {keys}; is it the detections' file?"


def _first_has_score(entries: Any) -> bool:
    return (
        isinstance(entries, list)
        and bool(entries)
        and isinstance(entries[0], dict)
        and "score" in entries[0]
    )


def way_on(key: str, value: Any) -> str:
    """What to do about a field of a detection whose value is of the wrong kind; "" if not known."""
    new = "OLD.json > NEW.json"
    if key in ("image_id", "category_id", "score") and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            pass
        else:
            return f"; jq 'map(.{key} |= tonumber)' {new} writes them as numbers"
    if key == "image_id" and isinstance(value, str):
        return "; " + _look_up("its file name", key, "images", "file_name", new)
    if key == "category_id" and isinstance(value, str):
        return "; " + _look_up("its name", key, "categories", "name", new)
    if key == "score" and value is None:
        return "; every detection needs the detector's confidence, by which AP ranks them"
    if key == "bbox" and isinstance(value, dict):
        for names in (("x", "y", "width", "height"), ("x", "y", "w", "h")):
            if value.keys() == set(names):
                listed = ", ".join(f".{key}" for key in names)
                return f"; jq 'map(.bbox |= [{listed}])' {new} writes it"
    return ""


def _look_up(what: str, key: str, entries: str, name: str, new: str) -> str:
    return (
        f"if it is {what} in the annotation file, this writes the id: jq --slurpfile of "
        f"ANNOTATIONS.json '($of[0].{entries} | map({{key: .{name}, value: .id}}) | from_entries) "
        f"as $ids | map(.{key} |= $ids[.])' {new}"
    )
