"""ONNX models, by tf2onnx in a process of its own."""

import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys
from typing import Any

from replicate.errors import UserError

# The newest opset that tf2onnx 1.17 was seen to convert the zoo's suppression with.
OPSET = 17


def require() -> None:
    """Raises UserError where tf2onnx or onnx is not installed."""
    for package in ("tf2onnx", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"onnx: the package {package} is not installed; "
                "pip install -r requirements.txt -r requirements-onnx.txt"
            )


def convert(saved_model: pathlib.Path, path: pathlib.Path, log: pathlib.Path) -> None:
    """Writes the ONNX model of a SavedModel.

    Args:
      saved_model: its folder.
      path: the .onnx file.
      log: file for tf2onnx's own words.

    Raises:
      UserError: it cannot be converted; the message has the last lines of the log.
    """
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(saved_model)]
    command += ["--opset", str(OPSET), "--output", str(path)]
    with open(log, "wb") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False)
    if done.returncode or not path.is_file():
        said = log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        raise UserError("onnx: tf2onnx cannot take this model: " + " | ".join(said))


def described(path: pathlib.Path) -> dict[str, Any]:
    """The inputs and outputs of an ONNX model: name, shape (names where open), dtype; opset."""
    import onnx

    model = onnx.load(str(path))
    return {
        "inputs": [_tensor(value) for value in model.graph.input],
        "outputs": [_tensor(value) for value in model.graph.output],
        "opset": {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
    }


def versions() -> dict[str, str]:
    """The versions of the converter."""
    return {name: importlib.metadata.version(name) for name in ("tf2onnx", "onnx")}


def _tensor(value: Any) -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    return {
        "name": value.name,
        "shape": [side.dim_value or side.dim_param or None for side in tensor.shape.dim],
        "dtype": onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
    }
