"""A line that shows which stage of an export runs, and for how long."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Self


class Stages:
    """Stages of unknown length, one after the other.

    Args:
      names: of all stages, in their order.
      show: whether to draw anything.
    """

    def __init__(self, names: list[str], show: bool = True) -> None:
        from tqdm import tqdm  # a tool sets how often it draws before this is imported

        self._bar = tqdm(
            total=len(names),
            desc="export",
            unit="stage",
            disable=not show,
            bar_format="{desc}: {n_fmt}/{total_fmt} {bar:12} {elapsed}{postfix}",
        )
        self._names = iter(names)
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        self._clock.join()
        self._bar.close()

    @contextlib.contextmanager
    def next(self) -> Iterator[None]:
        """One stage."""
        self._bar.set_postfix_str(next(self._names))
        yield
        self._bar.update()

    def _tick(self) -> None:
        # Converters hold no lock for long, so the time goes on while they work.
        while not self._ended.wait(self._bar.mininterval if not self._bar.disable else 1):
            self._bar.refresh()
