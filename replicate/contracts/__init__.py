"""What the kit's files promise to who reads them: a JSON Schema (2020-12) a kind, with a version.

    from replicate import contracts
    contracts.violations("verdict", json.load(open("runs/a/verdict.json")))   # [] or what is wrong

A file says what it is in its first key, `"schema": "urn:replicate-tf2-zoo:verdict:1"`, the `$id` of
the schema in `replicate/contracts/schemas/`. A version is raised when a field is taken out or means
something else; readers of an older one say so and read on, of a newer one they stop. The schemas
are made from the types in this room by `python -m replicate.contracts`.
"""

import json
import os
import pathlib
import re
import sys
from typing import Any

from replicate.errors import UserError
from tfrecords import checked_json, manifest

KEY = "schema"
#: The version of each kind of file; 0 is what was written before files said their version.
VERSIONS = {
    "annotations": 1,
    "claim": 1,
    "deviations": 1,
    "environment": 1,
    "explain": 1,
    "export": 1,
    "identity": 1,
    "ladder": 1,
    "launch": 1,
    "ledger_line": 1,
    "log_line": 1,
    "manifest": 1,
    "metrics": 1,
    "preflight": 1,
    "profile": 1,
    "record": 1,
    "report": 1,
    "spec": 1,
    "start": 1,
    "training": 1,
    "verdict": 1,
}
#: Kinds whose version stands elsewhere: a manifest's is its `format`; lines have none.
UNMARKED = ("manifest", "ledger_line", "log_line")
_OF_NAMES = {
    f"{kind}.json": kind
    for kind in VERSIONS
    # An annotations.json is what COCO's files are called too; a record has the name it is given.
    if kind not in (*UNMARKED, "annotations", "explain", "record")
}
_URN = re.compile(r"urn:replicate-tf2-zoo:(\w+):(\d+)")
_FOLDER = pathlib.Path(__file__).resolve().parent / "schemas"
#: Set in the kit's own tests: what the kit writes is held against its contract before that.
CHECKED = "REPLICATE_CHECK_CONTRACTS"
_told: set[tuple[str, int]] = set()


class Broken(AssertionError):
    """The kit was about to write a file that is not what its contract says."""


def urn(kind: str) -> str:
    """The name of the present version of a kind, which its files and its schema have."""
    return f"urn:replicate-tf2-zoo:{kind}:{VERSIONS[kind]}"


def kind_of_name(path: str | os.PathLike[str]) -> str | None:
    """The kind of a run's file by its name, or None: verdict.json is a "verdict"."""
    name = pathlib.Path(path).name
    return "manifest" if manifest.is_name(name) else _OF_NAMES.get(name)


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind (one of VERSIONS) as it is shipped."""
    return json.loads(path_of(kind).read_text(encoding="utf-8"))


def path_of(kind: str) -> pathlib.Path:
    """Where the schema of a kind lies."""
    return _FOLDER / f"{kind}.schema.json"


def marked(kind: str, value: Any) -> Any:
    """`value` with the version of its kind; checked where the environment asks for it."""
    if isinstance(value, dict) and kind not in UNMARKED:
        value = {KEY: urn(kind)} | value
    return checked(kind, value)


def sealed(kind: str, value: Any) -> Any:
    """An object or list as it stands in a file: with its version and its checksum."""
    if isinstance(value, list):
        return checked(kind, checked_json.sealed(value, **{KEY: urn(kind)}))
    return checked_json.sealed(marked(kind, value))


def checked(kind: str, value: Any) -> Any:
    """`value`, held against its contract where the environment asks for it.

    Raises:
      Broken: it is not what the contract says.
    """
    if os.environ.get(CHECKED):
        from replicate.contracts import checking

        wrong = checking.by_the_kit() and violations(kind, value)
        if wrong:
            raise Broken(
                f"{kind}: {wrong[0]}. Whoever writes another field gives it a type in "
                "replicate/contracts/ and runs python -m replicate.contracts"
            )
    return value


def violations(kind: str, value: Any) -> list[str]:
    """In what a file's content is not what its contract says: "$.metrics.AP: …", [] for nothing.

    Args:
      kind: one of VERSIONS.
      value: the file's content as `json.load` gives it.
    """
    from replicate.contracts import checking

    return checking.violations(kind, value)


def opened(value: Any, path: str | os.PathLike[str]) -> Any:
    """What a file holds, without its version.

    One of an older version is told once a kind, on stderr, and read as far as it goes.

    Args:
      value: the content, its checksum left out.
      path: of the file, for messages.

    Raises:
      UserError: the file is of a newer version than this kit's.
    """
    if not isinstance(value, dict):
        return value
    match = _URN.fullmatch(str(value.get(KEY)))
    if match is None:
        if kind_of_name(path) in VERSIONS.keys() - set(UNMARKED):
            _tell(kind_of_name(path), 0, path)
        return value
    kind, version = match[1], int(match[2])
    if kind not in VERSIONS or version > VERSIONS[kind]:
        raise UserError(
            f"{path}: written by a newer version of the kit ({value[KEY]}), of which this one "
            f"knows {VERSIONS.get(kind, 'nothing')}; update the kit"
        )
    if version < VERSIONS[kind]:
        _tell(kind, version, path)
    return {name: field for name, field in value.items() if name != KEY}


def _tell(kind: str | None, version: int, path: str | os.PathLike[str]) -> None:
    # Of files from before there were versions, a run has many; one line is said of all kinds.
    told = (kind if version else "", version)
    if kind is None or told in _told:
        return
    _told.add(told)
    which = f"version {version}" if version else "a version from before files said theirs"
    others = "" if version else " (other such files are not named)"
    print(
        f"{path}: {which}, the present one is {VERSIONS[kind]}; read as far as it goes{others}",
        file=sys.stderr,
    )
