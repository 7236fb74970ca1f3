"""What is launched, whatever it is launched on: one run, or one for each of several seeds."""

import dataclasses
import os
import pathlib
import re
import sys
import time
from collections.abc import Iterable
from typing import Any, Self

from replicate import installation
from replicate.errors import UserError
from replicate.run import RunDir, read_json, write_json
from tfrecords import redaction

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a plan: its seed (None: the tool's own), its directory, and its records."""

    directory: pathlib.Path
    seed: int | None

    @property
    def record(self) -> pathlib.Path:
        """The file that says where this run was launched."""
        return RunDir.at(self.directory).launch / "launch.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run of tools/replicate.py, or one for each of several seeds.

    Attributes:
      directory: the run directory, absolute; with several seeds, the folder of their run
        directories (`seed0`, `seed1`, …).
      arguments: the tool's arguments without --run_dir, and without --seed where `seeds` is given.
      seeds: () for one run with the arguments' own seed.
      name: the job's name.
      time_limit_s: seconds a start may take, or None.
      working_directory: relative paths in the arguments start here.
      python, tool: what runs them.
    """

    directory: pathlib.Path
    arguments: tuple[str, ...]
    seeds: tuple[int, ...] = ()
    name: str = ""
    time_limit_s: int | None = None
    working_directory: str = dataclasses.field(default_factory=os.getcwd)
    python: str = sys.executable
    tool: str = str(installation.TOOLS / "replicate.py")

    @classmethod
    def of(
        cls,
        directory: str | os.PathLike[str],
        arguments: Iterable[str],
        name: str = "",
        **fields: Any,
    ) -> Self:
        """A plan with an absolute directory, named like it where it has no name."""
        directory = pathlib.Path(os.path.abspath(directory))
        name = name or directory.name
        for what, text in (("--name", name), ("--run_dir", str(directory))):
            if re.search(r"[\x00-\x1f\x7f]", text):
                raise UserError(
                    f"{what}={text!r}: line breaks and control characters have no place"
                )
        return cls(directory, tuple(arguments), name=name, **fields)

    @property
    def folder(self) -> pathlib.Path:
        """Where the launch's own files go: script, log."""
        return RunDir.at(self.directory).launch

    @property
    def runs(self) -> list[PlannedRun]:
        """The Runs of the plan."""
        if not self.seeds:
            return [PlannedRun(self.directory, None)]
        return [PlannedRun(self.directory / f"seed{seed}", seed) for seed in self.seeds]

    def command(self, run: PlannedRun) -> list[str]:
        """The command line of one run, as a list."""
        own = [] if run.seed is None else [f"--seed={run.seed}"]
        python = [self.python, *installation.PYTHON_OPTIONS]
        return [*python, self.tool, *self.arguments, *own, f"--run_dir={run.directory}"]

    def check_may_be_written(self, where: str, lines: Iterable[str]) -> None:
        """Raises UserError where what would stand in a file holds what lets someone in.

        Args:
          where: the file, in words.
          lines: what it would hold beside the run's arguments.
        """
        for argument in (*self.arguments, *lines):
            if redaction.without_secrets(argument) != argument:
                raise UserError(
                    f"{redaction.without_secrets(argument)}: a password or token would stand in "
                    f"{where}, and without it the run could not start. Give the value where the "
                    "run finds it itself: a credentials file, a mount, a signed-in machine, a "
                    "variable of this shell (--export=NAME)"
                )

    def record(self, run: PlannedRun, target: str, **what: Any) -> None:
        """Notes in the run directory where the run was launched, for `status`."""
        write_json(run.record, {"target": target, "launched": time.time()} | what)


def launched(directory: str | os.PathLike[str]) -> dict:
    """Where the run in `directory` was launched, as launch.json holds it; {} where it was not."""
    record = PlannedRun(pathlib.Path(directory), None).record
    return read_json(record) if record.is_file() else {}


def parse_duration(text: str) -> int:
    """Seconds of "36h", "90m", "2d", "1d12h", or of Slurm's "HH:MM:SS" and "D-HH:MM:SS".

    Raises:
      UserError: another text, or no time at all.
    """
    units = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text)
    match = units or clock
    parts = match.groups(default="0") if match else ("0",) * 4
    seconds = sum(int(part) * scale for part, scale in zip(parts, _UNITS.values(), strict=True))
    if not seconds:
        raise UserError(f"{text!r} is no time: write 36h, 90m, 1d12h, 24:00:00 or 1-12:00:00")
    return seconds


def clock(seconds: float) -> str:
    """Seconds as Slurm writes them: D-HH:MM:SS, or HH:MM:SS below a day."""
    days, rest = divmod(int(seconds), 86400)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text
