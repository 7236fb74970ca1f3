"""Released zoo archives (`MODEL.tar.gz`): what is in them, and safely out of them.

MODEL/pipeline.config   the config the model was released with
MODEL/checkpoint/       ckpt-0.index, ckpt-0.data-00000-of-00001, checkpoint
MODEL/saved_model/      the exported detector
"""

import hashlib
import lzma
import os
import pathlib
import re
import shutil
import tarfile
import zlib
from typing import Protocol

from replicate.errors import UserError
from tfrecords.whole_files import clean, partial_of, written_whole

_DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError)
_CONFIG_BYTES = 10_000_000  # the zoo's have some kilobytes


class Released(Protocol):
    """What names a released archive: a `zoo.Row` or a `zoo.StartingPoint`."""

    @property
    def archive(self) -> str: ...

    @property
    def url(self) -> str: ...


def is_archive(path: str | os.PathLike) -> bool:
    """Whether `path` is a file that tar reads, with something in it."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        if not any(file.read(tarfile.BLOCKSIZE)):
            return False  # zeros pad a tar and an xz: all of them would be read, for nothing
    return tarfile.is_tarfile(path)


def read_config(path: str | os.PathLike) -> str:
    """The text of the `pipeline.config` in an archive, without unpacking it.

    Raises:
      UserError: the archive is cut off, or holds none.
    """
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and pathlib.PurePosixPath(member.name).name == "pipeline.config":
                    if member.size > _CONFIG_BYTES:
                        raise UserError(f"{path}: its pipeline.config has {member.size} bytes")
                    stream = archive.extractfile(member)
                    assert stream is not None  # of a file there is one
                    return stream.read().decode("utf-8")
    except (*_DAMAGE, EOFError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a whole archive ({error}); fetch it again") from error
    raise UserError(f"{path}: no pipeline.config in it; is it a released zoo model?")


def fetch(row: Released, folder: str | os.PathLike) -> pathlib.Path:
    """Downloads a released archive and records its SHA-256 beside it.

    The zoo publishes no checksums: that of the registry holds where one was recorded there (the
    column sha256), else the first download's, which is kept in `MODEL.tar.gz.sha256`, as
    `sha256sum --check` reads it, and an archive that is there already must still have it. A
    download that was cut off is continued.

    Args:
      row: a `zoo.Row` or `zoo.StartingPoint`.
      folder: where `MODEL.tar.gz` goes.

    Returns:
      The archive's path.

    Raises:
      tfrecords.errors.InputError: the server has no such file, no space, or other bytes than those
        recorded.
    """
    from tfrecords import fetch as downloads  # requests is slow to import, and for this alone

    path = pathlib.Path(folder) / f"{row.archive}.tar.gz"
    record = path.with_name(path.name + ".sha256")
    known = getattr(row, "sha256", "") or _recorded(record)
    downloads.fetch(row.url, path, checksum=known and f"sha256:{known}")
    if not record.is_file():
        with written_whole(record) as file:
            file.write(f"{sha256(path)}  {path.name}\n")
    return path


def _recorded(record: pathlib.Path) -> str | None:
    """The SHA-256 that an earlier download recorded, or None."""
    if not record.is_file():
        return None
    words = record.read_text(encoding="utf-8", errors="replace").split()
    if not words or not re.fullmatch(r"[0-9a-fA-F]{64}", words[0]):
        raise UserError(f"{record}: holds no SHA-256; remove it, and the archive is hashed anew")
    return words[0]


def unpack(
    path: str | os.PathLike,
    folder: str | os.PathLike | None = None,
    *,
    marker: str = "pipeline.config",
) -> pathlib.Path:
    """Unpacks an archive, once: a second call finds the folder of the first.

    Nothing is written outside the folder, and the folder appears under its name when everything
    is in it.

    Args:
      path: `MODEL.tar.gz`.
      folder: where to put it; `MODEL` beside the archive when None.
      marker: the file, or pattern of files, that is in the folder which is wanted; of a
        classification checkpoint's archive `*.index`.

    Returns:
      The folder that holds `pipeline.config`, or what `marker` says.

    Raises:
      UserError: the archive holds no such file.
      tfrecords.errors.InputError: it is cut off, would write elsewhere, or is too large for the
        disk.
    """
    from tfrecords import archives

    path = pathlib.Path(path)
    folder = pathlib.Path(folder or path.parent / path.name.split(".tar")[0].removesuffix(".tgz"))
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        clean(folder.parent, folder.name)
        beside = partial_of(folder)
        try:
            archives.extract(path, beside)
            os.replace(_folder_of(marker, path, beside), folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


def checkpoint(folder: str | os.PathLike) -> str:
    """The prefix of the checkpoint in an unpacked archive, e.g. `MODEL/checkpoint/ckpt-0`.

    Raises:
      UserError: there is none.
    """
    indexes = sorted(pathlib.Path(folder).glob("checkpoint/*.index"))
    if not indexes:
        raise UserError(f"{folder}: no checkpoint/*.index in it; is it a released zoo model?")
    return str(indexes[-1].with_suffix(""))


def starting_checkpoint(folder: str | os.PathLike, name: str) -> str:
    """The prefix of the checkpoint in an unpacked archive of the classification zoo.

    Args:
      folder: where it was unpacked.
      name: the checkpoint's name in the recipe (`mobilenet_v2.ckpt-1`), or "" where that names
        none; an archive with one checkpoint of another name has that one.

    Raises:
      UserError: there is none, or several and none has the name.
    """
    prefixes = {
        path.name.removesuffix(".index"): path for path in pathlib.Path(folder).glob("*.index")
    }
    if name not in prefixes and len(prefixes) != 1:
        raise UserError(
            f"{folder}: no {name or 'checkpoint'}.index in it; it has "
            f"{', '.join(sorted(prefixes)) or 'no checkpoint'}"
        )
    prefix = prefixes.get(name) or next(iter(prefixes.values()))
    return str(prefix).removesuffix(".index")


def checkpoint_of(path: str) -> str:
    """The checkpoint's prefix that `path` names: of an archive, the one in it; else `path`."""
    return checkpoint(unpack(path)) if is_archive(path) else path


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder_of(marker: str, path: str | os.PathLike, folder: pathlib.Path) -> pathlib.Path:
    places = sorted(folder.glob(f"**/{marker}"), key=lambda place: len(place.parts))
    if not places:
        raise UserError(f"{path}: no {marker} in it; is it a released archive of the zoo?")
    return places[0].parent
