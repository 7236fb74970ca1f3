"""Runs on this machine, one after another, here or in the background."""

import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys
import time
import types
from typing import Self

from replicate import devices, processes
from replicate.errors import UserError
from replicate.launch import status
from replicate.launch.plan import Plan, clock, launched
from replicate.run import RunDir


def run(plan: Plan, gpus: int | None = None) -> int:
    """Runs a plan to its end; a signal that comes is passed on to the run, which saves and stops.

    Args:
      plan: Plan. After its time limit a run is stopped as by SIGTERM.
      gpus: how many of this machine's GPUs to use; None all, 0 none.

    Returns:
      the exit status of the first run that failed or was stopped, else the largest one.

    Raises:
      UserError: a run of the plan is running already; there are not so many GPUs.
    """
    environment = _environment(gpus)
    _refuse_second(plan)
    notes = {"launched": time.time(), "pid": os.getpid(), "host": platform.node()}
    notes |= _own_record(plan)
    for run in plan.runs:
        plan.record(run, "local", **notes, waits=True)
    worst = 0
    for index, run in enumerate(plan.runs):
        plan.record(run, "local", **notes)
        code = _run(plan.command(run), plan, environment)
        plan.record(run, "local", **notes, exit=code)
        answered = code in (0, 1, 3) and RunDir.at(run.directory).verdict.is_file()
        if not answered:
            for other in plan.runs[index + 1 :]:
                why = f"{run.directory.name} before it ended with status {code}"
                plan.record(other, "local", **notes, skipped=why)
            return code
        worst = max(worst, code)
    return worst


def described(plan: Plan, gpus: int | None = None, background: bool = False) -> str:
    """What `run` would do, as lines of a shell that do the same; nothing is written or started.

    Args:
      plan, gpus: as for `run`.
      background: whether `start_background` would.

    Raises:
      UserError: as `run`.
    """
    environment = _environment(gpus)
    _refuse_second(plan)
    prefix, said = "", []
    if gpus is not None:
        devices_of_run = environment["CUDA_VISIBLE_DEVICES"]
        prefix = f"CUDA_VISIBLE_DEVICES={devices_of_run} "
        said.append(f"GPUs: {gpus or 'none'} of this machine's (CUDA_VISIBLE_DEVICES)")
    else:
        shown = environment.get("CUDA_VISIBLE_DEVICES")
        named = "all that this process may use" + (
            "" if shown is None else f" (CUDA_VISIBLE_DEVICES={shown})"
        )
        said.append(f"GPUs: {named}")
    if plan.time_limit_s:
        prefix += f"timeout --signal=TERM {plan.time_limit_s} "
        said.append(f"time limit of each start: {clock(plan.time_limit_s)}, then SIGTERM")
    said.append(f"working directory: {plan.working_directory}")
    log = plan.folder / "log.txt"
    said.append(
        f"in the background, in a session of its own; log: {log}"
        if background
        else "in this terminal"
    )
    if len(plan.runs) > 1:
        said.append("one after another; an error ends the row, a verdict does not")
    commands = [prefix + shlex.join(plan.command(run)) for run in plan.runs]
    return "\n".join([*(f"# {line}" for line in said), *commands])


def start_background(
    plan: Plan, command: list[str], gpus: int | None = None
) -> tuple[int, pathlib.Path]:
    """Starts `command`, which runs the plan, in a session of its own that survives this shell.

    Args:
      plan: Plan.
      command: list; a command line that calls `run` with this plan.
      gpus: as for `run`, checked here already.

    Returns:
      (process id, path of its log).

    Raises:
      UserError: as `run`.
    """
    _environment(gpus)
    _refuse_second(plan)
    plan.folder.mkdir(parents=True, exist_ok=True)
    log = plan.folder / "log.txt"
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command,
            cwd=plan.working_directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    for run in plan.runs:
        plan.record(run, "local", pid=process.pid, host=platform.node(), log=str(log), waits=True)
    return process.pid, log


def _run(command: list[str], plan: Plan, environment: dict[str, str]) -> int:
    """The exit status, 128 + the signal's number for one that a signal ended."""
    with _Forwarding() as forwarding:
        process = subprocess.Popen(
            command, cwd=plan.working_directory, env=environment, process_group=0
        )
        forwarding.to(process)
        try:
            code = process.wait(plan.time_limit_s)
        except subprocess.TimeoutExpired:
            print("the time limit is reached; stopping the run", file=sys.stderr)
            process.terminate()
            code = process.wait()
    return code if code >= 0 else 128 - code


class _Forwarding:
    """Inside, signals that ask to stop go to a process, even those that came before it."""

    def __enter__(self) -> Self:
        self._process: subprocess.Popen | None = None
        self._early: list[int] = []
        self._before = {
            number: signal.signal(number, self._pass_on) for number in processes.STOP_SIGNALS
        }
        return self

    def to(self, process: subprocess.Popen) -> None:
        self._process = process
        for number in self._early:
            self._pass_on(number, None)

    def _pass_on(self, number: int, frame: types.FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _refuse_second(plan: Plan) -> None:
    if not _own_record(plan):
        for run in plan.runs:
            status.refuse_if_active(run.directory)


def _own_record(plan: Plan) -> dict:
    """What `start_background` noted of this very process, without the target; or {}."""
    record = launched(plan.runs[0].directory)
    if record.pop("target", "") == "local" and record.get("pid") == os.getpid():
        record.pop("waits", None)
        return record
    return {}


def _environment(gpus: int | None) -> dict[str, str]:
    """This process's variables, with the first `gpus` of the GPUs it may use."""
    if gpus is None:
        return dict(os.environ)
    visible = devices.visible(devices.gpus())
    if gpus > len(visible):
        raise UserError(
            f"--gpus={gpus}, and this process may use {len(visible)} of this machine's GPUs "
            f"({', '.join(gpu.name for gpu in visible) or 'none'}); tools/doctor.py says why one "
            "may be missing"
        )
    return os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(g.uuid for g in visible[:gpus]) or "-1"}
