"""Where files lie on the publisher's machine is not for readers: a path's last part is shown."""

import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

# A path from the root or a home on, up to what ends one in a sentence or a command; the rest of an
# address (https://…, s3://…), of a relative path or of a fraction is none.
_PATH = re.compile(r"(?<![\w:/.~\\-])(?:file://)?~?(?:/[^\s/'\"`<>|,;:()=\\]+)+/?")

_OF_ANY_MACHINE = ("/usr/", "/dev/", "/proc/", "/sys/", "/etc/", "/lib/", "/bin/", "/opt/conda/")


def without_places(text: str, known: Iterable[str | os.PathLike[str]] = ()) -> str:
    """`text` with every absolute path replaced by its last part.

    Args:
      known: paths that may stand in it and that spaces or commas would hide from the eye.
    """
    places = {os.fspath(place).rstrip("/") for place in known}
    for place in sorted(filter(os.path.isabs, places), key=len, reverse=True):
        text = re.sub(rf"(?<![\w:/.~\\-]){re.escape(place)}(?![\w.-])", _last(place), text)
    return _PATH.sub(lambda path: _last(path[0]), text)


def everywhere(value: Any, known: Iterable[str | os.PathLike[str]] = ()) -> Any:
    """A JSON value with `without_places` of every text in it."""
    known = list(known)
    if isinstance(value, str):
        return without_places(value, known)
    if isinstance(value, dict):
        return {key: everywhere(item, known) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [everywhere(item, known) for item in value]
    return value


def found(text: str) -> list[str]:
    """The absolute paths of a text that are not in a folder of the system's own, each once."""
    paths = dict.fromkeys(match[0] for match in _PATH.finditer(text))
    return [path for path in paths if path.count("/") > 1 and not path.startswith(_OF_ANY_MACHINE)]


def _last(path: str) -> str:
    return pathlib.PurePosixPath(path.rstrip("/")).name
