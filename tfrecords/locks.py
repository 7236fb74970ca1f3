"""One process at a time in an output: a lock that says who holds it.

    with locks.held("data/train2017", "the conversion"):
        ...

The lock is the kernel's (flock), so one whose process has died is free at once, however it died;
where a file system has no flock, `filelock` falls back to a marker that names the process, and
takes over that of a dead one. `filelock` alone does not tell who holds a lock: that stands in a
note beside it.
"""

import contextlib
import ctypes
import errno
import json
import os
import pathlib
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfrecords.errors import InputError
from tfrecords.whole_files import clean, written_whole

if TYPE_CHECKING:
    import filelock


_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_mine: dict[str, int] = {}  # real path of a lock: how often this process has taken it
_guard = threading.Lock()


@contextlib.contextmanager
def held(output: str | os.PathLike, what: str, *, wait: bool = False) -> Iterator[None]:
    """Holds the lock of an output while the block runs; within one process it may be taken again.

    So may one that the parent process holds: this process works for it, and ends when it ends.

    Args:
      output: path that the block writes: a file, a folder or the prefix of several files. The lock
        lies beside it, `.NAME.lock`; where `output` ends in a separator, in that folder.
      what: in words what the block writes, for the message.
      wait: whether to wait for the other process, having said so, rather than to refuse.

    Raises:
      InputError: another process holds it.
      OSError: there is no room for the lock.
    """
    import filelock  # 30 ms that a tool which writes nothing need not wait for

    path = _path_of(output)
    key = os.path.join(os.path.realpath(path.parent), path.name)
    with _guard:
        _mine[key] = _mine.get(key, 0) + 1
        again = _mine[key] > 1
    try:
        if again:
            yield
            return
        lock = filelock.FileLock(str(path))
        if _is_parents(path) and _end_with_parent():
            yield
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _acquire(lock, filelock.Timeout, path, output, what, wait)
        except OSError as error:
            # Where no lock can be written, no output can; what needs none goes on.
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
        try:
            clean(path.parent, path.name)
            with contextlib.suppress(OSError), written_whole(_note_of(path)) as note:
                json.dump(_holder(), note)
            yield
        finally:
            # Both go while the lock is held: who waits for a file that is gone opens a new one.
            for file in (_note_of(path), path):
                with contextlib.suppress(OSError):
                    file.unlink()
            lock.release()
    finally:
        with _guard:
            _mine[key] -= 1
            if not _mine[key]:
                del _mine[key]


def _path_of(output: str | os.PathLike) -> pathlib.Path:
    output = os.fspath(output)
    folder, name = os.path.split(output)
    return pathlib.Path(folder or ".") / (f".{name}.lock" if name else ".lock")


def _note_of(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".json")


def _acquire(
    lock: "filelock.BaseFileLock",
    timeout: type[Exception],
    path: pathlib.Path,
    output: str | os.PathLike,
    what: str,
    wait: bool,
) -> None:
    try:
        lock.acquire(timeout=0)
        return
    except timeout:
        message = f"{output}: {what} is being written by {_holder_in_words(path)}"
    if not wait:
        raise InputError(
            f"{message}; wait for it or stop it, then run the same command, or name another output"
        )
    print(f"{message}; waiting for it", file=sys.stderr, flush=True)
    lock.acquire(timeout=-1, poll_interval=_POLL_S)


def _is_parents(path: pathlib.Path) -> bool:
    """Whether the process that started this one holds the lock: it works for its holder then."""
    note = _note(path)
    return note.get("pid") == os.getppid() and note.get("host") == platform.node()


def _end_with_parent() -> bool:
    """Has the kernel end this process when the one that started it does, however that ends.

    Returns:
      whether it will; where it cannot be had, the lock is not this process's either.
    """
    try:
        ended = ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return False
    return ended == 0 and os.getppid() != 1


def _note(path: pathlib.Path) -> dict:
    """The holder's note, {} where there is none that can be read."""
    try:
        note = json.loads(_note_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _holder() -> dict:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "program": os.path.basename(sys.argv[0]) if sys.argv else "",
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _holder_in_words(path: pathlib.Path) -> str:
    """The holder in words, as far as its note tells."""
    try:
        return "process {pid} on {host} ({program}, since {since})".format(**_note(path))
    except (KeyError, ValueError):
        return "another process"
