"""Runs for the trackers people already use, from what the run directory holds.

    from replicate.report import trackers
    trackers.write(RunDir.existing("runs/first"), ["tensorboard", "mlflow"])

TensorBoard needs nothing; MLflow and Comet need `pip install -r requirements-trackers.txt`, Weights
& Biases and Trackio requirements-wandb-trackio.txt. All write to local files and send nothing.
"""

import importlib
import os
import pathlib
import types
from collections.abc import Iterable

from replicate.errors import UserError
from replicate.report.trackers.record import TrackedRun, of_run
from replicate.run import RunDir

TRACKERS = ("tensorboard", "mlflow", "comet", "wandb", "trackio")

_PINS = {"wandb": "wandb-trackio", "trackio": "wandb-trackio"}

__all__ = ["TRACKERS", "TrackedRun", "of_run", "write"]


def write(
    run: RunDir, names: Iterable[str], folder: str | os.PathLike[str] | None = None
) -> dict[str, str]:
    """Writes a run for each of the trackers.

    Args:
      run: RunDir.
      names: of TRACKERS.
      folder: where; default trackers/ in the run directory. Several runs may share one.

    Returns:
      dict name -> what to open and how, one line.

    Raises:
      UserError: an unknown tracker, or its package is not installed.
    """
    unknown = [name for name in names if name not in TRACKERS]
    if unknown:
        raise UserError(f"--tracker={unknown[0]}; there are: {', '.join(TRACKERS)}")
    adapters = {name: _adapter(name) for name in names}
    record = of_run(run)
    folder = pathlib.Path(folder) if folder else run.root / "trackers"
    return {name: adapter.write(record, folder / name) for name, adapter in adapters.items()}


def _adapter(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(f"replicate.report.trackers.to_{name}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"--tracker={name}: {error.name} is not installed; "
            f"pip install -r requirements-{_PINS.get(name, 'trackers')}.txt"
        ) from None
