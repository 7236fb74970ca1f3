"""What lets someone in is written nowhere: the one function that takes it out of a text.

It stands in this room because every door is above it: files of a run, scripts, messages, logs.
"""

import os
import re
from typing import Any

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", re.I)
_SECRET_LENGTH = 8
# An address, up to a blank, a quote or the next one. With one stroke it was taken for a path;
# strokes may be escaped, as JSON allows.
_STROKE = r"\\?/"
_ADDRESS = re.compile(
    rf"(\w:{_STROKE}(?:{_STROKE}){{0,2}}|(?<![\w:/\\]){_STROKE}{_STROKE})"
    rf"((?:(?!\w:{_STROKE})[^\s'\"])+)"
)
# Query parameters that let someone in.
_WORDS = r"token|secret|passw|passwd|pwd|signature|sig|credential|api[_-]?key|access[_-]?key|auth"
_PARAMETER = re.compile(
    rf"([?&#](?:[\w-]{{0,40}}(?:{_WORDS})[\w-]{{0,40}}|key|pass|pw)=)(?!<)[^&\s'\"#]+",
    re.I,
)
# A flag of a command that is named so.
_FLAG = re.compile(
    r"(--[\w-]{0,40}(?:token|secret|password|api[_-]?key|access[_-]?key)[= ][\"']?)"
    r"(?![$/~.<-])[^\s\"'<>;&|]{8,}",
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
    if "/" in text or "=" in text:
        text = _PARAMETER.sub(r"\1<secret>", _ADDRESS.sub(_without_a_user, text))
        text = _ASSIGNMENT.sub(r"\1<secret>", text)
    if "--" in text:
        text = _FLAG.sub(r"\1<secret>", text)
    return _BEARER.sub(r"\1<secret>", text)


def _without_a_user(address: re.Match[str]) -> str:
    """An address without user and password. These may hold strokes and "@" themselves."""
    start, rest = address.groups()
    host, *_ = rest.partition("/")
    end = rest.rfind("@") if ":" in host else host.rfind("@")
    return f"{start}<secret>{rest[end:]}" if end > 0 else address[0]


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
