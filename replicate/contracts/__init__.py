"""What the kit's files promise to who reads them: a JSON Schema (2020-12) a kind, with a version.

    from replicate import contracts
    contracts.violations("verdict", json.load(open("runs/a/verdict.json")))   # [] or what is wrong

A file says what it is in its first key, `"schema": "urn:replicate-tf2-zoo:verdict:1"`, the `$id` of
the schema in `replicate/contracts/schemas/`. A version is raised when a field is taken out or means
something else; readers of an older one say so and read on, of a newer one they stop. The schemas
are made from the types in this room by `python -m replicate.contracts`.
"""

import os
import pathlib
import re
import sys
from typing import Any

from replicate.contracts.kinds import KINDS
from replicate.contracts.shipped import path_of as path_of
from replicate.contracts.shipped import schema as schema
from replicate.errors import UserError
from tfrecords import checked_json, manifest

KEY = "schema"
_URN = re.compile(r"urn:replicate-tf2-zoo:(\w+):(\d+)")
#: Set in the kit's own tests: what the kit writes is held against its contract before that.
CHECKED = "REPLICATE_CHECK_CONTRACTS"
_named: set[tuple[str, int]] = set()


class Broken(AssertionError):
    """The kit was about to write a file that is not what its contract says."""


class Unlike(ValueError):
    """What was read is not what its contract says."""


def urn(kind: str) -> str:
    """The name of the present version of a kind, which its files and its schema have."""
    return f"urn:replicate-tf2-zoo:{kind}:{KINDS[kind].version}"


def kind_of_name(path: str | os.PathLike[str]) -> str | None:
    """The kind of a run's file by its name, or None: verdict.json is a "verdict"."""
    path = pathlib.Path(path)
    if manifest.is_name(path.name):
        return "manifest"
    named = path.suffix == ".json" and path.stem in KINDS and KINDS[path.stem].named
    return path.stem if named else None


def marked(kind: str, value: Any) -> Any:
    """`value` with the version of its kind; checked where the environment asks for it."""
    if isinstance(value, dict) and KINDS[kind].marked:
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
      kind: one of KINDS.
      value: the file's content as `json.load` gives it.
    """
    from replicate.contracts import checking

    return checking.violations(kind, value)


def fault(kind: str, value: Any, *, version: int = 0) -> str | None:
    """What of a file that is read is not as its contract says, or None.

    Fields may be missing, but for those that the contract calls needed, and others may stand beside
    them; of the present version, every value that is there is held against it.

    Args:
      kind: one of KINDS.
      value: the content, without version and checksum.
      version: which it says that it has; 0 where it says none.

    Returns:
      such as "Expected `int`, got `str` - at `$.step`".
    """
    from tfrecords import json_shapes

    now = version == KINDS[kind].version
    return json_shapes.fault(value, KINDS[kind].shape(), as_written_now=now)


def opened(value: Any, path: str | os.PathLike[str], kind: str | None = None) -> Any:
    """What a file holds, without its version, held against its contract.

    One of an older version is told once a kind, on stderr, and read as far as it goes.

    Args:
      value: the content, its checksum left out.
      path: of the file, for messages.
      kind: of the file, where neither its name nor its version tells.

    Raises:
      UserError: the file is of a newer version than this kit's.
      Unlike: it is not what its contract says, see `fault`.
    """
    kind = kind or kind_of_name(path)
    said = _URN.fullmatch(str(value.get(KEY))) if isinstance(value, dict) else None
    version = int(said[2]) if said else 0
    if said and said[1] in KINDS and KINDS[said[1]].called == kind:
        kind = said[1]
    if said:
        value = {name: field for name, field in value.items() if name != KEY}
        _hold_known(said[1], version, path)
    kind = kind or (said[1] if said else None)
    if kind is None:
        return value
    wrong = fault(kind, value, version=version if said and said[1] == kind else 0)
    if wrong:
        raise Unlike(wrong)
    if not said and isinstance(value, dict) and KINDS[kind].marked:
        _tell(kind, 0, path)
    return value


def _hold_known(kind: str, version: int, path: str | os.PathLike[str]) -> None:
    """Refuses a version that is newer than this kit's, tells an older one."""
    known = KINDS.get(kind)
    if known is None or version > known.version:
        raise UserError(
            f"{path}: written by a newer version of the kit "
            f"(urn:replicate-tf2-zoo:{kind}:{version}), of which this one knows "
            f"{known.version if known else 'nothing'}; update the kit"
        )
    if version < known.version:
        _tell(kind, version, path)


def _tell(kind: str, version: int, path: str | os.PathLike[str]) -> None:
    # Of files from before there were versions, a run has many; one line is said of all kinds.
    outdated = (kind if version else "", version)
    if outdated in _named:
        return
    _named.add(outdated)
    if version:
        told = f'"schema" says version {version}, the present one is {KINDS[kind].version}'
        others = ""
    else:
        told = 'of an older kit, whose files have no "schema"'
        others = " (other such files are not named)"
    print(f"{path}: {told}; read as far as it goes{others}", file=sys.stderr)
