"""Text that came out of a file, made fit for a terminal or a page: controls are shown, not obeyed.

A category may be named "dog\\x1b[2J" and an image "a\\0b.jpg"; who reads of them shall see that.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

# C0 and C1 controls but tab and line feed, what turns the direction of writing, half a surrogate.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL = re.compile(f"[{_CONTROLS}]")
# What progress bars and the kit's own colours send: the start of the line, a line up, a colour.
_BAR = re.compile(f"\r|\x1b\\[A|([{_CONTROLS}])")
_BAR_AND_COLOUR = re.compile(f"\r|\x1b\\[A|\x1b\\[[0-9;]*m|([{_CONTROLS}])")


def plain(text: Any) -> str:
    """`text` with control characters written as Python writes them, such as \\x1b."""
    return _CONTROL.sub(lambda match: _name(match.group()), str(text))


class Shown:
    """A text stream whose reader is shown control characters that come with the text.

    Progress bars pass; colours pass where the stream is a terminal. A reader that goes (`| head`)
    ends the reading and not the work: what comes after is written nowhere.

    Args:
      stream: the stream to write to; everything but writing is its own.
      change: function of every text that is written, before that.

    Attributes:
      unread: whether the reader has gone.
    """

    unread = False

    def __init__(self, stream: IO[str], change: Callable[[str], str] = str) -> None:
        self._stream, self._change = stream, change
        self._passing = _BAR_AND_COLOUR if stream.isatty() else _BAR

    def write(self, text: str) -> int:
        with self._whoever_reads():
            self._stream.write(self._passing.sub(_unless_passing, self._change(text)))
        return len(text)

    def flush(self) -> None:
        with self._whoever_reads():
            self._stream.flush()

    @contextlib.contextmanager
    def _whoever_reads(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self.unread = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what the buffer still holds goes there too
            os.close(nowhere)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _unless_passing(match: re.Match[str]) -> str:
    return _name(match.group()) if match.group(1) else match.group()


def _name(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
