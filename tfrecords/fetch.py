"""Downloads that continue where they stopped and are believed only when their checksum fits.

    fetch(url, "val2017.zip", size=815585330, checksum="md5:442b8da7639aecaf257c1dceb8ba8c80")
    extract("val2017.zip", "coco")

Until a download is complete it is `PATH.part`, with `PATH.part.json` beside it that says of which
version of which URL; only that version is continued.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

import requests
import urllib3
from tqdm import tqdm

from tfrecords.errors import InputError

_CHUNK_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")


class _TryAgain(Exception):
    """A fault that may pass: a cut connection, a timeout, a server error."""


@dataclass(frozen=True)
class _Wanted:
    url: str
    path: pathlib.Path
    size: int | None
    timeout_s: float
    progress: bool

    @property
    def part(self) -> pathlib.Path:
        return self.path.with_name(self.path.name + ".part")

    @property
    def note(self) -> pathlib.Path:
        return self.path.with_name(self.path.name + ".part.json")


def fetch(
    url: str,
    path: str | os.PathLike,
    *,
    size: int | None = None,
    checksum: str | None = None,
    attempts: int = 5,
    wait_s: float = 1.0,
    timeout_s: float = 30.0,
    progress: bool = True,
) -> pathlib.Path:
    """Downloads a file, or finds it already downloaded.

    A cut connection is continued from the last byte where the server supports ranges and still
    has the same version (ETag or Last-Modified), otherwise from the start. Every attempt that
    brought something grants `attempts` new ones.

    Args:
      url: http or https.
      path: where the file appears, complete and checked; its folder is made.
      size: expected bytes, or None.
      checksum: "md5:…" or "sha256:…" in hexadecimal, or None.
      attempts: consecutive fruitless attempts before giving up.
      wait_s: pause before the first repetition, doubled at each.
      timeout_s: silence of the server that counts as a cut connection.
      progress: show a progress bar.

    Returns:
      the path.

    Raises:
      InputError: the server refuses or has another file; no space; the bytes do not fit the
        checksum; a file at `path` that is not the wanted one; no success after all attempts.
    """
    wanted = _Wanted(url, pathlib.Path(path), size, timeout_s, progress)
    if wanted.path.exists():
        _check(wanted.path, size, checksum, f"{path} is there already, but ", "delete or move it")
        return wanted.path
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    fruitless = 0
    while True:
        before = _bytes_of(wanted.part)
        try:
            _receive(wanted)
            break
        except _TryAgain as fault:
            fruitless = 0 if _bytes_of(wanted.part) > before else fruitless + 1
            if fruitless >= attempts:
                kept = _bytes_of(wanted.part)
                raise InputError(
                    f"{url}: given up after {attempts} attempts without a byte: {fault}. "
                    + (f"What has arrived stays in {wanted.part}; run" if kept else "Run")
                    + " the same command to continue"
                ) from fault
            time.sleep(wait_s * 2**fruitless)
        except OSError as error:  # writing, not the network: that is _TryAgain
            raise InputError(f"{wanted.part}: cannot be written: {error.strerror}") from error
    try:
        _check(wanted.part, size, checksum, f"{url}: ", "nothing was kept; try again or a mirror")
    except InputError:
        _forget(wanted)
        raise
    os.replace(wanted.part, wanted.path)
    wanted.note.unlink(missing_ok=True)
    return wanted.path


@dataclass(frozen=True)
class Head:
    """What a server says of a file: whether it is there, and its words (size, or why not)."""

    there: bool
    said: str


def head(url: str, timeout_s: float = 30.0) -> Head:
    """Asks for a file's header alone: `Head`."""
    try:
        answer = requests.head(url, timeout=timeout_s, allow_redirects=True)
    except requests.exceptions.RequestException as error:
        return Head(False, f"no answer ({type(error).__name__})")
    size = answer.headers.get("Content-Length", "")
    if answer.ok:
        return Head(True, _gb(int(size)) if size.isdigit() else "there")
    return Head(False, f"HTTP {answer.status_code} {answer.reason}")


def check_free_space(folder: str | os.PathLike, needed_bytes: float, what: str) -> None:
    """Raises InputError where the disk of `folder` (or its nearest parent) lacks the space."""
    folder = pathlib.Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise InputError(
            f"{folder}: {what} needs {_gb(needed_bytes)}, {_gb(free)} are free; make room or "
            "name another disk"
        )


def _receive(wanted: _Wanted) -> None:
    """One request, its body appended to the part file. Raises _TryAgain or InputError."""
    have, headers = _bytes_of(wanted.part), {"Accept-Encoding": "identity"}
    version = _noted_version(wanted)
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    else:
        _forget(wanted)
        have = 0
    with _answered(wanted, headers) as response:
        if response.status_code == 206:
            first, total = _range_of(response, wanted)
            if first != have:
                _forget(wanted)
                raise _TryAgain(f"asked for bytes from {have}, the server sent from {first}")
        elif response.status_code == 200:
            have = 0
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
        elif response.status_code == 416 and have == wanted.size:
            return  # all of it had arrived
        elif response.status_code == 416:
            _forget(wanted)
            raise _TryAgain(f"the server has nothing after byte {have}")
        elif response.status_code >= 500 or response.status_code in (408, 429):
            raise _TryAgain(f"HTTP {response.status_code} {response.reason}")
        else:
            raise InputError(
                f"{wanted.url}: HTTP {response.status_code} {response.reason}; check the address"
            )
        if wanted.size is not None and total is not None and total != wanted.size:
            raise InputError(
                f"{wanted.url}: the server offers {total} bytes, {wanted.size} are expected: "
                "another file, or an error page. Check the address, or try a mirror"
            )
        expected = wanted.size if total is None else total
        if expected is not None:
            check_free_space(wanted.path.parent, expected - have, f"the rest of {wanted.url}")
        if not have:
            _note_version(wanted, response)
        _append(wanted, response, have, expected)


@contextlib.contextmanager
def _answered(wanted: _Wanted, headers: dict[str, str]) -> Iterator[requests.Response]:
    try:
        with requests.get(
            wanted.url, headers=headers, stream=True, timeout=wanted.timeout_s
        ) as response:
            yield response
    except (requests.exceptions.MissingSchema, requests.exceptions.InvalidURL) as error:
        raise InputError(f"{wanted.url}: not an address: {error}") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _TryAgain(str(error)) from error


def _append(wanted: _Wanted, response: requests.Response, have: int, expected: int | None) -> None:
    bar = tqdm(
        total=expected,
        initial=have,
        desc=wanted.path.name,
        unit="B",
        unit_scale=True,
        disable=not wanted.progress,
    )
    with bar, open(wanted.part, "ab" if have else "wb") as file:
        # read1 gives what there is, so a cut loses nothing of what had arrived before it
        while chunk := response.raw.read1(_CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
    arrived = _bytes_of(wanted.part)
    if expected is not None and arrived != expected:
        if arrived > expected:
            _forget(wanted)
        raise _TryAgain(f"the connection ended after {arrived} of {expected} bytes")


def _range_of(response: requests.Response, wanted: _Wanted) -> tuple[int, int | None]:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if not match:
        _forget(wanted)
        raise _TryAgain("a partial answer that does not say which part")
    return int(match[1]), None if match[3] == "*" else int(match[3])


def _note_version(wanted: _Wanted, response: requests.Response) -> None:
    """A weak ETag (W/"…") cannot vouch for bytes, so it does not count (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    wanted.note.write_text(json.dumps({"url_sha256": _hash(wanted.url), "version": version}))


def _hash(url: str) -> str:
    """Tells whether an address is the same, and nothing of the credentials in it."""
    return hashlib.sha256(url.encode()).hexdigest()


def _noted_version(wanted: _Wanted) -> str | None:
    try:
        noted = json.loads(wanted.note.read_text())
        return noted["version"] if noted["url_sha256"] == _hash(wanted.url) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _forget(wanted: _Wanted) -> None:
    wanted.part.unlink(missing_ok=True)
    wanted.note.unlink(missing_ok=True)


def _check(
    path: pathlib.Path, size: int | None, checksum: str | None, prefix: str, advice: str
) -> None:
    arrived = _bytes_of(path)
    if size is not None and arrived != size:
        raise InputError(f"{prefix}it has {arrived} bytes instead of {size}; {advice}")
    if checksum is None:
        return
    kind, _, expected = checksum.partition(":")
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, kind).hexdigest()
    if digest != expected.lower():
        raise InputError(f"{prefix}its {kind} is {digest} instead of {expected}; {advice}")


def _bytes_of(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _gb(count: float) -> str:
    return f"{count / 1e9:.2f} GB"
