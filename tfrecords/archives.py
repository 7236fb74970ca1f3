"""Zip and tar archives, unpacked only where every name stays inside the folder."""

import contextlib
import errno
import gzip
import lzma
import os
import pathlib
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from tfrecords.errors import InputError
from tfrecords.fetch import check_free_space
from tfrecords.whole_files import clean, partial_of

# What the standard library raises of an archive's bytes; gzip's own error is an OSError.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    struct.error,
    ValueError,
    OverflowError,
)
_CHUNK_BYTES = 1 << 20
_NAME_BYTES = 255


def extract(archive: str | os.PathLike, folder: str | os.PathLike, *, progress: bool = True) -> int:
    """Unpacks a .zip or .tar(.gz, .bz2, .xz), continuing what an earlier call left.

    Names are checked before anything is written. A file appears under its name only when
    complete; files that are there with the right size are left as they are.

    Args:
      archive: path of the archive.
      folder: where its contents go; made where it does not exist.
      progress: show a progress bar.

    Returns:
      the number of files in the archive.

    Raises:
      InputError: cut off, damaged or not an archive; a name that leaves the folder, a link or a
        device in it; no space.
    """
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    try:
        with _opened(archive) as members:
            _check_names(members, archive)
            missing = [member for member in members if not _is_there(folder / member.name, member)]
            check_free_space(folder, sum(m.size for m in missing), f"unpacking {archive.name}")
            folder.mkdir(parents=True, exist_ok=True)
            bar = tqdm(missing, desc=f"unpacking {archive.name}", unit="file", disable=not progress)
            for member in bar:
                _write(member, folder / member.name)
            return len(members)
    except (*DAMAGE, EOFError) as error:
        what = str(error).partition("\n")[0].rstrip(": ")  # tarfile lists what it has tried
        raise InputError(
            f"{archive}: cut off, damaged or not an archive ({what}); download it again"
        ) from error
    except OSError as error:
        if error.filename is None and error.errno in (None, errno.EINVAL):  # a place out of reach
            raise InputError(f"{archive}: damaged ({error}); download it again") from error
        raise
    except (NotImplementedError, RuntimeError) as error:  # encryption, an unknown compression
        raise InputError(f"{archive}: cannot be unpacked: {error}") from error


class _Member:
    """One regular file of an archive, or something that is none (`kind` says what).

    `crc32` is of its content, None where the archive has none of each file.
    """

    def __init__(
        self,
        name: str,
        size: int,
        kind: str,
        open_: Callable[[], Any],
        crc32: int | None = None,
    ) -> None:
        self.name, self.size, self.kind, self.open = name, size, kind, open_
        self.crc32 = crc32


@contextlib.contextmanager
def _opened(archive: pathlib.Path) -> Iterator[list[_Member]]:
    if not archive.exists():
        raise InputError(f"{archive}: no such archive")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield [_zip_member(file, info) for info in file.infolist() if not info.is_dir()]
    else:
        with tarfile.open(archive) as file:
            members = [_tar_member(file, info) for info in file if not info.isdir()]
            # Past the archive's end mark lies the stream's own: its checksum is looked at there.
            while file.fileobj.read(_CHUNK_BYTES):
                pass
            yield members


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = "link" if stat.S_ISLNK(mode) else "file"
    return _Member(info.filename, info.file_size, kind, lambda: file.open(info), info.CRC)


def _tar_member(file: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    kind = "file" if info.isreg() else "link" if info.issym() or info.islnk() else "device"
    return _Member(info.name, info.size, kind, lambda: file.extractfile(info))


def _check_names(members: list[_Member], archive: pathlib.Path) -> None:
    """Every name by itself, and that no two want the same place."""
    names = set()
    for member in members:
        _check_name(member, archive)
        name = pathlib.PurePosixPath(member.name.replace("\\", "/"))
        if name in names:
            raise InputError(f"{archive}: holds {member.name!r} twice; nothing was unpacked")
        names.add(name)
    for name in names:
        if clash := names.intersection(name.parents):
            raise InputError(
                f"{archive}: holds a file {str(clash.pop())!r} and {str(name)!r}, which wants a "
                "folder there; nothing was unpacked"
            )


def _check_name(member: _Member, archive: pathlib.Path) -> None:
    if member.kind != "file":
        raise InputError(f"{archive}: holds a {member.kind}, {member.name!r}; nothing was unpacked")
    parts = member.name.replace("\\", "/").split("/")
    if not member.name or parts[0] == "" or ".." in parts or ":" in parts[0] or "\0" in member.name:
        raise InputError(
            f"{archive}: holds the name {member.name!r}, which leaves the folder; nothing was "
            "unpacked. Get the archive from its publisher"
        )
    if parts[-1] in ("", ".") or any(len(os.fsencode(part)) > _NAME_BYTES for part in parts):
        raise InputError(
            f"{archive}: {member.name[:60]!r} is no name that a file can have; nothing was unpacked"
        )


def _is_there(path: pathlib.Path, member: _Member) -> bool:
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    return member.crc32 is None or _crc32(path) == member.crc32


def _crc32(path: pathlib.Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc


def _write(member: _Member, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    clean(path.parent, path.name)
    partial = partial_of(path)
    try:
        with member.open() as source, open(partial, "wb") as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)
        if partial.stat().st_size != member.size:
            raise EOFError(f"{member.name} ends early")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
