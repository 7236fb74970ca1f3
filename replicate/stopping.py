"""Signals that ask a tool to stop, from its first line to its last.

    __import__("replicate.stopping")

is a tool's first import: until its work begins (`at_work`), such a signal ends it at once with one
message, as nothing has been done. At work it is an exception, so that what is temporary goes. Such
an exception is lost where Python has nobody to hand it to (`__del__`, callbacks of weak references)
or where a library catches everything; the signal is then sent again until it has arrived.

What it needs at work is imported then: until `while_loading` has run, Ctrl-C is Python's traceback.
"""

import os
import sys

TYPE_CHECKING = False  # typing's own, and enum behind `signal`, take longer than all the rest
if TYPE_CHECKING:
    import signal as _signal
    import types
    from typing import NoReturn
else:
    import _signal  # what `signal` wraps

_STOPS = {
    int(_signal.SIGINT): "interrupted",
    int(_signal.SIGTERM): "SIGTERM",
    int(_signal.SIGUSR1): "SIGUSR1",
}
_AGAIN_S = 0.1  # until a lost one is sent again: the callback that lost it has ended by then

_asked: int | None = None
_ended = False


def while_loading() -> None:
    """Until `at_work`, a signal to stop ends the process with one message, status 128 + N."""
    _leave_at("before it began; nothing was changed")


def at_work() -> None:
    """From here on a signal to stop leaves the main thread's work as an exception."""
    import threading  # noqa: F401 (ready for a signal that is lost)

    hook = sys.unraisablehook

    def quiet(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, _Asked):
            hook(unraisable)

    sys.unraisablehook = quiet
    for number in _STOPS:
        _signal.signal(number, _stop)


def at_end() -> None:
    """From here on such a signal ends the process at once; none is sent again."""
    global _ended
    _ended = True
    _leave_at("at its end; the same command looks whether anything is left to do")


def _leave_at(moment: str) -> None:
    def leave(number: int, frame: "types.FrameType | None") -> "NoReturn":
        tool = os.path.basename(sys.argv[0])
        os.write(2, f"\n{tool}: {_STOPS[number]} {moment}\n".encode())
        os._exit(128 + number)  # no exception: half-imported modules would make others of it

    for number in _STOPS:
        _signal.signal(number, leave)


def asked() -> int | None:
    """The number of the last signal that asked to stop while the tool was at work, or None."""
    return _asked


class _Asked(BaseException):
    """A stop that knows when it was lost: it is gone before the work has ended."""

    def __del__(self) -> None:
        if not _ended:
            import threading

            again = threading.Timer(_AGAIN_S, _send_again)
            again.daemon = True
            again.start()


class _Interrupt(_Asked, KeyboardInterrupt):
    pass


class _Exit(_Asked, SystemExit):
    pass


def _stop(number: int, frame: "types.FrameType | None") -> "NoReturn":
    global _asked
    _asked = number
    raise _Interrupt if number == _signal.SIGINT else _Exit(128 + number)


def _send_again() -> None:
    if not _ended and _asked is not None:
        os.kill(os.getpid(), _asked)


if os.path.basename(os.path.dirname(getattr(sys.modules["__main__"], "__file__", ""))) == "tools":
    while_loading()
