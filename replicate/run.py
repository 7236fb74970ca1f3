"""The run directory: where each file of a run lies, and how it gets there whole.

    runs/<name>/
      spec.json  pipeline.config  deviations.json  environment.json
      data/  checkpoints/  train/  metrics.jsonl  evals/<step>/  verdict.json  report/

A file appears under its final name only when it is complete.
"""

import contextlib
import dataclasses
import gzip
import json
import os
import pathlib
import sys
import zlib
from collections.abc import Iterator
from typing import Any, Self

from replicate import contracts
from replicate.errors import UserError
from tfrecords import checked_json, json_text, locks, redaction, whole_files
from tfrecords.whole_files import written_whole


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths of one run. Nothing is created until something is written."""

    root: pathlib.Path

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Self:
        """The run directory `path`; it need not exist yet."""
        return cls(pathlib.Path(path))

    @classmethod
    def existing(cls, path: str | os.PathLike[str]) -> Self:
        """The run directory `path`, which must hold a run; its pipeline.config does as well.

        Raises:
          UserError: there is no spec.json in it.
        """
        path = pathlib.Path(path)
        of_run = path.name == "pipeline.config" and (path.parent / "spec.json").is_file()
        run = cls.at(path.parent if of_run else path)
        if not run.spec.is_file():
            why = "no spec.json in it" if run.root.is_dir() else "no such folder"
            why = "a file" if run.root.is_file() else why
            raise UserError(
                f"{path}: not a run directory ({why}); "
                "tools/replicate.py and tools/train.py make one. A model without its training is "
                "scored by tools/evaluate.py --checkpoint and tools/benchmark.py"
            )
        return run

    @property
    def spec(self) -> pathlib.Path:
        return self.root / "spec.json"

    @property
    def pipeline_config(self) -> pathlib.Path:
        return self.root / "pipeline.config"

    @property
    def config(self) -> pathlib.Path:
        """The config that is trained: pipeline.config, or params.yaml of a TF-Vision run."""
        params = self.root / "params.yaml"
        return params if params.is_file() else self.pipeline_config

    @property
    def annotations(self) -> pathlib.Path:
        """What is kept of the annotation files; see `replicate.annotations`."""
        return self.root / "annotations.json"

    @property
    def deviations(self) -> pathlib.Path:
        return self.root / "deviations.json"

    @property
    def environment(self) -> pathlib.Path:
        return self.root / "environment.json"

    @property
    def preflight(self) -> pathlib.Path:
        """What preflight said at the launch, and what --force overrode."""
        return self.root / "preflight.json"

    @property
    def data(self) -> pathlib.Path:
        return self.root / "data"

    @property
    def checkpoints(self) -> pathlib.Path:
        return self.root / "checkpoints"

    @property
    def best(self) -> pathlib.Path:
        """The best checkpoint by a metric, where one is kept; see `replicate.best`."""
        return self.root / "best"

    @property
    def best_record(self) -> pathlib.Path:
        return self.best / "best.json"

    @property
    def early_stop(self) -> pathlib.Path:
        """There once the training is to end before its last step; see `replicate.best`."""
        return self.root / "early_stop.json"

    @property
    def events(self) -> pathlib.Path:
        return self.root / "train"

    @property
    def eval_events(self) -> pathlib.Path:
        """Where the API puts the TensorBoard events of its evaluations."""
        return self.root / "eval"

    @property
    def start(self) -> pathlib.Path:
        """The weights that the training began with; see `train.starting_point`."""
        return self.root / "start.json"

    @property
    def profile(self) -> pathlib.Path:
        return self.root / "profile.json"

    @property
    def training(self) -> pathlib.Path:
        """The state of its training, kept up to date while it runs; see `train.journal`."""
        return self.root / "training.json"

    @property
    def identity(self) -> pathlib.Path:
        """What makes it the same run when it is continued; see `replicate.identity`."""
        return self.root / "identity.json"

    @property
    def launch(self) -> pathlib.Path:
        """Where and how it was launched: launch.json, log, script; see `replicate.launch`."""
        return self.root / "launch"

    @property
    def metrics(self) -> pathlib.Path:
        return self.root / "metrics.jsonl"

    @property
    def evals(self) -> pathlib.Path:
        return self.root / "evals"

    @property
    def verdict(self) -> pathlib.Path:
        return self.root / "verdict.json"

    @property
    def report(self) -> pathlib.Path:
        return self.root / "report"

    def writing(self, *, wait: bool = False) -> contextlib.AbstractContextManager[None]:
        """The lock of who trains or replicates here, a context manager; see `tfrecords.locks`."""
        return self._held("", "the run", wait)

    def evaluating(self, *, wait: bool = False) -> contextlib.AbstractContextManager[None]:
        """The lock of who evaluates here, beside a training or not."""
        return self._held("evals", "its evaluation", wait)

    @contextlib.contextmanager
    def _held(self, folder: str, what: str, wait: bool) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(locks.held(f"{self.root / folder}{os.sep}", what, wait=wait))
            whole_files.clean(self.root / folder, deep=True)
            yield

    def eval_at(self, step: int) -> pathlib.Path:
        """The folder of the evaluation of the checkpoint of `step`."""
        return self.evals / str(step)

    def scores_at(self, step: int) -> list[dict]:
        """The scores of the checkpoint of `step` as `score.Result.to_json` gives them: that of
        boxes, then those of masks or keypoints, where the model and the annotations have them."""
        metrics = read_json(self.eval_at(step) / "metrics.json")
        return [metrics, *metrics.get("others", [])]

    def evaluated_steps(self) -> list[int]:
        """Steps with a complete evaluation (detections and metrics), ascending."""
        if not self.evals.is_dir():
            return []
        return sorted(
            int(folder.name)
            for folder in self.evals.iterdir()
            if folder.name.isdigit()
            and (folder / "metrics.json").is_file()
            and (folder / "detections.json.gz").is_file()
        )

    def unfinished_steps(self) -> list[int]:
        """Steps of an evaluation that lies there incomplete: in progress, stopped or damaged."""
        if not self.evals.is_dir():
            return []
        steps = {int(folder.name) for folder in self.evals.iterdir() if folder.name.isdigit()}
        return sorted(steps - set(self.evaluated_steps()))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to `path` atomically."""
    with written_whole(path) as stream:
        stream.write(text)


def write_json(
    path: str | os.PathLike[str],
    value: Any,
    *,
    kind: str | None = None,
    checksum: bool | None = None,
) -> None:
    """Writes `value` as JSON to `path` atomically; `.gz` at the end of the name compresses it.

    A compressed file holds no time and no name, so the same value gives the same bytes.

    Args:
      path: of the file.
      value: what it shall hold; in the kit's own files, without what lets someone in.
      kind: which of the kit's files it is, see `contracts`: it then names its version. None goes by
        the name ("verdict.json").
      checksum: whether it ends with one (see `tfrecords.checked_json`), by which `read_json` finds
        a damage; None for the objects among the kit's own files.
    """
    path = pathlib.Path(path)
    if path.name.endswith(".gz"):
        text = json.dumps(value, separators=(",", ":"))
        with (
            written_whole(path, "wb") as stream,
            gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed,
        ):
            packed.write(text.encode())
        return
    kind = kind or contracts.kind_of_name(path)
    if checksum is None:
        checksum = kind is not None and isinstance(value, dict)
    if kind is not None:
        value = redaction.everywhere(value)
        value = (contracts.sealed if checksum else contracts.checked)(kind, value)
    elif checksum:
        value = checked_json.sealed(value)
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: str | os.PathLike[str], *, kind: str | None = None) -> Any:
    """The value of a JSON file (or `.json.gz`), one of the kit's own held against its contract.

    Args:
      path: of the file.
      kind: which of the kit's files it is, where neither its name nor its version tells.

    Raises:
      UserError: the file is missing, is not JSON, not what was written, or of another shape.
    """
    path = pathlib.Path(path)
    try:
        content = path.read_bytes()
        if path.name.endswith(".gz") or content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        value = checked_json.loads(json_text.utf8(content).decode())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except checked_json.Changed as error:
        raise UserError(f"{path}: not what was written: {error}. {_again(path)}") from None
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: not readable as JSON ({error}). {_again(path)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        return contracts.opened(value, path, kind)
    except contracts.Unlike as error:
        again = _again(path)
        raise UserError(f"{path}: not what the kit writes there ({error}). {again}") from None


def read_json_or_none(path: str | os.PathLike[str], *, kind: str | None = None) -> Any:
    """As `read_json`, for what can be done without: None where the file is missing or damaged.

    A damaged one is told, once, on stderr.
    """
    try:
        return read_json(path, kind=kind)
    except UserError as error:
        if os.path.lexists(path) and str(path) not in _told:
            _told.add(str(path))
            print(f"{error}. Until then this goes on without it", file=sys.stderr)
        return None


_told: set[str] = set()
_OF_NO_RUN = (None, "claim", "export", "ladder", "manifest")


def _again(path: pathlib.Path) -> str:
    """How a file comes back."""
    if contracts.kind_of_name(path) in _OF_NO_RUN:
        return "Restore it, or make it anew"
    if path.name == "spec.json":
        return "Restore it from a copy; what was asked for stands nowhere else"
    if path.name == "metrics.json" and path.parent.parent.name == "evals":
        root = path.parent.parent.parent
        return (
            "Restore it from a copy, or evaluate again where the checkpoint still is: python "
            f"tools/evaluate.py --model_dir={root}"
        )
    if path.name == "verdict.json" and (path.parent / "spec.json").is_file():
        again = f"python tools/verdict.py {path.parent} --output={path}"
        return f"Restore it from a copy, or judge the run again: {again}"
    if path.name == "annotations.json":
        return "Remove it; it is made again when the run is continued"
    return "Restore it from a copy, or remove it and give the run's command again"


def read_metrics(path: str | os.PathLike[str]) -> list[dict]:
    """The logged steps of metrics.jsonl, oldest first.

    A line that is damaged, such as a last one that a kill cut off, is left out and told.

    Returns:
      list of dicts with at least `step`; empty where there is no file.
    """
    entries, damaged = read_log(path)
    if damaged:
        print(f"{path}: {damaged}", file=sys.stderr)
    return entries


def read_log(path: str | os.PathLike[str]) -> tuple[list[dict], str]:
    """(`read_metrics`, which lines are damaged and left out, in words)."""
    path = pathlib.Path(path)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    entries, damaged = [], []
    for number, line in enumerate(lines, start=1):
        try:
            entry = checked_json.loads(line)
        except ValueError:
            entry = None
        if entry is None or contracts.fault("log_line", entry):
            damaged.append(number)
        else:
            entries.append(entry)
    shown = ", ".join(map(str, damaged[:5])) + (", …" if len(damaged) > 5 else "")
    return entries, f"line {shown} is damaged and left out" if damaged else ""


def metrics_line(entry: dict) -> str:
    """A logged step as a line of metrics.jsonl."""
    return json.dumps(contracts.sealed("log_line", entry)) + "\n"
