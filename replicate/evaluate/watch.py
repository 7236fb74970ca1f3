"""Every checkpoint of a training run evaluated as it comes, until the training has ended."""

import dataclasses
import pathlib
import platform
import sys
import time
from typing import TYPE_CHECKING

from replicate import best, processes
from replicate.errors import UserError
from replicate.run import RunDir, read_json
from replicate.train import checkpoints

if TYPE_CHECKING:
    from replicate.evaluate.checkpoint_evaluator import Checkpoint, CheckpointEvaluator


# Between two looks at the folder.
_POLL_SECONDS = 2
# Training that was stopped may be about to go on: the state of a process that is just starting
# is still that of the one before.
_GRACE_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class End:
    """Why the watch ended.

    Attributes:
      complete: whether the checkpoint of the last step was evaluated.
      reason: in words.
    """

    complete: bool
    reason: str


def watch(
    evaluator: "CheckpointEvaluator",
    training_file: pathlib.Path,
    num_steps: int,
    eval_timeout: float,
    grace: float = _GRACE_SECONDS,
) -> End:
    """Evaluates the checkpoints that are there and those that come.

    It ends when the checkpoint of the last step has been evaluated, which is where training ended
    early (`replicate.best`); when training.json has said
    for `grace` seconds that training is done, stopped or failed, or its process is gone from this
    machine; or when no new checkpoint came for `eval_timeout` seconds.

    Args:
      training_file: path of training.json; it need not be there.
      num_steps: the step at which training ends; 0 takes training.json's.
      eval_timeout: seconds, from the end of the last evaluation.
      grace: seconds.
    """
    training = _Training(training_file, grace)
    handled, last = set(), None
    waiting_since = time.monotonic()
    _say(f"waiting for checkpoints (at most {eval_timeout:g} s for each)")
    while True:
        # First the state, then the folder: a checkpoint saved right before the end is seen.
        ended = training.ended()
        fresh = [checkpoint for checkpoint in evaluator.checkpoints() if checkpoint not in handled]
        for checkpoint in fresh:
            handled.add(checkpoint)
            if _evaluated(evaluator, checkpoint):
                last = max(checkpoint.step, last or 0)
        early = best.stopped_early(training.run)
        end = (early and training.ended_at) or num_steps or training.num_steps
        if end and last is not None and last >= end:
            why = f"; training ended early: {best.stop_sentence(early)}" if early else ""
            return End(True, f"the checkpoint of the last step, {last}, is evaluated{why}")
        if early and not training.is_known:
            return End(
                True, f"{best.stop_sentence(early)}: end the training, which is not the kit's"
            )
        if fresh:
            waiting_since = time.monotonic()
            continue
        at = "no checkpoint was there" if last is None else f"last step evaluated: {last}"
        of = f" of {end}" if end else ""
        if ended:
            return End(False, f"training {ended}; {at}{of}")
        if time.monotonic() - waiting_since > eval_timeout:
            return End(False, f"no new checkpoint in {eval_timeout:g} s (--eval_timeout); {at}{of}")
        time.sleep(_POLL_SECONDS)


def _evaluated(evaluator: "CheckpointEvaluator", checkpoint: "Checkpoint") -> bool:
    """Whether the checkpoint could be evaluated.

    One that training deleted meanwhile or that is damaged is passed over, as training does.
    """
    try:
        metrics = evaluator.evaluate(checkpoint)
    except (UserError, OSError):
        if not checkpoint.exists:
            _say(f"step {checkpoint.step}: its checkpoint was deleted before it could be read")
            return False
        damage = checkpoints.verify(checkpoint.path)
        if damage is None:
            raise
        _say(f"step {checkpoint.step}: {checkpoint.path} is damaged ({damage}); passed over")
        return False
    value = metrics["metrics"]["AP"]
    _say(f"step {checkpoint.step}: AP {'undefined' if value is None else f'{value:.4f}'}")
    return True


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


class _Training:
    """What training.json says of the process that trains (`replicate.train.journal` writes it).

    Attributes:
      run: the run that it is of.
      num_steps: the step at which it ends; 0 while that is not known.
      ended_at: the step at which it says that it is done; 0 before.
    """

    def __init__(self, file: pathlib.Path, grace: float) -> None:
        self._file, self._grace = file, grace
        self.run = RunDir.at(file.parent)
        self.ended_at = 0
        self._ended: str | None = None
        self._since = 0.0
        self.num_steps = 0

    @property
    def is_known(self) -> bool:
        """Whether training.json is there: a training of model_main_tf2.py writes none."""
        return self._file.is_file()

    def ended(self) -> str:
        """How training ended, once it has been so for the grace; "" while it may go on."""
        ended = self._now()
        if ended != self._ended:
            self._ended, self._since = ended, time.monotonic()
        return ended if time.monotonic() - self._since >= self._grace else ""

    def _now(self) -> str:
        if not self._file.is_file():
            return ""
        training = read_json(self._file)
        self.num_steps = training["num_steps"]
        self.ended_at = training["step"] if training["state"] == "done" else 0
        if training["state"] != "running":
            reason = training.get("reason", "").strip().splitlines()
            return f"is {training['state']}" + (f" ({reason[0]})" if reason else "")
        if training["host"] != platform.node() or processes.lives(
            training["pid"], training["updated"]
        ):
            return ""
        return f"is gone (process {training['pid']}, at step {training['step']}, no longer runs)"
