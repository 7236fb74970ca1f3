"""A run in Trackio's local store, which `trackio show` opens."""

import contextlib
import importlib.util
import io
import os
import pathlib
from typing import Any

from replicate.errors import UserError
from replicate.report.trackers.record import TrackedRun

if importlib.util.find_spec("trackio") is None:  # it reads its folder when it is imported
    raise ModuleNotFoundError("No module named 'trackio'", name="trackio")

PROJECT = "replications"


def write(record: TrackedRun, folder: pathlib.Path) -> str:
    """Logs the run into the store `folder`; an earlier export under its name is deleted.

    Returns:
      how to open it, one line.

    Raises:
      UserError: this process has opened another store, and Trackio knows one a process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TRACKIO_DIR"] = str(folder.resolve())
    # Nothing leaves this machine.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import trackio
    from trackio import utils
    from trackio.sqlite_storage import SQLiteStorage

    if pathlib.Path(utils.TRACKIO_DIR).resolve() != folder.resolve():
        raise UserError(
            f"--tracker=trackio: {utils.TRACKIO_DIR} is open in this process; write the runs of "
            "another store by another command"
        )
    with contextlib.redirect_stdout(io.StringIO()):
        SQLiteStorage.delete_run(PROJECT, record.name)
        run = trackio.init(
            project=PROJECT,
            name=record.name,
            config=_config(record),
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        try:
            _log(run, record)
        finally:
            run.finish()
    return f"TRACKIO_DIR={folder.resolve()} trackio show --project {PROJECT}"


def _config(record: TrackedRun) -> dict:
    texts = {f"text.{name}": text for name, text in record.texts.items()}
    files = {
        f"file.{path.name}": path.read_text(encoding="utf-8", errors="replace")
        for path in record.files
    }
    git = {"git_revision": record.git["revision"]} if record.git else {}
    return {"run_dir": str(record.root), **record.parameters, **texts, **files, **git}


def _log(run: Any, record: TrackedRun) -> None:
    import trackio

    at_step: dict[int, dict] = {}
    for name, pairs in record.series.items():
        for step, value in pairs:
            at_step.setdefault(step, {})[name] = value
    for image in record.images:
        at_step.setdefault(image.step, {})[f"images/{image.name}"] = trackio.Image(
            image.pixels(), caption=f"{image.name}, step {image.step}"
        )
    for step in sorted(at_step):
        epoch = record.epoch(step)
        more = {"epoch": epoch} if epoch is not None else {}
        run.log({**more, **at_step[step]}, step=step)
