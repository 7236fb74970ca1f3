"""What a run ran on: versions, devices, code revision. Nothing else of the machine is recorded."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

import psutil

from replicate.run import read_json, write_json

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
_VARIABLES = ("TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS", "NVIDIA_TF32_OVERRIDE", "XLA_FLAGS")
_PROJECT = pathlib.Path(__file__).resolve().parent.parent


def describe():
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
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "git": _git(),
    }


def record(path):
    """Writes `describe()` as the environment of a run; another one before it goes to `earlier`."""
    described = describe()
    if path.is_file():
        before = read_json(path)
        earlier = before.pop("earlier", [])
        if before != described:
            earlier = [*earlier, before]
        described |= {"earlier": earlier} if earlier else {}
    write_json(path, described)


def of_run(run):
    """What a run ran on: environment.json, and from training.json how its steps were executed.

    Args:
      run: RunDir.

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


def _git():
    def git(*arguments):
        return subprocess.run(
            ["git", "-C", _PROJECT, *arguments], capture_output=True, text=True, check=True
        ).stdout

    try:
        return {"revision": git("rev-parse", "HEAD").strip(), "diff": git("diff", "HEAD")}
    except (OSError, subprocess.CalledProcessError):
        return None
