"""Scores of a model on records, kept as evals/<step>/<split>.npz with their metrics beside them.

The .npz holds scores float32 [images, classes], labels bool [images, classes], image_ids,
class_ids and class_names: what it takes to compute any metric again.
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from replicate import checkpoint_files
from replicate.errors import UserError
from replicate.recognition import metrics, records
from replicate.recognition.classes import Class
from replicate.recognition.request import RecognitionRequest
from replicate.run import RunDir, read_json, write_json
from tfrecords.whole_files import written_whole

if TYPE_CHECKING:
    from replicate.recognition.model import Recognizer

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a model says of a set of images, and what is true.

    Attributes:
      image_ids: of the records' source ids.
      labels: bool [images, classes].
      scores: float32 [images, classes], 0..1.
      classes: the columns.
    """

    image_ids: list[str]
    labels: np.ndarray
    scores: np.ndarray
    classes: tuple[Class, ...]


def score(
    recognizer: "Recognizer", pattern: str, request: RecognitionRequest, desc: str = "score"
) -> Scores:
    """Scores every image of some records.

    Args:
      recognizer: with its weights.
      pattern: as `request.files` takes it.
      request: its image size, batch size and treatment of crowds hold.
      desc: the bar's words.
    """
    ids: list[str] = []
    labels, scores = [], []
    classes = recognizer.classes
    batches = records.evaluation_batches(pattern, request, classes, request.batch_size)
    with tqdm(total=records.count(pattern), desc=desc, unit="image") as bar:
        for images, truth, source_ids in batches:
            ids += [source_id.decode(errors="replace") for source_id in source_ids.numpy()]
            labels.append(truth.numpy() > 0)
            scores.append(recognizer.scores(images).numpy())
            bar.update(len(labels[-1]))
    return Scores(ids, np.concatenate(labels), np.concatenate(scores), classes)


def save(path: str | os.PathLike[str], scored: Scores) -> None:
    """Writes Scores as an .npz file, whole or not at all."""
    with written_whole(path, "wb") as stream:
        np.savez_compressed(
            stream,
            scores=scored.scores,
            labels=scored.labels,
            image_ids=np.array(scored.image_ids),
            class_ids=np.array([category.id for category in scored.classes]),
            class_names=np.array([category.name for category in scored.classes]),
        )


def read(path: str | os.PathLike[str]) -> Scores:
    """The inverse of `save`.

    Raises:
      UserError: no such file, or another kind of file.
    """
    try:
        with np.load(path) as stored:
            columns = zip(stored["class_ids"], stored["class_names"], strict=True)
            return Scores(
                stored["image_ids"].tolist(),
                stored["labels"],
                stored["scores"],
                tuple(Class(int(class_id), str(name)) for class_id, name in columns),
            )
    except (OSError, KeyError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not readable as scores ({error}); evaluate again") from None


def evaluate(
    run: RunDir,
    step: int,
    splits: Mapping[str, str],
    request: RecognitionRequest,
    threshold: float,
    recognizer_at: Callable[[], "Recognizer"],
) -> dict[str, dict]:
    """Evaluates one checkpoint; what is evaluated already is passed over.

    Args:
      run: where the checkpoint is.
      step: the checkpoint's.
      splits: "train" or "val" -> pattern of its records.
      request: of the training.
      threshold: of F1.
      recognizer_at: gives the Recognizer with the weights of `step`; called only where something
        is left to do.

    Returns:
      split -> its JSON, as `metrics_file` holds it.
    """
    checkpoint = {
        "path": f"checkpoints/ckpt-{step}",
        "sha256": checkpoint_files.sha256(checkpoint_files.path_of(run.checkpoints, step)),
    }
    evaluations = {}
    for split, pattern in splits.items():
        of_what = {
            "checkpoint": checkpoint,
            "records": records.identity(pattern),
            "include_crowd": request.include_crowd,
        }
        path = metrics_file(run, step, split)
        evaluated = _earlier(path, of_what, threshold)
        if evaluated is None:
            scored = _scored(run, step, split, of_what)
            if scored is None:
                scored = score(recognizer_at(), pattern, request, f"score {split} at step {step}")
                save(scores_file(run, step, split), scored)
            evaluated = _written(path, step, split, of_what, scored, threshold)
        evaluations[split] = evaluated
    return evaluations


def scores_file(run: RunDir, step: int, split: str) -> pathlib.Path:
    """Where the scores of a split at a step are kept."""
    return run.eval_at(step) / f"{split}.npz"


def metrics_file(run: RunDir, step: int, split: str) -> pathlib.Path:
    """The JSON beside the scores: format, step, split, checkpoint, records, include_crowd,
    scores_sha256, metrics (`metrics.of`'s) and over_thresholds."""
    return run.eval_at(step) / f"{split}.json"


def of_run(run: RunDir) -> dict[int, dict[str, dict]]:
    """What was evaluated: step -> split -> its JSON, ascending, val first."""
    evaluations = {}
    folders = run.evals.iterdir() if run.evals.is_dir() else ()
    for step in sorted(int(folder.name) for folder in folders if folder.name.isdigit()):
        of_step = {
            split: read_json(metrics_file(run, step, split))
            for split in ("val", "train")
            if metrics_file(run, step, split).is_file()
        }
        if of_step:
            evaluations[step] = of_step
    return evaluations


def _earlier(path: pathlib.Path, of_what: dict, threshold: float) -> dict | None:
    """An evaluation that is there, if it is of the same and its scores are whole."""
    if not path.is_file():
        return None
    evaluated = read_json(path)
    same = all(evaluated.get(name) == value for name, value in of_what.items())
    if not same or evaluated["metrics"]["threshold"] != threshold:
        return None
    return evaluated if evaluated["scores_sha256"] == _sha256(path.with_suffix(".npz")) else None


def _scored(run: RunDir, step: int, split: str, of_what: dict) -> Scores | None:
    """The scores that are there, where only the threshold changed."""
    path = metrics_file(run, step, split)
    if not path.is_file():
        return None
    evaluated = read_json(path)
    scores = scores_file(run, step, split)
    same = all(evaluated.get(name) == value for name, value in of_what.items())
    return read(scores) if same and evaluated["scores_sha256"] == _sha256(scores) else None


def _written(
    path: pathlib.Path, step: int, split: str, of_what: dict, scored: Scores, threshold: float
) -> dict[str, Any]:
    value = {
        "format": FORMAT,
        "step": step,
        "split": split,
        **of_what,
        "scores_sha256": _sha256(path.with_suffix(".npz")),
        "metrics": metrics.of(scored.labels, scored.scores, scored.classes, threshold),
        "over_thresholds": metrics.over_thresholds(scored.labels, scored.scores),
    }
    write_json(path, value)
    return value


def _sha256(path: pathlib.Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
