"""Results of parity's runs, kept in files and taken again while nothing they depend on changed."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterable

from replicate.parity import compare, native
from replicate.run import write_json

#: What a kept result depends on: the code of every run, that of the layer, with the versions it is
#: for, and that of the kit's loader.
RUNS = ("parity/fixed.py", "parity/runs.py", "parity/requirements-native.txt")
LAYER = ("odapi/__init__.py", "odapi/protos.py", "odapi/shims.py")
ENGINE = ("tensorflow", "tf-keras", "numpy", "tf-models-official")
LOADER = ("evaluate/detector.py", "evaluate/suppression.py", "train/checkpoints.py")
COMPARISON = ("parity/compare.py",)


def measured(
    config_path: pathlib.Path,
    prefixes: Collection[pathlib.Path],
    measure: Callable[[], list[compare.Difference]],
    keep_arrays: bool = False,
) -> list[compare.Difference]:
    """The `Difference`s that `measure()` gives, kept in a file beside the config; those of an
    earlier call where nothing that they depend on has changed since.

    Args:
      config_path: what is measured.
      prefixes: of the files that its runs leave.
      measure: makes the runs that are missing and compares them.
      keep_arrays: leave each run's arrays and checkpoints there.
    """
    digest = hashlib.sha256("".join(map(str, prefixes)).encode() + _bytes(COMPARISON)).hexdigest()
    kept_path = config_path.with_suffix(".measured.json")
    if kept_path.exists():
        earlier = json.loads(kept_path.read_text(encoding="utf-8"))
        if earlier["digest"] == digest:
            return [compare.Difference(**row) for row in earlier["rows"]]
    _remove_others(config_path, prefixes)
    rows = measure()
    write_json(kept_path, {"digest": digest, "rows": [dataclasses.asdict(row) for row in rows]})
    if not keep_arrays:
        _remove_others(config_path, ())
    return rows


def _remove_others(config_path: pathlib.Path, prefixes: Iterable[pathlib.Path]) -> None:
    """Removes what runs have left, but for files with these prefixes."""
    for path in config_path.parent.glob(f"{config_path.stem}.*.????????*"):
        if not any(str(path).startswith(str(prefix)) for prefix in prefixes):
            path.unlink()


def prefix(config_path: pathlib.Path, run_name: str, *sources: str) -> pathlib.Path:
    """What the names of a run's files begin with; it tells what the run depends on."""
    versions = [importlib.metadata.version(package) for package in ENGINE] if sources else []
    digest = hashlib.sha256(config_path.read_bytes() + _bytes((*RUNS, *sources)))
    digest.update(repr(versions).encode())
    return config_path.with_suffix(f".{run_name}.{digest.hexdigest()[:8]}")


def _bytes(sources: Iterable[str]) -> bytes:
    return b"".join((native.PACKAGES / "replicate" / source).read_bytes() for source in sources)


def run(
    output: str | os.PathLike[str],
    job: dict,
    interpreter: str | os.PathLike[str],
    onednn: bool = True,
    threads: int | None = None,
) -> None:
    """Runs a job that writes the file `output`, unless an interrupted call has it already."""
    output = pathlib.Path(output)
    if output.exists():
        return
    partial = output.with_name(f"partial-{output.name}")
    job_path = output.with_suffix(".json")
    write_json(job_path, {**job, "output": str(partial)})
    native.run(interpreter, job_path, onednn, threads)
    partial.replace(output)
