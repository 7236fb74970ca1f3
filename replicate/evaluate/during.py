"""Evaluations between the steps of a training: the best is kept, and training may end early."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from replicate import best
from replicate.evaluate.checkpoint_evaluator import Checkpoint, CheckpointEvaluator
from tfrecords.errors import InputError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.run import RunDir


def between_steps(
    run: "RunDir",
    config: "Message",
    annotations_file: str,
    image_dir: str,
    *,
    keep_best: str,
    patience: int | None = None,
) -> Callable[[], None]:
    """What a training calls after each checkpoint that it saves.

    It evaluates the checkpoints that it has not seen yet, in the training's process, whose state it
    leaves as it is; where another process evaluates the run (tools/evaluate.py --watch), that is
    left to it.

    Args:
      config, annotations_file, image_dir: as of `CheckpointEvaluator`.
      keep_best, patience: as of `replicate.replication.ReplicationRequest`.
    """
    evaluator = CheckpointEvaluator(
        run,
        config,
        os.path.abspath(annotations_file),
        os.path.abspath(image_dir),
        keep_best=best.Metric.parse(keep_best),
        patience=patience or 0,
    )
    evaluated: set[Checkpoint] = set()
    refusals: set[str] = set()

    def evaluate() -> None:
        phase = tf.keras.backend.learning_phase()
        with contextlib.ExitStack() as stack, contextlib.redirect_stdout(sys.stderr):
            try:
                stack.enter_context(run.evaluating())
            except InputError as error:  # another process evaluates
                if not refusals:
                    print(f"{error}: evaluation is left to it", file=sys.stderr)
                refusals.add(str(error))
                return
            stack.callback(tf.keras.backend.set_learning_phase, phase)
            for checkpoint in evaluator.checkpoints():
                if checkpoint not in evaluated:
                    evaluator.evaluate(checkpoint)
                    evaluated.add(checkpoint)

    return evaluate
