"""The files of a run that are there and cannot be read, each with what to do about it."""

import re
from collections.abc import Iterator
from pathlib import Path

from replicate import engine
from replicate.errors import UserError
from replicate.run import RunDir, read_json
from tfrecords import manifest as manifests


def of_run(run: RunDir) -> list[dict]:
    """The damaged files among those that a run keeps and the kit reads back.

    Detections are looked at where they are scored again (`findings.scored`), the lines of
    metrics.jsonl where they are read.

    Returns:
      list of {"file": path below the run, "why": what is wrong and what to do}.
    """
    return [
        {"file": path.relative_to(run.root).as_posix(), "why": why}
        for path, kind in _files(run)
        if path.is_file() and (why := _wrong(run, path, kind))
    ]


def _files(run: RunDir) -> Iterator[tuple[Path, str | None]]:
    """(path, kind where its name does not tell)."""
    yield run.config, None
    for path in (run.spec, run.deviations, run.environment, run.preflight, run.identity):
        yield path, None
    for path in (run.start, run.training, run.profile, run.best_record, run.early_stop):
        yield path, None
    yield run.launch / "launch.json", None
    yield run.annotations, "annotations"
    for path in manifests.in_folder(run.data).values():
        yield Path(path), None
    for path in sorted(run.evals.glob("*/metrics.json"), key=lambda path: path.parent.name):
        yield path, None
    for path in sorted((run.root / "explain").glob("*.json")):
        yield path, "explain"
    yield run.verdict, None


def _wrong(run: RunDir, path: Path, kind: str | None) -> str | None:
    try:
        if path == run.config:
            engine.of_run(path)
        else:
            read_json(path, kind=kind)
    except UserError as error:
        why = short(error, run).removeprefix(f"{path.relative_to(run.root).as_posix()}: ")
        if path == run.config:
            return f"{why.splitlines()[0]}. Restore it from a copy (preflight.json may hold one)"
        return why
    return None


def short(error: UserError, run: RunDir) -> str:
    """An error's message with the paths of a run as they are below it."""
    root = re.escape(f"{run.root}/")
    return re.sub(rf"(?<![\w./~-]){root}(?=[\w.])", "", str(error))
