"""A run's process: whether it still lives, and the signals that ask it to save and stop."""

import contextlib
import signal
import sys
import types
from collections.abc import Iterator
from typing import Self

import psutil

from replicate.errors import Interrupted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def lives(pid: int, known_at: float) -> bool:
    """Whether process `pid` runs, is no zombie and is the one that was known at a time.

    Args:
      pid: on this machine.
      known_at: seconds since 1970 at which it was seen; one that began later took its id.
    """
    try:
        process = psutil.Process(pid)
        return process.create_time() <= known_at + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class StopSignals:
    """Inside, SIGTERM, SIGINT and SIGUSR1 are remembered; a second SIGINT stops at once.

    Attributes:
      signal: the number of the one that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._at: int | None = None

    @contextlib.contextmanager
    def at_once(self, step: int) -> Iterator[None]:
        """Inside, such a signal leaves the block as an Interrupted: `step` is saved already."""
        self._at = step
        try:
            yield
        finally:
            self._at = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._remember) for number in STOP_SIGNALS}
        return self

    def _remember(self, number: int, frame: types.FrameType | None) -> None:
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number
        name = signal.Signals(number).name
        if self._at is not None:
            step, self._at = self._at, None
            print(f"\n{name}: stopping, the checkpoint of step {step} is saved", file=sys.stderr)
            raise Interrupted(number, step)
        print(f"\n{name}: saving a checkpoint after this step, then stopping", file=sys.stderr)

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
