"""A TensorBoard profile of some training steps, and where their time goes.

`--profile=STEPS` writes the profile beside the run's events (train/plugins/profile; TensorBoard
shows it with tensorboard-plugin-profile) and, of what TensorFlow traced, profile.json
(`replicate.contracts.runs.ProfileFile`).
"""

import collections
import pathlib
import re
import time
from typing import TYPE_CHECKING

import tensorflow as tf

from replicate.run import write_json
from replicate.train.journal import say

if TYPE_CHECKING:
    from replicate.run import RunDir

SHOWN, KEPT = 5, 30
# TensorFlow's executor names what it traces "where/in/the/model/Conv2D:Conv2D".
_OPERATION = re.compile(r"^[^:]+:(\w+)(?:#.*)?$")


class Profile:
    """Profiles `steps` steps, from the first call of `after` on.

    Args:
      run: RunDir.
      steps: how many; 0 profiles none.
    """

    def __init__(self, run: "RunDir", steps: int) -> None:
        self._run, self._steps = run, steps
        self._first: int | None = None
        self._done = steps == 0

    @property
    def end(self) -> int | None:
        """The step after which it is to be told (`after`), or None where it does not run."""
        return None if self._done or self._first is None else self._first + self._steps

    def after(self, step: int) -> None:
        """Begins or ends with this step. The first call should come when the first is traced."""
        if self._done:
            return
        if self._first is None:
            self._first, self._begun = step, time.monotonic()
            tf.profiler.experimental.start(str(self._run.events))
        elif step >= self._first + self._steps:
            self.close(step)

    def close(self, step: int | None = None) -> None:
        """Ends it; without a step, because training ends before it had all."""
        if self._done or self._first is None:
            return
        self._done = True
        seconds = time.monotonic() - self._begun
        tf.profiler.experimental.stop()
        if step is None:
            return
        by_seconds = operations(self._run.events)
        described = {
            "first_step": self._first + 1,
            "steps": step - self._first,
            "seconds": seconds,
            "operations": by_seconds[:KEPT],
        }
        write_json(self._run.profile, described)
        longest = ", ".join(
            f"{operation['operation']} {operation['share']:.0%} ({operation['device']})"
            for operation in by_seconds[:SHOWN]
        )
        say(
            f"profiled steps {self._first + 1} to {step}: {seconds / (step - self._first):.3f} s a "
            f"step; longest: {longest or 'nothing was traced'}. Whole: profile.json, TensorBoard"
        )


def operations(folder: pathlib.Path) -> list[dict]:
    """The seconds by device and type of operation in the last profile below `folder`."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    paths = sorted(pathlib.Path(folder).glob("plugins/profile/*/*.xplane.pb"))
    if not paths:
        return []
    space = xplane_pb2.XSpace.FromString(paths[-1].read_bytes())
    rows: list[dict] = []
    for plane in space.planes:
        picoseconds: collections.Counter[str] = collections.Counter()
        on_host = plane.name.startswith("/host:CPU")
        if not on_host and not plane.name.startswith("/device:"):
            continue
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                match = _OPERATION.match(name)
                if match:
                    picoseconds[match[1]] += event.duration_ps
                elif not on_host and line.name.startswith("Stream"):
                    picoseconds[name[:80]] += event.duration_ps
        total = sum(picoseconds.values())
        rows += [
            {
                "device": plane.name.strip("/"),
                "operation": name,
                "seconds": spent / 1e12,
                "share": spent / total,
            }
            for name, spent in picoseconds.items()
            if total
        ]
    return sorted(rows, key=lambda operation: -operation["seconds"])
