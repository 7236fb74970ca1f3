"""The checkpoints of a run, each evaluated into evals/<step>/ and TensorBoard events."""

import dataclasses
import functools
import gzip
import hashlib
import os
import pathlib
import sys
import zlib
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from replicate import best, checkpoint_files, engine
from replicate.errors import UserError
from replicate.evaluate import detections, events, results, suppression
from replicate.run import read_json, write_json
from tfrecords import annotation_file

if TYPE_CHECKING:
    from replicate.run import RunDir


@dataclasses.dataclass(frozen=True, order=True)
class Checkpoint:
    """A checkpoint: its global step, the number in its name, and its prefix.

    The kit numbers checkpoints by their steps; `model_main_tf2.py` counts them.
    """

    step: int
    number: int
    path: str

    @property
    def exists(self) -> bool:
        return pathlib.Path(f"{self.path}.index").is_file()


class CheckpointEvaluator:
    """Evaluates checkpoints of one model into a run directory.

    The model is built when the first checkpoint needs it.

    Args:
      config: of either engine.
      annotations_file, image_dir: COCO JSON and the folder of its images.
      directory: folder of the checkpoints; the run's own by default.
      batch_size: images a forward pass.
      suppressed_by: whose suppression to run, one of `suppression.ASKED`.
      jit_compile: whether XLA compiles the forward pass.
      tf32: as of `detections.Evaluation`.
      keep_best: the metric by which the best checkpoint is kept, see `replicate.best`; None keeps
        none.
      patience: as of `best.reconsider`.
    """

    def __init__(
        self,
        run: "RunDir",
        config: Any,
        annotations_file: str | os.PathLike,
        image_dir: str | os.PathLike,
        *,
        directory: str | os.PathLike | None = None,
        batch_size: int = 8,
        suppressed_by: str = suppression.KIT,
        jit_compile: bool = False,
        tf32: bool = True,
        keep_best: best.Metric | None = None,
        patience: int | None = None,
    ) -> None:
        self._run, self._config = run, config
        self._keep_best, self._patience = keep_best, patience
        self._arguments = config, annotations_file, image_dir
        self._options: dict[str, Any] = {
            "batch_size": batch_size,
            "suppressed_by": suppressed_by,
            "jit_compile": jit_compile,
            "tf32": tf32,
            "beside": run.root,
        }
        self._directory = pathlib.Path(directory or run.checkpoints)
        self._evaluation: detections.Evaluation | None = None
        self._told_best: set[str] = set()

    def checkpoints(self) -> list[Checkpoint]:
        """The complete checkpoints there now, as Checkpoint, by ascending step."""
        checkpoints = []
        for number in checkpoint_files.steps_of(self._directory):
            path = checkpoint_files.path_of(self._directory, number)
            checkpoints.append(Checkpoint(_step_in(path, number), number, path))
        return sorted(checkpoints)

    def evaluate(self, checkpoint: Checkpoint) -> dict:
        """Evaluates a checkpoint, unless that was done with the same settings.

        Writes evals/<step>/detections.json.gz, then TensorBoard events, then
        evals/<step>/metrics.json; then keeps it where it is the best.

        Args:
          checkpoint: Checkpoint.

        Returns:
          what metrics.json holds.

        Raises:
          UserError: a checkpoint that cannot be read or is not this model's; of a metric to keep
            the best by that its evaluation does not have, `best.NoSuchMetric`.
        """
        identity = self._identity(checkpoint)
        metrics = self._before(checkpoint, identity)
        if metrics is None and self._keep_best is not None:
            self._keeping.hold(checkpoint.step, checkpoint.path)
        metrics = metrics or self._evaluated(checkpoint, identity)
        if self._keep_best is not None:
            candidate = checkpoint.step, identity["sha256"], metrics, checkpoint.path
            if self._keeping.offer(*candidate) and checkpoint.path not in self._told_best:
                self._told_best.add(checkpoint.path)
                print(f"kept: {best.sentence_of(self._run)}", file=sys.stderr)
        return metrics

    @functools.cached_property
    def _keeping(self) -> best.Keeping:
        """Made with the first evaluation, when the caller has the lock of the evaluations."""
        assert self._keep_best is not None
        conditions = {
            "annotations_sha256": self._annotations_sha256,
            "config_sha256": self._config_sha256,
        }
        return best.Keeping(self._run, self._keep_best, conditions, self._patience)

    def _before(self, checkpoint: Checkpoint, identity: dict[str, str]) -> dict | None:
        """The metrics of an earlier evaluation of this checkpoint with these settings, or None."""
        if checkpoint.step not in self._run.evaluated_steps():
            return None
        before = _whole(self._run.eval_at(checkpoint.step))
        if before is None or before.get("checkpoint") != identity:
            return None
        return before if self._same_settings(before) else None

    def _evaluated(self, checkpoint: Checkpoint, identity: dict[str, str]) -> dict:
        folder = self._run.eval_at(checkpoint.step)
        if self._evaluation is None:
            self._evaluation = detections.Evaluation(*self._arguments, **self._options)
        self._evaluation.restore(checkpoint.path)
        _, result = results.write(self._evaluation, folder / "detections.json.gz")
        assert result is not None  # it is scored
        others = results.beside_boxes(
            self._config, self._evaluation.annotations_file, folder / "detections.json.gz"
        )
        events.write(
            self._run.eval_events / _name(self._config),
            getattr(self._config, "eval_config", None),
            checkpoint.step,
            [result, *others],
        )
        inference = self._evaluation.inference | {"config_sha256": self._config_sha256}
        metrics = {
            "step": checkpoint.step,
            "checkpoint": identity,
            "images": {"sha256": self._evaluation.image_bytes_sha256},
        } | result.to_json(inference)
        if others:
            metrics["others"] = [other.to_json(inference) for other in others]
        write_json(folder / "metrics.json", metrics)
        return metrics

    def evaluate_all(self) -> dict | None:
        """Evaluates every checkpoint there; the metrics of the last one, or None without any.

        A damaged one is told and passed over, unless it is the last.

        Raises:
          best.NoSuchMetric: with the first, where evaluations have no metric `keep_best`.
        """
        metrics, checkpoints = None, self.checkpoints()
        for checkpoint in checkpoints:
            try:
                metrics = self.evaluate(checkpoint)
            except UserError as error:
                if checkpoint == checkpoints[-1] or isinstance(error, best.NoSuchMetric):
                    raise
                print(f"step {checkpoint.step}: {error}; passed over", file=sys.stderr)
        return metrics

    def _same_settings(self, before: dict) -> bool:
        """Whether an earlier evaluation's metrics are of this config, suppression, compiler and
        annotations.

        Metrics without "inference" are from before the kit wrote it: of the run's own config, with
        the kit's suppression.
        """
        inference = before.get("inference", {})
        asked, ran = (
            inference.get("suppression_asked", suppression.KIT),
            inference.get("suppression"),
        )
        return (
            inference.get("config_sha256", self._config_sha256) == self._config_sha256
            and (asked == self._options["suppressed_by"] or ran == suppression.NONE)
            and inference.get("jit_compile", False) == self._options["jit_compile"]
            and (self._options["tf32"] or not inference.get("tf32"))
            and before.get("annotations", {}).get("sha256") == self._annotations_sha256
        )

    @functools.cached_property
    def _config_sha256(self) -> str:
        return hashlib.sha256(engine.text(self._config).encode()).hexdigest()

    @functools.cached_property
    def _annotations_sha256(self) -> str:
        return annotation_file.read(self._arguments[1]).content_sha256

    def _identity(self, checkpoint: Checkpoint) -> dict[str, str]:
        path = pathlib.Path(checkpoint.path).absolute()
        root = self._run.root.absolute()
        return {
            "path": path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path),
            "sha256": checkpoint_files.sha256(checkpoint.path),
        }


def _whole(folder: pathlib.Path) -> dict | None:
    """The metrics of an evaluation whose files are as they were written; None of another."""
    try:
        metrics = read_json(folder / "metrics.json")
        with gzip.open(folder / "detections.json.gz") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return metrics if metrics["detections"]["sha256"] == digest else None
    except (UserError, OSError, EOFError, zlib.error, KeyError):
        return None


def _name(config: Any) -> str:
    """eval_input_reader's name, which the API takes for the folder of its events."""
    readers = getattr(config, "eval_input_reader", ())
    return readers[0].name if readers else ""


def _step_in(path: str, number: int) -> int:
    """The global step that a checkpoint holds; the number in its name where it holds none."""
    try:
        return int(tf.train.load_variable(path, "step/.ATTRIBUTES/VARIABLE_VALUE"))
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError):
        return number
