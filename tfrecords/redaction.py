"""What lets someone in is written nowhere: the one function that takes it out of a text.

It stands in this room because every door is above it: files of a run, scripts, messages, logs.
"""

import os
import re
from typing import Any

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", re.I)
_SECRET_LENGTH = 8
# The user and password of an address, and query parameters that let someone in.
# One stroke: an address that was taken for a path.
_ADDRESS = re.compile(r"(\w:/{1,2})(?:[^/\s@'\"]+|[^\s@'\"]*:[^\s@'\"]*)@")
_PARAMETER = re.compile(
    r"([?&][\w-]*(?:token|secret|password|signature|sig|credential|api_?key)[\w-]*=)[^&\s'\"#]+",
    re.I,
)
# What a line of a shell gives to a variable whose name speaks of one: no path, no other variable.
_ASSIGNMENT = re.compile(
    r"(?<![\w$-])([A-Z0-9_]*(?:TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE)[A-Z0-9_]*"
    r"=[\"']?)(?![$/~.<])[^\s\"'<>;&|]{8,}"
)
_BEARER = re.compile(r"(\b(?:Bearer|Basic) )(?!<)[\w.+/=-]{8,}")


def without_secrets(text: str) -> str:
    """`text` as it may be written down: what lets someone in is replaced.

    That is the value of any variable of this process whose name speaks of a token, a key or a
    password, wherever it stands, the credentials inside an address or a header, and what a line of
    a shell gives to such a variable.
    """
    for name, value in os.environ.items():
        if len(value) >= _SECRET_LENGTH and _SECRET_NAME.search(name):
            text = text.replace(value, f"<{name}>")
    if ":/" in text or "=" in text:
        text = _PARAMETER.sub(r"\1<secret>", _ADDRESS.sub(r"\1<secret>@", text))
        text = _ASSIGNMENT.sub(r"\1<secret>", text)
    return _BEARER.sub(r"\1<secret>", text)


def everywhere(value: Any) -> Any:
    """A JSON value with `without_secrets` of every text in it, keys too."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {
            without_secrets(key) if isinstance(key, str) else key: everywhere(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [everywhere(item) for item in value]
    return value
