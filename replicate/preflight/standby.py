"""The trial's process, kept waiting with its model built and its step traced, to train the run.

    with standby.Standby() as waiting:
        preflight.gate(intent, terms, waiting=waiting)     # tries, and keeps the trial's process
        waiting.train(config, run_dir, seed=1)             # there, where it waits for just this

The trial is a process of its own, because running out of memory ends a process; what it loaded,
built and traced is what the training needs first. Where the launch goes on and the training is to
be executed as the trial was (batch, precision, one machine), that process is given a state as of
its start (a checkpoint of step 0, taken before its steps) and trains; the losses are those of a
process that starts anew, to the last bit. Otherwise, and where nothing was tried, the training
takes place here.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Self

from replicate import engine
from replicate.errors import Interrupted, Unavailable, UserError
from replicate.processes import STOP_SIGNALS
from replicate.run import write_text
from tfrecords.whole_files import in_temporary_folder

_END_S = 30  # how long a process that is not needed may take to end


class Standby:
    """A context in which a trial's process may wait; at its end the process is gone."""

    def __init__(self) -> None:
        self._resources = contextlib.ExitStack()
        self._process: subprocess.Popen | None = None
        self._tried: tuple[str, dict] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._resources.close()
        self._process = None

    def folder(self) -> pathlib.Path:
        """A folder for the trial's files, there as long as the process may need them."""
        return self._resources.enter_context(in_temporary_folder("preflight-"))

    def keep(self, process: subprocess.Popen, config: Any, settings: dict) -> None:
        """Takes a trial's process that waits for its order on its standard input.

        Args:
          process: subprocess.Popen.
          config: the one that was tried, of either engine.
          settings: what its steps depend on, as of `Execution.of_steps`.
        """
        self._resources.callback(_end, process)
        self._process, self._tried = process, (engine.of_step(config), settings)

    def serves(self, config: Any, settings: dict) -> bool:
        """Whether a process waits that has traced just the steps of this training.

        Args:
          config, settings: as of `train`.
        """
        if self._process is None or self._tried is None or self._process.poll() is not None:
            return False
        tried_config, tried = self._tried
        return tried_config == engine.of_step(config) and all(
            settings[name] == value for name, value in tried.items()
        )

    def train(
        self,
        config: Any,
        run_dir: str | os.PathLike[str],
        evaluation: dict[str, Any] | None = None,
        **settings: Any,
    ) -> str:
        """Trains a run as `train.loop.train` does: in the trial's process, or else in this one.

        Args:
          config, run_dir: as of `train.loop.train`.
          evaluation: the arguments of `evaluate.during.between_steps` but run and config, where the
            training's checkpoints are evaluated as they come.
          settings: the fields of `train.loop.TrainingSettings`, all that say how steps are executed
            among them; that class itself is the engine's, which takes seconds to load.

        Returns:
          path (prefix) of the last checkpoint.

        Raises:
          UserError, Interrupted, Unavailable: as `train.loop.train`.
        """
        process = self._process
        if process is None or not self.serves(config, settings):
            self.__exit__()  # it would hold its memory
            return trained(config, run_dir, settings, evaluation)
        self._process = None
        folder = self.folder()
        path = folder / engine.FILES[engine.of(config)]
        write_text(path, engine.text(config))
        order = {
            "config": str(path),
            "run_dir": str(run_dir),
            "settings": settings,
            "evaluation": evaluation,
            "outcome": str(folder / "outcome.json"),
        }
        with _forwarded(process) as forwarded:
            assert process.stdin is not None  # a pipe, as `trial` opened it
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(order) + "\n")
                process.stdin.close()
            status = process.wait()
        if -status in forwarded:  # before there was anything to save
            raise SystemExit(128 - status)
        return _outcome(folder / "outcome.json", status)


def trained(
    config: Any,
    run_dir: str | os.PathLike[str],
    settings: dict[str, Any],
    evaluation: dict[str, Any] | None,
    trainer: Any = None,
) -> str:
    """Trains in this process; arguments as of `Standby.train`, `trainer` as of `loop.train`."""
    from replicate.train import loop

    evaluate = None
    if evaluation is not None:
        from replicate.evaluate import during
        from replicate.run import RunDir

        evaluate = during.between_steps(RunDir.at(run_dir), config, **evaluation)
    chosen = loop.TrainingSettings(**settings)
    return loop.train(config, run_dir, chosen, trainer=trainer, evaluate=evaluate)


def outcome_of(call: Callable[[], Any]) -> dict:
    """What a call came to, as `outcome.json` tells it: its result, or an error that tools tell.

    Args:
      call: function without arguments; other errors than those pass.
    """
    try:
        return {"kind": "result", "arguments": [call()]}
    except UserError as error:
        return {"kind": "UserError", "arguments": [str(error)]}
    except Interrupted as stop:
        return {"kind": "Interrupted", "arguments": [int(stop.signal), stop.step]}
    except Unavailable as error:
        return {"kind": "Unavailable", "arguments": [str(error)]}
    except KeyboardInterrupt:
        return {"kind": "KeyboardInterrupt", "arguments": []}


def _outcome(path: pathlib.Path, status: int) -> Any:
    """The result that the process told, or the exception."""
    if not path.is_file():
        if status < 0:
            raise UserError(
                f"the training's process was ended by {signal.Signals(-status).name}"
                + (" (out of memory?)" if status == -signal.SIGKILL else "")
                + "; the same command continues from the last checkpoint"
            )
        if status == Unavailable.TRY_AGAIN:
            raise Unavailable("the training's process ended, see above")
        raise RuntimeError(f"the training's process ended with status {status}, see above")
    outcome = json.loads(path.read_text(encoding="utf-8"))
    if outcome["kind"] == "result":
        return outcome["arguments"][0]
    errors = {kind.__name__: kind for kind in (UserError, Interrupted, Unavailable)}
    raise errors.get(outcome["kind"], KeyboardInterrupt)(*outcome["arguments"])


@contextlib.contextmanager
def _forwarded(process: subprocess.Popen) -> Iterator[list[int]]:
    """Inside, signals that ask this process to stop are the other one's, which saves and stops.

    Yields the numbers of those that came.
    """
    came = []

    def forward(number: int, frame: object) -> None:
        came.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in STOP_SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen) -> None:
    """Ends a process that still waits: its standard input ends."""
    assert process.stdin is not None and process.stdout is not None  # pipes
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_END_S)
    except Exception:
        process.kill()
        process.wait()
    process.stdout.close()
