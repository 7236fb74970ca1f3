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
