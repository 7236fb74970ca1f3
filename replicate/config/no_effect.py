"""Fields of a pipeline.config that no TensorFlow 2 code of the API reads.

`no_effect.txt` lists them; tests/odapi/fields_read.py derives the list from the API's source, and
tests/config/test_no_effect.py holds the two to each other.
"""

import functools
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message

_LIST = pathlib.Path(__file__).resolve().parent / "no_effect.txt"
# Set in published configs, and without effect there too.
_PUBLISHED = {
    *("anchorwise_output", "sync_replicas", "startup_delay_steps", "replicas_to_aggregate"),
    *("regularize_depthwise", "from_detection_checkpoint", "eval_interval_secs", "max_evals"),
    "eval_instance_masks",
}


@functools.cache
def listed() -> frozenset[str]:
    """Paths of the fields, without indices."""
    return frozenset(_LIST.read_text(encoding="utf-8").split())


def of(names: str) -> bool:
    """Whether a path without indices is of such a field, or below one."""
    parts = names.split(".")
    return any(".".join(parts[:length]) in listed() for length in range(1, len(parts) + 1))


def set_in(message: "Message") -> Iterator[str]:
    """Paths of such fields that a config sets, but for those that published configs set too."""
    for path in sorted(listed()):
        *above, name = path.split(".")
        if name in _PUBLISHED:
            continue
        holders = [message]
        for part in above:
            holders = [
                inner
                for holder in holders
                if holder.DESCRIPTOR.fields_by_name[part].message_type is not None
                for inner in _held(holder, part)
            ]
        if any(_is_set(holder, name) for holder in holders):
            yield path


def _held(holder: "Message", name: str) -> list["Message"]:
    field = holder.DESCRIPTOR.fields_by_name[name]
    value = getattr(holder, name)
    if field.message_type.GetOptions().map_entry:
        return []
    if field.is_repeated:
        return list(value)
    return [value] if holder.HasField(name) else []


def _is_set(holder: "Message", name: str) -> bool:
    field = holder.DESCRIPTOR.fields_by_name[name]
    value = getattr(holder, name)
    return len(value) > 0 if field.is_repeated else holder.HasField(name)
