"""Scores of a model on records, kept as evals/<step>/<split>.npz with their metrics beside them.

The .npz holds scores float32 [images, classes], labels bool [images, classes], image_ids,
class_ids and class_names: what it takes to compute any metric again.
"""

import dataclasses
import hashlib

import numpy as np
from tqdm import tqdm

from replicate import checkpoint_files
from replicate.errors import UserError
from replicate.recognition import metrics, records
from replicate.recognition.classes import Class
from replicate.run import read_json, write_json
from tfrecords.whole_files import written_whole

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a model says of a set of images, and what is true.

    Attributes:
      image_ids: list of str.
      labels: bool [images, classes].
      scores: float32 [images, classes], 0..1.
      classes: tuple of Class, the columns.
    """

    image_ids: list
    labels: np.ndarray
    scores: np.ndarray
    classes: tuple


def score(recognizer, pattern, request, desc="score"):
    """Scores every image of some records.

    Args:
      recognizer: Recognizer.
      pattern: as `request.files` takes it.
      request: RecognitionRequest; its image size, batch size and treatment of crowds hold.
      desc: the bar's words.

    Returns:
      Scores.
    """
    ids, labels, scores = [], [], []
    classes = recognizer.classes
    batches = records.evaluation_batches(pattern, request, classes, request.batch_size)
    with tqdm(total=records.count(pattern), desc=desc, unit="image") as bar:
        for images, truth, source_ids in batches:
            ids += [each.decode(errors="replace") for each in source_ids.numpy()]
            labels.append(truth.numpy() > 0)
            scores.append(recognizer.scores(images).numpy())
            bar.update(len(labels[-1]))
    return Scores(ids, np.concatenate(labels), np.concatenate(scores), classes)


def save(path, scored):
    """Writes Scores as an .npz file, whole or not at all."""
    with written_whole(path, "wb") as stream:
        np.savez_compressed(
            stream,
            scores=scored.scores,
            labels=scored.labels,
            image_ids=np.array(scored.image_ids),
            class_ids=np.array([each.id for each in scored.classes]),
            class_names=np.array([each.name for each in scored.classes]),
        )


def read(path):
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


def evaluate(run, step, splits, request, threshold, recognizer_at):
    """Evaluates one checkpoint; what is evaluated already is passed over.

    Args:
      run: RunDir.
      step: the checkpoint's.
      splits: dict "train" or "val" -> pattern of its records.
      request: RecognitionRequest.
      threshold: of F1.
      recognizer_at: function of no arguments that gives the Recognizer with the weights of
        `step`; called only where something is left to do.

    Returns:
      dict split -> its JSON, as `metrics_file` holds it.
    """
    checkpoint = {
        "path": f"checkpoints/ckpt-{step}",
        "sha256": checkpoint_files.sha256(checkpoint_files.path_of(run.checkpoints, step)),
    }
    found = {}
    for split, pattern in splits.items():
        of_what = {
            "checkpoint": checkpoint,
            "records": records.identity(pattern),
            "include_crowd": request.include_crowd,
        }
        path = metrics_file(run, step, split)
        found[split] = _kept(path, of_what, threshold)
        if found[split] is None:
            scored = _scored(run, step, split, of_what)
            if scored is None:
                scored = score(recognizer_at(), pattern, request, f"score {split} at step {step}")
                save(scores_file(run, step, split), scored)
            found[split] = _written(path, step, split, of_what, scored, threshold)
    return found


def scores_file(run, step, split):
    return run.eval_at(step) / f"{split}.npz"


def metrics_file(run, step, split):
    """The JSON beside the scores: format, step, split, checkpoint, records, include_crowd,
    scores_sha256, metrics (`metrics.of`'s) and over_thresholds."""
    return run.eval_at(step) / f"{split}.json"


def of_run(run):
    """What was evaluated: dict step -> {split: its JSON}, ascending, val first."""
    found = {}
    folders = run.evals.iterdir() if run.evals.is_dir() else ()
    for step in sorted(int(each.name) for each in folders if each.name.isdigit()):
        of_step = {
            split: read_json(metrics_file(run, step, split))
            for split in ("val", "train")
            if metrics_file(run, step, split).is_file()
        }
        if of_step:
            found[step] = of_step
    return found


def _kept(path, of_what, threshold):
    """An evaluation that is there, if it is of the same and its scores are whole."""
    if not path.is_file():
        return None
    kept = read_json(path)
    same = all(kept.get(name) == value for name, value in of_what.items())
    if not same or kept["metrics"]["threshold"] != threshold:
        return None
    return kept if kept["scores_sha256"] == _sha256(path.with_suffix(".npz")) else None


def _scored(run, step, split, of_what):
    """The scores that are there, where only the threshold changed."""
    path = metrics_file(run, step, split)
    if not path.is_file():
        return None
    kept = read_json(path)
    scores = scores_file(run, step, split)
    same = all(kept.get(name) == value for name, value in of_what.items())
    return read(scores) if same and kept["scores_sha256"] == _sha256(scores) else None


def _written(path, step, split, of_what, scored, threshold):
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


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
