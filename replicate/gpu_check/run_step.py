"""Executes a training step that `tools/gpu_check.py --export_step=FOLDER` wrote, with JAX alone.

    python run_step.py FOLDER                   # losses and weights beside TensorFlow's
    python run_step.py FOLDER --seconds=10      # and how long a step takes

Needs jax and numpy; on a GPU jax with CUDA. NVIDIA_TF32_OVERRIDE=0 keeps float32 from
TensorFloat-32 there. Prints one JSON object: device, losses of each step, `loss_difference` (the
largest relative one) and `weight_difference` (worst weight tensor, relative to its norm) from
TensorFlow's, `movement_difference` (root mean square of all weights and momenta, relative to how
far the steps moved them), and with --seconds milliseconds a step. Exit status 1 where losses or
weights differ by more than --tolerance, 2 where JAX or the exported step is not there.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Iterable
from typing import Any

try:
    import jax
    import ml_dtypes
    import numpy as np
    from jax._src.lib import xla_client
except ImportError as error:
    _MISSING = str(error)  # told once the flags are read: --help needs no JAX
else:
    _MISSING = ""

#: The JAX that it was tried with; it calls what other releases may have elsewhere.
WRITTEN_FOR = "0.10.2"
USAGE = 2


class ExportedStep:
    """The module on one device.

    Args:
      folder: what was exported.
      device: of jax.devices().
    """

    def __init__(self, folder: pathlib.Path, device: Any) -> None:
        self.folder, self.device = folder, device
        self.described = json.loads((folder / "step.json").read_text(encoding="utf-8"))
        begun = time.monotonic()
        self._executable = device.client.compile_and_load(
            (folder / "step.stablehlo").read_bytes(),
            _device_list(device),
            xla_client.CompileOptions(),
        )
        self.compile_s = time.monotonic() - begun
        self.initial = self._loaded("arrays.npz", range(len(self.described["arguments"])))
        self.state = {
            at: jax.device_put(self.initial[at], device) for at in self.described["parameters"]
        }

    def feed(self, number: int) -> None:
        """Takes the batch of step `number`, counted from 1."""
        batch = [
            at
            for at, argument in enumerate(self.described["arguments"])
            if argument["kind"] == "batch"
        ]
        name = "arrays.npz" if number == 1 else f"batch_{number}.npz"
        for at, value in self._loaded(name, batch).items():
            if at in self.state:
                self.state[at] = jax.device_put(value, self.device)

    def take(self) -> dict[str, Any]:
        """One update; {name of a loss: array on the device}."""
        arguments = [self.state[at] for at in self.described["parameters"]]
        results = self._executable.execute_sharded(arguments)
        arrays = [
            shard[0] if isinstance(shard, list | tuple) else shard
            for shard in results.disassemble_into_single_device_arrays()
        ]
        names = self.described["losses_first"]
        for at, array in zip(self.described["updated"], arrays[len(names) :], strict=True):
            self.state[at] = array
        return dict(zip(names, arrays, strict=False))

    def _loaded(self, name: str, places: Iterable[int]) -> dict[int, np.ndarray]:
        with np.load(self.folder / name) as file:
            return {at: self._typed(file[f"a{at:04d}"], at) for at in places}

    def _typed(self, array: np.ndarray, at: int) -> np.ndarray:
        named = self.described["arguments"][at]
        if named["dtype"] == "bfloat16":
            array = array.view(ml_dtypes.bfloat16)
        if list(array.shape) != named["shape"]:
            _refuse(f"argument {at} is {array.shape}, the module wants {named['shape']}")
        return array

    def expected(self) -> dict[int, np.ndarray]:
        """{place of a variable: its value after the last step, by TensorFlow}."""
        return self._loaded("expected.npz", self.described["updated"])


def _device_list(device: Any) -> Any:
    try:
        from jax._src.lib import _jax
    except ImportError:
        from jaxlib import _jax
    return _jax.DeviceList((device,)) if hasattr(_jax, "DeviceList") else [device]


def _refuse(message: str) -> None:
    print(f"run_step.py: error: {message}", file=sys.stderr)
    sys.exit(USAGE)


def weights_differences(step: ExportedStep) -> tuple[float, float]:
    """(of the whole movement, of the worst weight tensor's norm) from TensorFlow's."""
    apart = moved = worst = 0.0
    for at, expected in step.expected().items():
        ours = np.asarray(step.state[at])
        if not np.issubdtype(expected.dtype, np.floating) and expected.dtype != ml_dtypes.bfloat16:
            if not np.array_equal(ours, expected):
                sys.exit(f"{step.described['arguments'][at]['name']}: {ours}, not {expected}")
            continue
        ours, expected, before = (
            np.asarray(value, np.float64) for value in (ours, expected, step.initial[at])
        )
        apart += ((ours - expected) ** 2).sum()
        moved += ((expected - before) ** 2).sum()
        if step.described["arguments"][at]["kind"] == "weight":
            norm = max(np.linalg.norm(expected), 1e-9)
            worst = max(worst, np.linalg.norm(ours - expected) / norm)
    return float(np.sqrt(apart / moved)), float(worst)


def milliseconds(step: ExportedStep, seconds: float) -> float:
    """Milliseconds a step, over so many seconds of steps on one batch; the first is not counted."""
    jax.block_until_ready(list(step.take().values()))
    begun, steps = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        losses = step.take()
        steps += 1
        if steps % 10 == 0:
            jax.block_until_ready(list(losses.values()))
    jax.block_until_ready(list(step.state.values()))
    return (time.monotonic() - begun) / steps * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    options = parser.parse_args()
    if _MISSING:
        _refuse(
            f"{_MISSING}; it needs JAX, with Python 3.11 or newer: python -m pip install "
            f"jax=={WRITTEN_FOR}, on a machine with NVIDIA GPUs 'jax[cuda12]=={WRITTEN_FOR}'"
        )
    if not (options.folder / "step.json").is_file():
        _refuse(f"{options.folder}: no step.json there, which gpu_check.py --export_step writes")
    jax.config.update("jax_enable_x64", True)
    step = ExportedStep(options.folder, jax.devices()[0])
    theirs, ours = step.described["losses"], []
    for number in range(1, len(theirs) + 1):
        step.feed(number)
        ours.append({name: float(value) for name, value in step.take().items()})
    loss_difference = max(
        abs(mine[name] - reference[name]) / max(abs(reference[name]), 1e-6)
        for mine, reference in zip(ours, theirs, strict=True)
        for name in reference
    )
    movement, worst = weights_differences(step)
    answer = {
        "device": step.device.device_kind,
        "jax": jax.__version__,
        "precision": step.described["precision"],
        "batch_size": step.described["batch_size"],
        "compile_s": round(step.compile_s, 2),
        "losses": ours,
        "tensorflow": theirs,
        "loss_difference": loss_difference,
        "weight_difference": worst,
        "movement_difference": movement,
        "tolerance": options.tolerance,
    }
    if options.seconds:
        answer["milliseconds_a_step"] = round(milliseconds(step, options.seconds), 3)
    print(json.dumps(answer))
    return 0 if max(loss_difference, worst) <= options.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
