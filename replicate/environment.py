"""What a run ran on: versions, devices, code revision. Nothing else of the machine is recorded."""

import functools
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import TYPE_CHECKING

import psutil

from replicate.run import read_json, write_json
from tfrecords.redaction import without_secrets

if TYPE_CHECKING:
    from replicate.run import RunDir


_PACKAGES = (
    "tensorflow",
    "tf-keras",
    "tf-models-official",
    "tf-models-research-object-detection",
    "protobuf",
    "numpy",
    "pycocotools",
    "hotcoco",
    "scikit-learn",
)
# Variables that change what TensorFlow computes; no other is recorded.
_VARIABLES = (
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_DETERMINISTIC_OPS",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
    "XLA_FLAGS",
)
_PROJECT = pathlib.Path(__file__).resolve().parent.parent
# What of a checkout decides what the kit computes.
_OWN_FILES = ("replicate", "tfrecords", "tools", "configs", "requirements*.txt", "pyproject.toml")


_CODE_AND_TABLES = (".py", ".csv", ".json", ".toml", ".j2", ".js", ".css")


@functools.cache
def code_sha256(*rooms: str) -> str:
    """A hash of the kit's own code and tables, which decide results as much as settings do.

    Args:
      rooms: folders or files of the package.

    Raises:
      FileNotFoundError: there is no such room; a hash without it would never change.
    """
    digest = hashlib.sha256()
    for room in rooms:
        place = _PROJECT / "replicate" / room
        if not place.exists():
            raise FileNotFoundError(place)
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.suffix in _CODE_AND_TABLES:
                digest.update(path.read_bytes())
    return digest.hexdigest()


def describe() -> dict:
    """The environment as environment.json holds it.

    `earlier`, added by a run that was continued elsewhere, lists the environments before.
    """
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "cpu": {"cores": psutil.cpu_count(), "memory_bytes": psutil.virtual_memory().total},
        "gpus": [
            tf.config.experimental.get_device_details(gpu)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
        "variables": {
            name: without_secrets(os.environ[name]) for name in _VARIABLES if name in os.environ
        },
        "git": _git(_PROJECT),
    }


def record(path: pathlib.Path) -> None:
    """Writes `describe()` as the environment of a run; another one before it goes to `earlier`."""
    described = describe()
    if path.is_file():
        before = read_json(path)
        earlier = before.pop("earlier", [])
        if before != described:
            earlier = [*earlier, before]
        described |= {"earlier": earlier} if earlier else {}
    write_json(path, described)


def of_run(run: "RunDir") -> dict:
    """What a run ran on: environment.json, and from training.json how its steps were executed.

    Returns:
      dict of environment.json with `execution` (see `train.journal`) and its `precision` added.

    Raises:
      UserError: there is no environment.json.
    """
    described = read_json(run.environment)
    if run.training.is_file():
        execution = read_json(run.training).get("execution", {})
        described |= {"execution": execution, "precision": execution.get("precision")}
    return described


def _git(project: pathlib.Path) -> dict[str, str] | None:
    """The kit's own revision and what of its files is changed since; None outside its repository.

    Installed into an environment that lies in another repository, or copied into one without
    being added to it, the kit has no revision of its own, and that repository's is none of its
    business. In a repository that holds more than the kit, the diff is of the kit's files alone.

    Args:
      project: the folder that holds `replicate/`.

    Returns:
      dict of revision and diff, or None.
    """
    # Variables of a hook or an alias would name another repository than the folder's.
    surroundings = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", project, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            env=surroundings,
        ).stdout

    try:
        top = git("rev-parse", "--show-toplevel").rstrip("\n")
        if pathlib.Path(top).resolve() != pathlib.Path(project).resolve():
            return None
        git("ls-files", "--error-unmatch", "replicate/environment.py")
        plain = ("--no-ext-diff", "--no-textconv", "--no-color")
        diff = without_secrets(git("diff", *plain, "HEAD", "--", *_OWN_FILES))
        return {"revision": git("rev-parse", "HEAD").strip(), "diff": diff}
    except (OSError, subprocess.CalledProcessError):
        return None
