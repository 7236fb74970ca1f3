"""Signals that ask a run to stop: remembered until the state can be saved."""

import signal
import sys


class StopSignals:
    """Inside, SIGTERM, SIGINT and SIGUSR1 are remembered; a second SIGINT stops at once.

    Attributes:
      signal: the number of the one that came, or None.
    """

    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self):
        self.signal = None

    def __enter__(self):
        self._before = {number: signal.signal(number, self._remember) for number in self.NUMBERS}
        return self

    def _remember(self, number, frame):
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number
        name = signal.Signals(number).name
        print(f"\n{name}: saving a checkpoint after this step, then stopping", file=sys.stderr)

    def __exit__(self, *exc_info):
        for number, handler in self._before.items():
            signal.signal(number, handler)
