"""JSON that tells when it is no longer what was written: a checksum inside, out of the way.

An object ends with the key "checksum", a list with an element that has it and, at most, a "schema"
(see `replicate.contracts`): the CRC-32 of what comes before, as `json.dumps` writes it without
spaces. Readers who do not know it have one key more; who edits such a file by hand removes it.
"""

import json
import zlib
from typing import Any

KEY = "checksum"


class Changed(ValueError):
    """The content is not what its checksum was made of."""


def sealed(value: dict | list, **beside: str) -> dict | list:
    """`value`, an object or a list, with its checksum.

    Args:
      beside: what stands beside the checksum of a list.
    """
    if isinstance(value, dict):
        return value | {KEY: _checksum(value)}
    return [*value, {**beside, KEY: _checksum(value)}]


def unsealed(value: Any) -> Any:
    """`value` without its checksum; what has none is returned as it is.

    Raises:
      Changed: it has one, of another content.
    """
    content: dict | list
    if isinstance(value, dict) and KEY in value:
        content, checksum = {key: item for key, item in value.items() if key != KEY}, value[KEY]
    elif isinstance(value, list) and value and _is_seal(value[-1]):
        content, checksum = value[:-1], value[-1][KEY]
    else:
        return value
    if checksum != _checksum(content):
        raise Changed(
            "its checksum is of another content; whoever changed it on purpose removes the "
            f'"{KEY}" from it'
        )
    return content


def loads(text: str | bytes) -> Any:
    """The value of a JSON text, its checksum checked and left out.

    Raises:
      ValueError: not JSON, nested too deeply, not what was written.
    """
    try:
        return unsealed(json.loads(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _is_seal(element: Any) -> bool:
    return isinstance(element, dict) and KEY in element and set(element) <= {KEY, "schema"}


def _checksum(value: Any) -> str:
    return f"{zlib.crc32(json.dumps(value, separators=(',', ':')).encode()):08x}"
