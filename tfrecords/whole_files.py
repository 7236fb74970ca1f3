"""Files that appear under their name only when they are complete. Every other room writes by it."""

import contextlib
import errno
import os
import pathlib
import platform
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from typing import IO

from tfrecords.errors import InputError

_PARTIAL = re.compile(r"\..+\.([0-9a-f]{8})\.(\d+)\.partial")


def partial_of(path: str | os.PathLike) -> pathlib.Path:
    """The name under which this process writes what shall be `path`; no other process has it."""
    path = pathlib.Path(path)
    return path.with_name(f".{path.name}.{_host()}.{os.getpid()}.partial")


@contextlib.contextmanager
def written_whole(
    path: str | os.PathLike, mode: str = "w", *, sync: bool = True, newline: str | None = None
) -> Iterator[IO]:
    """Opens a file beside `path` that takes its name when the block ends without an exception.

    After an exception it is removed. Folders are made as needed; text is UTF-8.

    Args:
      path: of the file.
      mode: "w" or "wb".
      sync: whether the content is on the disk before the file appears, so that it is whole even
        after a power failure.
      newline: as of `open`, for text.
    """
    path = pathlib.Path(path)
    if not path.name or path.is_dir():  # now, rather than when all is written
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    refuse_special(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    try:
        with open(
            partial, mode, encoding=None if "b" in mode else "utf-8", newline=newline
        ) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.filename in (partial, str(partial)):
            error.filename, error.filename2 = str(path), None  # the name that was asked for
        raise


def refuse_existing(path: str | os.PathLike) -> None:
    """Raises InputError where there is something at `path`, which is not to be written over."""
    if os.path.lexists(path):
        raise InputError(f"{path}: exists already; name a new file, or remove it")


def refuse_special(path: str | os.PathLike) -> None:
    """Raises OSError where `path` is a device, pipe or socket: such have no end, and a file that
    took its name would be in its place."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # told by who opens it
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "is a device, pipe or socket, not a file", str(path))


def refuse_unwritable(path: str | os.PathLike) -> None:
    """Tries whether a file or folder can be made at `path`; nothing stays behind.

    Raises:
      OSError: it cannot, named by `path`.
    """
    refuse_special(path)
    folder = pathlib.Path(path).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder == pathlib.Path(path).absolute() and not folder.is_dir():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None


def temporary_folder(prefix: str, parent: str | os.PathLike | None = None) -> pathlib.Path:
    """A new folder for what is not kept; its maker removes it, or `clean` once that is dead.

    Those of the same prefix that dead processes left go now.

    Args:
      prefix: of its name.
      parent: folder to make it in; the system's for temporary files by default.
    """
    parent = tempfile.gettempdir() if parent is None else parent
    clean(parent, prefix)
    ending = f".{_host()}.{os.getpid()}.partial"
    return pathlib.Path(tempfile.mkdtemp(prefix=f".{prefix}", suffix=ending, dir=parent))


@contextlib.contextmanager
def in_temporary_folder(
    prefix: str, parent: str | os.PathLike | None = None
) -> Iterator[pathlib.Path]:
    """A `temporary_folder` as long as the block runs."""
    folder = temporary_folder(prefix, parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clean(folder: str | os.PathLike, prefix: str = "", *, deep: bool = False) -> None:
    """Removes the partial files and folders that processes of this machine left when they died.

    Args:
      folder: where to look; it need not exist.
      prefix: only what would have become a file whose name begins so.
      deep: whether to look in the folders below too.
    """
    folder = pathlib.Path(folder)
    pattern = f".{_escaped(prefix)}*.partial"
    with contextlib.suppress(OSError):
        for partial in folder.rglob(pattern) if deep else folder.glob(pattern):
            match = _PARTIAL.fullmatch(partial.name)
            if match and match[1] == _host() and not _lives(int(match[2]), partial):
                if partial.is_dir():
                    shutil.rmtree(partial, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        partial.unlink()


def _lives(pid: int, partial: pathlib.Path) -> bool:
    """Whether process `pid` runs and is old enough to have written `partial`."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.create_time() <= partial.stat().st_mtime + 1
    except (psutil.NoSuchProcess, OSError):
        return False
    except psutil.AccessDenied:
        return True


def _host() -> str:
    """This machine's name in eight characters: its processes' numbers mean nothing elsewhere."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _escaped(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)
