"""The run directory: where each file of a run lies, and how it gets there whole.

    runs/<name>/
      spec.json  pipeline.config  deviations.json  environment.json
      data/  checkpoints/  train/  metrics.jsonl  evals/<step>/  verdict.json  report/

A file appears under its final name only when it is complete.
"""

import dataclasses
import gzip
import json
import pathlib

from replicate.errors import UserError
from tfrecords.whole_files import written_whole


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths of one run. Nothing is created until something is written."""

    root: pathlib.Path

    @classmethod
    def at(cls, path):
        """The run directory `path`; it need not exist yet."""
        return cls(pathlib.Path(path))

    @classmethod
    def existing(cls, path):
        """The run directory `path`, which must hold a run; its pipeline.config does as well.

        Raises:
          UserError: there is no spec.json in it.
        """
        path = pathlib.Path(path)
        run = cls.at(path.parent if path.name == "pipeline.config" and path.is_file() else path)
        if not run.spec.is_file():
            raise UserError(
                f"{path}: not a run directory (no spec.json in it); "
                "tools/replicate.py and tools/train.py make one. A model without its training is "
                "scored by tools/evaluate.py --checkpoint and tools/benchmark.py"
            )
        return run

    @property
    def spec(self):
        return self.root / "spec.json"

    @property
    def pipeline_config(self):
        return self.root / "pipeline.config"

    @property
    def annotations(self):
        """What is kept of the annotation files; see `replicate.annotations`."""
        return self.root / "annotations.json"

    @property
    def deviations(self):
        return self.root / "deviations.json"

    @property
    def environment(self):
        return self.root / "environment.json"

    @property
    def preflight(self):
        """What preflight said at the launch, and what --force overrode."""
        return self.root / "preflight.json"

    @property
    def data(self):
        return self.root / "data"

    @property
    def checkpoints(self):
        return self.root / "checkpoints"

    @property
    def events(self):
        return self.root / "train"

    @property
    def eval_events(self):
        """Where the API puts the TensorBoard events of its evaluations."""
        return self.root / "eval"

    @property
    def start(self):
        """The weights that the training began with; see `train.starting_point`."""
        return self.root / "start.json"

    @property
    def training(self):
        """The state of its training, kept up to date while it runs; see `train.journal`."""
        return self.root / "training.json"

    @property
    def launch(self):
        """Where and how it was launched: launch.json, log, script; see `replicate.launch`."""
        return self.root / "launch"

    @property
    def metrics(self):
        return self.root / "metrics.jsonl"

    @property
    def evals(self):
        return self.root / "evals"

    @property
    def verdict(self):
        return self.root / "verdict.json"

    @property
    def report(self):
        return self.root / "report"

    def eval_at(self, step):
        """The folder of the evaluation of the checkpoint of `step`."""
        return self.evals / str(step)

    def scores_at(self, step):
        """The scores of the checkpoint of `step` as `score.Result.to_json` gives them: that of
        boxes, then those of masks or keypoints, where the model and the annotations have them."""
        metrics = read_json(self.eval_at(step) / "metrics.json")
        return [metrics, *metrics.get("others", [])]

    def evaluated_steps(self):
        """Steps with a complete evaluation (detections and metrics), ascending."""
        if not self.evals.is_dir():
            return []
        return sorted(
            int(folder.name)
            for folder in self.evals.iterdir()
            if folder.name.isdigit()
            and (folder / "metrics.json").is_file()
            and (folder / "detections.json.gz").is_file()
        )


def write_text(path, text):
    """Writes `text` to `path` atomically."""
    with written_whole(path) as stream:
        stream.write(text)


def write_json(path, value):
    """Writes `value` as JSON to `path` atomically; `.gz` at the end of the name compresses it.

    A compressed file holds no time and no name, so the same value gives the same bytes.
    """
    if str(path).endswith(".gz"):
        text = json.dumps(value, separators=(",", ":"))
        with (
            written_whole(path, "wb") as stream,
            gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed,
        ):
            packed.write(text.encode())
        return
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path):
    """The value of a JSON file (or `.json.gz`).

    Raises:
      UserError: the file is missing or is not JSON.
    """
    try:
        opener = gzip.open if str(path).endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None


def read_metrics(path):
    """The logged steps of metrics.jsonl, oldest first; a last line cut off by a kill is left out.

    Returns:
      list of dicts with at least `step`; empty where there is no file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries
