"""Files that appear under their name only when they are complete. Every other room writes by it."""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def written_whole(path, mode="w", *, sync=True, newline=None):
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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(
            partial, mode, encoding=None if "b" in mode else "utf-8", newline=newline
        ) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
