"""Released zoo archives (`MODEL.tar.gz`): what is in them, and safely out of them.

MODEL/pipeline.config   the config the model was released with
MODEL/checkpoint/       ckpt-0.index, ckpt-0.data-00000-of-00001, checkpoint
MODEL/saved_model/      the exported detector
"""

import hashlib
import os
import pathlib
import shutil
import tarfile
import tempfile

from replicate.errors import UserError

_CHUNK_BYTES = 1 << 20


def is_archive(path):
    """Whether `path` is a file that tar reads."""
    return os.path.isfile(path) and tarfile.is_tarfile(path)


def read_config(path):
    """The text of the `pipeline.config` in an archive, without unpacking it.

    Raises:
      UserError: the archive is cut off, or holds none.
    """
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and pathlib.PurePosixPath(member.name).name == "pipeline.config":
                    return archive.extractfile(member).read().decode("utf-8")
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a whole archive ({error}); fetch it again") from error
    raise UserError(f"{path}: no pipeline.config in it; is it a released zoo model?")


def unpack(path, folder=None):
    """Unpacks an archive, once: a second call finds the folder of the first.

    Nothing is written outside the folder: absolute names, `..`, links that lead out and device
    files are refused, by tarfile's "data" filter (https://peps.python.org/pep-0706). The folder
    appears under its name when everything is in it.

    Args:
      path: `MODEL.tar.gz`.
      folder: where to put it; `MODEL` beside the archive when None.

    Returns:
      The folder that holds `pipeline.config`.

    Raises:
      UserError: not a whole archive, one that would write elsewhere, or too large for the disk.
    """
    path = pathlib.Path(path)
    folder = pathlib.Path(folder or path.parent / path.name.split(".tar")[0].removesuffix(".tgz"))
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _extract(path, beside)
            os.replace(_model_folder(path, beside), folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


def checkpoint(folder):
    """The prefix of the checkpoint in an unpacked archive, e.g. `MODEL/checkpoint/ckpt-0`.

    Raises:
      UserError: there is none.
    """
    found = sorted(pathlib.Path(folder).glob("checkpoint/*.index"))
    if not found:
        raise UserError(f"{folder}: no checkpoint/*.index in it; is it a released zoo model?")
    return str(found[-1].with_suffix(""))


def sha256(path):
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _extract(path, folder):
    if not hasattr(tarfile, "data_filter"):
        raise UserError("this Python cannot unpack archives safely; it takes 3.11.4 or newer")
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
            if needed > free:
                raise UserError(
                    f"{path}: {needed / 2**30:.1f} GiB unpacked, but {free / 2**30:.1f} GiB are "
                    f"free in {folder.parent}"
                )
            archive.extractall(folder, members, filter="data")
    except tarfile.FilterError as error:
        raise UserError(f"{path}: would write outside its own folder: {error}") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a whole archive ({error}); fetch it again") from error


def _model_folder(path, folder):
    found = sorted(folder.glob("**/pipeline.config"), key=lambda each: len(each.parts))
    if not found:
        raise UserError(f"{path}: no pipeline.config in it; is it a released zoo model?")
    return found[0].parent
