"""A recognition run from its records to its last evaluation: start or resume, log, save, stop."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from replicate import checkpoint_files, environment
from replicate.errors import Interrupted, UserError
from replicate.processes import StopSignals
from replicate.recognition import classes, evaluation, model, records
from replicate.recognition import request as requests
from replicate.recognition.classes import Class
from replicate.recognition.engine import tf
from replicate.recognition.request import RecognitionRequest
from replicate.recognition.trainer import RecognitionTrainer
from replicate.run import RunDir, read_json, write_json
from replicate.train import checkpoints
from replicate.train.journal import TrainingJournal, say

DATA_FILE = "data.json"


@dataclasses.dataclass(frozen=True)
class RecognitionSettings:
    """How a run is driven and what is evaluated; may differ from one start to the next.

    Attributes:
      val_records: pattern of records to evaluate on, or None.
      evaluate_train: whether the training images are evaluated too; None: where there are no
        val_records.
      threshold: scores from here on count as said, for F1.
      checkpoint_every_n: steps between checkpoints; each is evaluated.
      checkpoint_max_to_keep: how many of the last ones stay.
      log_every_n: steps between two lines of metrics.jsonl.
    """

    val_records: str | None = None
    evaluate_train: bool | None = None
    threshold: float = 0.5
    checkpoint_every_n: int = 1000
    checkpoint_max_to_keep: int = 7
    log_every_n: int = 10

    def splits(self, request: RecognitionRequest) -> dict[str, str]:
        """The pattern of the records to evaluate, by their split."""
        train = not self.val_records if self.evaluate_train is None else self.evaluate_train
        return ({"val": self.val_records} if self.val_records else {}) | (
            {"train": request.records} if train else {}
        )


def train(
    request: RecognitionRequest,
    model_dir: str | os.PathLike[str],
    settings: RecognitionSettings,
    command: str,
) -> dict[str, dict]:
    """Trains to the end, from the last good checkpoint in `model_dir` where there is one.

    Args:
      request: what is trained.
      model_dir: the run directory.
      settings: how it is driven.
      command: the command line, for the report.

    Returns:
      split -> evaluation of the last checkpoint, as `evaluation.evaluate`.

    Raises:
      UserError: no records, records or a label map that do not belong together, a directory that
        holds another run, a loss that is not finite, a full disk.
      Interrupted: SIGTERM, SIGINT or SIGUSR1 came; the state is saved.
    """
    run = RunDir.at(model_dir)
    requests.check(request)
    with run.writing():
        return _run(run, request, settings, command)


def _run(
    run: RunDir, request: RecognitionRequest, settings: RecognitionSettings, command: str
) -> dict[str, dict]:
    """`train` under the run's lock."""
    asked_classes = request.classes()
    checkpoints.clean(run.checkpoints)
    last = checkpoints.latest_good(run.checkpoints, checkpoints.set_aside)
    requests.keep(run, request, command, begun=last is not None)
    _keep_classes(run, asked_classes, last)
    splits = settings.splits(request)
    data = _survey(
        run, asked_classes, {"train": request.records} | splits, resumed=last is not None
    )
    num_steps = request.steps(data["train"]["images"])
    # With a global seed of 0, Dataset.shuffle refuses the seed of an epoch, which is a tensor.
    tf.keras.utils.set_random_seed(request.seed or 2**30)
    if last is None or checkpoint_files.step_of(last) < num_steps:
        environment.record(run.environment)
        _train(run, request, asked_classes, last, num_steps, settings, splits)
    return _evaluate_last(run, request, settings, splits)


def _keep_classes(run: RunDir, asked_classes: Sequence[Class], last: str | None) -> None:
    """Writes classes.json; the classes of a run that is continued must be the same."""
    path = run.root / model.CLASSES_FILE
    if last is not None:
        trained = model.describe(last)["classes"]
        model.require_classes(last, trained)
        classes.require_same(trained, asked_classes, last, "--label_map")
    write_json(path, classes.to_json(asked_classes))


def _survey(
    run: RunDir, asked_classes: Sequence[Class], splits: Mapping[str, str], resumed: bool
) -> dict[str, dict]:
    """data.json: `records.survey` of each split; what was counted before is not counted again."""
    path = run.root / DATA_FILE
    before = read_json(path) if path.is_file() else {}
    surveys = {}
    for split, pattern in splits.items():
        known = before.get(split, {})
        same = known.get("fingerprint") == records.identity(pattern)["fingerprint"]
        if split == "train" and resumed and known and not same:
            raise UserError(
                f"{pattern}: not the records that this run was begun with (other names or sizes); "
                "give those, or name another --model_dir"
            )
        surveys[split] = known if same else records.survey(pattern, asked_classes)
    write_json(path, before | surveys)
    return surveys


def _train(
    run: RunDir,
    request: RecognitionRequest,
    asked_classes: Sequence[Class],
    last: str | None,
    num_steps: int,
    settings: RecognitionSettings,
    splits: Mapping[str, str],
) -> None:
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    # A resumed run takes every weight from its checkpoint.
    start = request if last is None else dataclasses.replace(request, weights=None)
    recognizer = model.build(start, asked_classes)
    trainer = RecognitionTrainer(request, recognizer, num_steps)
    if last is not None:
        trainer.resume(last)
        say(f"resuming after step {trainer.step} from {last}")
    else:
        say(f"training from {request.weights or 'random weights'}")
    saver = checkpoints.Saver(
        trainer.checkpoint,
        run.checkpoints,
        settings.checkpoint_max_to_keep,
        settings.checkpoint_every_n,
    )
    with (
        StopSignals() as stop,
        checkpoints.full_disk_named(run.checkpoints),
        TrainingJournal(run, trainer, num_steps, request.batch_size) as journal,
    ):
        while trainer.step < num_steps:
            output = trainer.train(_until_next(trainer.step, num_steps, settings))
            journal.log(output)
            speed = output["steps"] / output["seconds"]
            assert journal.events is not None  # one process, which writes
            journal.events.write_summaries(output | {"steps_per_second": speed})
            step = trainer.step
            if step % settings.checkpoint_every_n == 0 or step == num_steps or stop.signal:
                saver.save(step)
                if stop.signal:
                    raise Interrupted(stop.signal, step)
                evaluation.evaluate(
                    run, step, splits, request, settings.threshold, lambda: recognizer
                )


def _until_next(step: int, num_steps: int, settings: RecognitionSettings) -> int:
    """Steps until the next line of the log, the next checkpoint or the end."""
    ends = (
        every * (step // every + 1) for every in (settings.log_every_n, settings.checkpoint_every_n)
    )
    return min(*ends, num_steps) - step


def _evaluate_last(
    run: RunDir,
    request: RecognitionRequest,
    settings: RecognitionSettings,
    splits: Mapping[str, str],
) -> dict[str, dict]:
    """Evaluates the last checkpoint, unless that was done when it was saved."""
    last = checkpoints.latest_good(run.checkpoints)
    assert last is not None  # the training has just ended with one, or had
    step = checkpoint_files.step_of(last)
    return evaluation.evaluate(
        run, step, splits, request, settings.threshold, lambda: model.load(last)[0]
    )
