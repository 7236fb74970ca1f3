"""The JSON Schemas as they are shipped."""

import json
import pathlib
from typing import Any

_FOLDER = pathlib.Path(__file__).resolve().parent / "schemas"


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind (one of KINDS) as it is shipped."""
    return json.loads(path_of(kind).read_text(encoding="utf-8"))


def path_of(kind: str) -> pathlib.Path:
    """Where the schema of a kind lies."""
    return _FOLDER / f"{kind}.schema.json"
