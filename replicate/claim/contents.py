"""What a bundle holds, and its list of contents."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import tarfile
import zlib

from replicate import contracts
from replicate.errors import UserError
from replicate.run import RunDir
from tfrecords import checked_json
from tfrecords.manifest import in_folder

CLAIM = "claim.json"
LOCK = "requirements.txt"
#: Of the run directory, where they are: what a verdict is read off.
_OF_RUN = (
    *(
        "spec.json",
        "pipeline.config",
        "params.yaml",
        "deviations.json",
        "preflight.json",
        "environment.json",
    ),
    *("identity.json", "start.json", "training.json", "metrics.jsonl", "verdict.json"),
    *("best/best.json", "early_stop.json"),
    *("report/report.json", "report/report.md"),
)
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # of gzip: no name, no time, no system
_LARGEST = 4 << 30  # bytes of all members: val2017's detections take some 100 MB


def of_run(run: RunDir, step: int) -> dict[str, pathlib.Path]:
    """The files of a bundle by their names in it: the run's, under run/.

    Args:
      step: of the evaluation that is claimed.
    """
    names = [name for name in _OF_RUN if (run.root / name).is_file()]
    names += [f"evals/{step}/{name}" for name in ("metrics.json", "detections.json.gz")]
    names += [path.relative_to(run.root).as_posix() for path in in_folder(run.data).values()]
    names += [f"explain/{path.name}" for path in sorted((run.root / "explain").glob("*.json"))]
    return {f"run/{name}": run.root / name for name in names}


def violations(path: pathlib.Path) -> list[str]:
    """In what way a JSON file of a run is not what its contract says; [] where there is none."""
    kind = contracts.kind_of_name(path)
    kind = "explain" if path.parent.name == "explain" else kind
    return [] if kind is None else contracts.violations(kind, json.loads(path.read_bytes()))


def pack(members: dict[str, bytes], path: str | os.PathLike[str]) -> None:
    """Writes an archive whose bytes follow from its members' names and bytes alone."""
    from tfrecords.whole_files import written_whole

    with (
        written_whole(path, "wb") as stream,
        gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed,
    ):
        packed.write(_tar(members))


def _tar(members: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def unpack(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """The members of an archive: plain files, named by paths that stay inside.

    Raises:
      UserError: no archive, a damaged one, or a member that is not so.
    """
    members: dict[str, bytes] = {}
    size = 0
    try:
        with open(path, "rb") as file:
            head = file.read(10)
        with gzip.open(path) as packed:  # to its end, where its checksum stands
            whole = packed.read(_LARGEST + 1)
        with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as archive:
            for entry in archive:
                parts = pathlib.PurePosixPath(entry.name).parts
                inside = not entry.name.startswith("/") and ".." not in parts and parts
                if not (entry.isreg() and inside) or entry.name in members:
                    raise UserError(
                        f"{path}: {entry.name!r} is no plain file of a claim's; the archive was "
                        "made by something else than tools/bundle.py"
                    )
                size += entry.size
                if size > _LARGEST:
                    raise UserError(f"{path}: more than {_LARGEST >> 30} GiB unpacked; no claim is")
                file = archive.extractfile(entry)
                assert file is not None  # it is a plain file
                members[entry.name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: not readable as a .tar.gz ({error}); fetch it again, or have it made again "
            "by tools/bundle.py"
        ) from None
    # The level of compression (byte 8) alone may be another: that is zlib's version.
    if head[:8] + head[9:] != _HEAD[:8] + _HEAD[9:] or _tar(members) != whole:
        raise UserError(f"{path}: not the archive that tools/bundle.py writes of its members")
    return members


def text_of(claim: dict) -> bytes:
    """The bytes of claim.json: of one content there are no others."""
    return (json.dumps(contracts.sealed("claim", claim), indent=1) + "\n").encode()


def claim_of(content: bytes) -> dict | str:
    """The dict of claim.json's bytes, or in what way they are not as `text_of` writes them."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        return f"not readable as JSON ({error})"
    wrong = contracts.violations("claim", document)
    if wrong:
        return wrong[0]
    try:
        claim = contracts.opened(checked_json.unsealed(document), CLAIM)
    except (checked_json.Changed, UserError) as error:
        return str(error)
    return claim if text_of(claim) == content else "its bytes are not as it was written"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
