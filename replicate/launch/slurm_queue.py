"""What Slurm says of jobs: asked of its own commands."""

import dataclasses
import datetime
import shutil
import subprocess
from collections.abc import Container

from replicate.errors import UserError


@dataclasses.dataclass(frozen=True)
class Job:
    """What Slurm says of a job: its state ("PENDING"), why, and when it last started.

    `started` is in seconds since 1970, or None where it waits.
    """

    state: str
    reason: str
    started: float | None


def read(jobs: Container[str]) -> dict[str, Job] | None:
    """What Slurm says of jobs that it has not forgotten.

    Args:
      jobs: job ids ("12", "13_0").

    Returns:
      {job id: Job}; a job that ended a while ago is left out. None where there is no Slurm to ask.
    """
    if not jobs:
        return {}
    if not shutil.which("squeue"):
        return None
    try:
        # Asked for by number, a job that is forgotten would be an error for all of them.
        answer = ask(
            *("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%S|%r")
        )
    except UserError:
        return None
    fields = (line.split("|", 3) for line in answer.splitlines())
    return {
        job: Job(state, reason, _started(state, start))
        for job, state, start, reason in fields
        if job in jobs
    }


def _started(state: str, text: str) -> float | None:
    """For a job that waits, squeue tells when it may start."""
    if state == "PENDING" or not text[:1].isdigit():
        return None
    return datetime.datetime.fromisoformat(text).timestamp()


def ask(*command: str) -> str:
    """The answer of one of Slurm's commands.

    Raises:
      UserError: there is no such command here, or it refuses.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError(
            f"{command[0]}: not found; launch on a machine that submits to Slurm, or write the "
            "script with --dry_run"
        ) from None
    if done.returncode:
        raise UserError(f"{command[0]} refuses: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()
