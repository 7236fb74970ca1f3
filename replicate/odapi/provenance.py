"""Is the installed Object Detection API the published one, file by file?

The hashes of every file of the release are in `replicate/odapi/odapi_files.json`, taken from the
source archive on PyPI (`record`). `differences` compares the installed package with them; it
imports neither TensorFlow nor the API.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import tarfile

_DATA = pathlib.Path(__file__).resolve().parent / "odapi_files.json"
_PACKAGE = "object_detection"


def release() -> dict:
    """What the hashes are of: a dict with `distribution`, `version`, `archive`, `archive_sha256`
    and `files` (path below site-packages to SHA-256)."""
    return json.loads(_DATA.read_text(encoding="utf-8"))


def differences() -> list[tuple[str, str]]:
    """How the installed package departs from the release.

    Returns:
      A sorted list of (path, what) with `what` one of `changed`, `missing`, `added`, or of
      (distribution, `version X, not Y`) or (distribution, `not installed`); empty when every
      Python file is the published one (it installs no others).
    """
    published = release()
    distribution = published["distribution"]
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return [(distribution, "not installed")]
    problems = []
    try:
        version = importlib.metadata.version(distribution)
        if version != published["version"]:
            problems.append((distribution, f"version {version}, not {published['version']}"))
    except importlib.metadata.PackageNotFoundError:
        problems.append((distribution, "not installed as a package: a folder on the path"))
    installed = _hashes(pathlib.Path(spec.submodule_search_locations[0]))
    files = published["files"]
    for path in sorted(installed.keys() | files.keys()):
        if path not in installed:
            problems.append((path, "missing"))
        elif path not in files:
            problems.append((path, "added"))
        elif installed[path] != files[path]:
            problems.append((path, "changed"))
    return problems


def _hashes(folder: pathlib.Path) -> dict[str, str]:
    return {
        path.relative_to(folder.parent).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.py"))
    }


def record(archive: str | os.PathLike[str]) -> None:
    """Writes the data file from the release's source archive.

    pip download --no-deps --no-binary :all: tf-models-research-object-detection==2.8.0.post1
    python -c "from replicate.odapi import provenance; provenance.record('….tar.gz')"
    """
    archive = pathlib.Path(archive)
    name, version = archive.name.removesuffix(".tar.gz").rsplit("-", 1)
    files = {}
    with tarfile.open(archive) as members:
        for member in members:
            # The release installs slim's packages below object_detection.
            path = re.sub("^slim/", f"{_PACKAGE}/", member.name.partition("/")[2])
            if member.isfile() and path.startswith(_PACKAGE + "/") and path.endswith(".py"):
                files[path] = hashlib.sha256(members.extractfile(member).read()).hexdigest()
    content = {
        "distribution": name,
        "version": version,
        "archive": archive.name,
        "archive_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "files": dict(sorted(files.items())),
    }
    _DATA.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
