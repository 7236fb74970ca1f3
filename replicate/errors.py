"""The errors that tools tell in one message, from any room of `replicate`."""

import signal

from tfrecords.errors import UserError

__all__ = ["Interrupted", "Unavailable", "UserError"]


class Interrupted(Exception):
    """A signal asked a run to stop; its state is saved and the same command continues it.

    Attributes:
      signal: the signal's number; the tools exit with 128 + signal, as shells do.
      step: the step of the checkpoint that was saved.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"{signal.Signals(number).name}: stopped, checkpoint of step {step} saved")
        self.signal, self.step = number, step


class Unavailable(Exception):
    """Something outside this process failed; the same command, given again, may succeed.

    The tools print it and exit with TRY_AGAIN, sysexits.h's EX_TEMPFAIL.
    """

    TRY_AGAIN = 75
