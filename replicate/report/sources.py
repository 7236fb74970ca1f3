"""What a report was made from, by content: a kept one is used only while that is the same."""

import hashlib
import importlib.metadata
import pathlib

from replicate import environment, score
from replicate.errors import UserError
from replicate.run import RunDir, read_json
from tfrecords import annotation_file
from tfrecords import manifest as manifests

# The rooms whose code decides what a report says.
_FILES = ("annotations.py", "reasons.py", "records.py", "run.py")
_CODE = ("report", "score", "verdict", "config", "zoo", "data", *_FILES)


def fingerprint(run: RunDir) -> dict:
    """The SHA-256 of each thing that the report of a run is made from.

    Args:
      run: RunDir.

    Returns:
      dict name -> hash: files of the run by their path in it, the annotation files that its
      evaluations were scored on, the kit's own code and the evaluators' versions.
    """
    files = [run.spec, run.config, run.deviations, run.environment, run.preflight]
    files += [run.verdict, run.metrics, run.training]
    files += manifests.in_folder(run.data).values()
    files += sorted((run.root / "explain").glob("*.json"))
    annotation_files: set[str | None] = set()
    for step in run.evaluated_steps():
        metrics = run.eval_at(step) / "metrics.json"
        files += [metrics, run.eval_at(step) / "detections.json.gz"]
        annotation_files.add(_annotations_file(metrics))
    hashes: dict[str, str | None] = {
        path.relative_to(run.root).as_posix(): _sha256(path) for path in files if path.is_file()
    }
    for file in sorted(file for file in annotation_files if file is not None):
        hashes[file] = annotation_file.sha256_of(file) if pathlib.Path(file).is_file() else None
    versions = {name: importlib.metadata.version(name) for name in score.EVALUATORS}
    return hashes | {"code": environment.code_sha256(*_CODE), "evaluators": versions}


def _annotations_file(metrics: pathlib.Path) -> str | None:
    try:
        return read_json(metrics)["annotations"]["file"]
    except (UserError, KeyError, TypeError):
        return None


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
