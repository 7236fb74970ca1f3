"""Writes the JSON Schemas of the kit's files from the types in this room."""

import json
import sys
from typing import Any

from replicate import contracts
from replicate.contracts import generating
from replicate.contracts.kinds import KINDS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SEAL = {
    "checksum": {
        "description": "CRC-32 of what comes before; who edits the file by hand removes it",
        "type": "string",
        "pattern": "^[0-9a-f]{8}$",
    }
}


def document(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind as its file holds it: of the content, with version and seal."""
    made = generating.schema_of(KINDS[kind].shape())
    definitions = made.pop("$defs", {})
    head = {"$schema": _DIALECT, "$id": contracts.urn(kind), "title": KINDS[kind].title}
    if "$ref" in made:
        root = definitions.pop(made["$ref"].rpartition("/")[2])
        made = _enveloped(root, kind)
    elif kind == "deviations":
        made = _list(made, kind)
    else:
        made = _forms(made, definitions, kind)
    return head | made | ({"$defs": definitions} if definitions else {})


def _enveloped(root: dict, kind: str) -> dict:
    """An object's schema with the version and the checksum that its file has."""
    marked = KINDS[kind].marked
    version = {contracts.KEY: {"const": contracts.urn(kind)}} if marked else {}
    properties = version | root["properties"] | _SEAL
    required = [*version, *root["required"]]
    return root | {"properties": properties, "required": required}


def _forms(made: dict, definitions: dict[str, dict], kind: str) -> dict:
    """The schema of a file that has several forms, told apart by its field `form`."""
    cases = []
    for case in made["anyOf"]:
        name = case["$ref"].rpartition("/")[2]
        definitions[name] = _enveloped(definitions[name], kind)
        (form,) = definitions[name]["properties"]["form"]["enum"]
        cases.append({"if": {"properties": {"form": {"const": form}}}, "then": case})
    forms = [case["if"]["properties"]["form"]["const"] for case in cases]
    return {
        "type": "object",
        "properties": {"form": {"enum": forms}},
        "required": ["form"],
        "allOf": cases,
    }


def _list(made: dict, kind: str) -> dict:
    """A list's schema: its last element may be the seal."""
    array = next(branch for branch in made["anyOf"] if branch.get("type") == "array")
    seal = {
        "type": "object",
        "properties": {contracts.KEY: {"const": contracts.urn(kind)}} | _SEAL,
        "required": [contracts.KEY, "checksum"],
        "additionalProperties": False,
    }
    items = {"if": {"required": ["checksum"]}, "then": seal, "else": array["items"]}
    return {"type": ["array", "null"], "items": items}


def text(kind: str) -> str:
    """The text of a kind's schema file."""
    return json.dumps(document(kind), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes every schema file."""
    from tfrecords.whole_files import written_whole

    for kind in KINDS:
        path = contracts.path_of(kind)
        with written_whole(path) as file:
            file.write(text(kind))
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
