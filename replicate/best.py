"""The best checkpoint of a run by a named metric, kept beside the last ones; when to stop early.

    best/
      best.json                 which it is, by what, and every evaluation that it is the best of
      ckpt-STEP.index, .data-…  its files; `checkpoint` names it for TensorFlow
    early_stop.json             there once the training is to end: no gain in so many evaluations

An evaluation without a figure, or with one that is no finite number, never wins; of equal ones the
earlier step does. Evaluations are compared where images, annotations, config and suppression are
the same; where those change, keeping begins anew with what is kept.

A kill at any moment leaves a best: a checkpoint is held (its files linked or copied) before it is
evaluated, since training may delete it meanwhile; held files take their final name only when they
won, index last; best.json, which names them, follows; what it named before goes at the end.
"""

import dataclasses
import math
import os
import pathlib
import shutil
import sys
from typing import TYPE_CHECKING, Any

from replicate import checkpoint_files
from replicate.errors import UserError
from replicate.run import read_json, read_json_or_none, write_json, write_text
from tfrecords import whole_files

if TYPE_CHECKING:
    from replicate.run import RunDir

FOLDER, FILE = "best", "best.json"
_HELD = "held-"
_AGAIN = "-again"
_KINDS = ("bbox", "segm", "keypoints")


class NoSuchMetric(UserError):
    """The evaluations have no such metric, and none of this model will."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """What a checkpoint is the best by: a COCO metric (higher is better) of a kind of evaluation.

    Attributes:
      name: one of `score.METRICS` of its kind.
      iou_type: "bbox", "segm" or "keypoints".
    """

    name: str
    iou_type: str = "bbox"

    @classmethod
    def parse(cls, text: str) -> "Metric":
        """ "AP", "AP50", "segm/AP", …

        Raises:
          UserError: no such metric.
        """
        from replicate.score import METRICS

        kind, _, name = text.rpartition("/")
        kind = kind or "bbox"
        if name not in METRICS.get(kind, ()):
            raise UserError(
                f"--keep_best={text}: no such metric; it is one of {', '.join(METRICS['bbox'])}, "
                f"of masks or keypoints segm/AP, keypoints/AP and their others"
            )
        return cls(name, kind)

    def __str__(self) -> str:
        return self.name if self.iou_type == "bbox" else f"{self.iou_type}/{self.name}"

    def refuse_absent(self, metrics: dict) -> None:
        """Refuses a metric that a metrics.json does not have; one without a figure is there.

        Raises:
          NoSuchMetric: names the metrics that there are.
        """
        known = [
            str(Metric(name, score["iou_type"]))
            for score in (metrics, *metrics.get("others", []))
            for name in score["metrics"]
        ]
        if str(self) not in known:
            raise NoSuchMetric(
                f"--keep_best={self}: this model's evaluations have no such metric; they have "
                + ", ".join(known)
            )

    def refuse_unpredicted(self, *, masks: bool, keypoints: bool) -> None:
        """Refuses a metric of masks or keypoints of a model that predicts none.

        Raises:
          NoSuchMetric: names the kind.
        """
        if self.iou_type == "segm" and not masks or self.iou_type == "keypoints" and not keypoints:
            what = "masks" if self.iou_type == "segm" else "keypoints"
            raise NoSuchMetric(
                f"--keep_best={self}: this model predicts no {what}; give one of its boxes, "
                f"such as {self.name}"
            )

    def of(self, metrics: dict) -> float | None:
        """The figure in a metrics.json, 0..1; None where it is missing or no finite number."""
        for score in (metrics, *metrics.get("others", [])):
            if score.get("iou_type") == self.iou_type:
                value = score["metrics"].get(self.name)
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                return float(value) if number and math.isfinite(value) else None
        return None


def read(run: "RunDir") -> dict | None:
    """best.json of a run; None where it keeps none, or the file is damaged (which is told)."""
    if not run.best_record.is_file():
        return None
    try:
        return read_json(run.best_record)
    except UserError as error:
        print(f"{error}. What is kept is told anew with the next evaluation", file=sys.stderr)
        return None


def best_kept(run: "RunDir") -> dict | None:
    """What is kept, for reports: None where nothing is.

    Returns:
      dict: metric ("AP", "segm/AP"), step, value (0..1), checkpoint {path, sha256}, evaluations
      (of how many with a figure it is the best), without_figure (how many had none),
      annotations_sha256 (of the file that it was chosen on).
    """
    record = read(run)
    if record is None or record["checkpoint"] is None:
        return None
    known = [entry for entry in record["evaluations"] if entry["value"] is not None]
    return {
        "metric": record["metric"],
        "step": record["step"],
        "value": record["value"],
        "checkpoint": record["checkpoint"],
        "evaluations": len(known),
        "without_figure": len(record["evaluations"]) - len(known),
        "annotations_sha256": record["conditions"]["annotations_sha256"],
    }


def sentence(chosen: dict) -> str:
    """What `best_kept` gives, in words: which checkpoint, of how many, chosen on what."""
    count = chosen["evaluations"]
    of = f"best of {count} evaluations" if count > 1 else "best of 1 evaluation"
    if chosen["without_figure"]:
        of += f" ({chosen['without_figure']} more had no figure)"
    return (
        f"{chosen['metric']} {100 * chosen['value']:.2f} at step {chosen['step']:,}, the {of} on "
        "the images it is judged on"
    )


def sentence_of(run: "RunDir") -> str:
    """`sentence` of a run that keeps one; "" where it keeps none."""
    chosen = best_kept(run)
    return "" if chosen is None else sentence(chosen)


def checkpoint_of(run: "RunDir") -> str | None:
    """The prefix of the kept checkpoint, None where there is none."""
    record = read(run)
    if record is None or record["checkpoint"] is None:
        return None
    return str(run.root / record["checkpoint"]["path"])


def run_of(folder: str | os.PathLike) -> pathlib.Path | None:
    """The run directory whose best checkpoint a folder (RUN/best) is, or None of another folder."""
    folder = pathlib.Path(folder)
    return folder.absolute().parent if (folder / FILE).is_file() else None


class Keeping:
    """Keeps the best of the checkpoints that are evaluated; one process at a time does.

    Args:
      run: RunDir.
      metric: by which.
      conditions: what evaluations must have in common to be compared, as of `conditions_of`.
      patience: see `reconsider`.
    """

    def __init__(
        self, run: "RunDir", metric: Metric, conditions: dict[str, Any], patience: int | None = None
    ) -> None:
        self._run, self._metric, self._patience = run, metric, patience
        self._conditions = conditions
        whole_files.clean(run.best)
        self._drop_held()
        self._record = self._begun()
        self._clean()
        reconsider(run, patience)

    def hold(self, step: int, path: str) -> None:
        """Keeps a checkpoint's files from going while it is evaluated."""
        self._drop_held()
        self._run.best.mkdir(parents=True, exist_ok=True)
        for part in _parts(path):
            ending = part.name[len(pathlib.Path(path).name) :]
            _link(part, self._run.best / f"{_HELD}{_name(step)}{ending}")

    def offer(self, step: int, sha256: str, metrics: dict, path: str) -> bool:
        """Takes an evaluation into account, and its checkpoint where it is the best now.

        Args:
          step, sha256, path: of the checkpoint; where it is not held, it is taken from its path.
          metrics: as metrics.json holds them.

        Returns:
          whether it is the best.

        Raises:
          NoSuchMetric: the evaluation has none of this name; best.json is left as it was, and
            removed where it names no checkpoint.
        """
        try:
            self._metric.refuse_absent(metrics)
        except NoSuchMetric:
            self._leave()
            raise
        value = self._metric.of(metrics)
        known = {entry["sha256"]: entry for entry in self._record["evaluations"]}
        if (known.get(sha256) or {}).get("value") is None:
            known[sha256] = {"step": step, "value": value, "sha256": sha256}
            record = self._record | {
                "evaluations": sorted(known.values(), key=lambda entry: entry["step"])
            }
            if value is not None and self._wins(step, value):
                taken = self._install(step, sha256, path)
                if taken is not None:
                    checkpoint = {"path": f"{FOLDER}/{taken.name}", "sha256": sha256}
                    record |= {"step": step, "value": value, "checkpoint": checkpoint}
            self._write(record)
        self._drop_held()
        reconsider(self._run, self._patience)
        chosen = self._record["checkpoint"]
        return chosen is not None and chosen["sha256"] == sha256

    def _leave(self) -> None:
        """Leaves nothing behind of a keeping that kept nothing."""
        self._drop_held()
        before = read_json_or_none(self._run.best_record)
        if before is not None and before.get("checkpoint") is None:
            self._run.best_record.unlink()
        if self._run.best.is_dir() and not any(self._run.best.iterdir()):
            self._run.best.rmdir()

    def _wins(self, step: int, value: float) -> bool:
        if self._record["checkpoint"] is None:
            return True
        return (value, -step) > (self._record["value"], -self._record["step"])

    def _begun(self) -> dict:
        """best.json as it goes on: what is there, or a new one with the checkpoint that is kept."""
        record = read(self._run)
        same = record is not None and (record["metric"], record["conditions"]) == (
            str(self._metric),
            self._conditions,
        )
        if record is not None and same:
            return self._without_damage(record)
        new = {
            "metric": str(self._metric),
            "conditions": self._conditions,
            "step": None,
            "value": None,
            "checkpoint": None,
            "evaluations": [],
        }
        evaluated = self._evaluated_again(record)
        if record is not None:
            print(
                f"{self._run.best_record}: kept by {record['metric']}, of evaluations by another "
                f"metric, config or annotation file; by {self._metric} it begins anew"
                + ("" if evaluated is None else f", with the kept step {evaluated['step']}"),
                file=sys.stderr,
            )
        if evaluated is None:
            return new
        return new | evaluated | {"evaluations": [_entry(evaluated)]}

    def _evaluated_again(self, record: dict | None) -> dict | None:
        """A kept checkpoint whose evaluation in evals/ is under these conditions."""
        named = record["checkpoint"]["path"] if record and record["checkpoint"] else None
        for index in sorted(self._run.best.glob("ckpt-*.index")):
            if named is not None and index.stem != pathlib.Path(named).name:
                continue
            sha256 = checkpoint_files.sha256(index.with_suffix(""))
            for step in self._run.evaluated_steps():
                try:
                    metrics = read_json(self._run.eval_at(step) / "metrics.json")
                except UserError:
                    continue
                value = self._metric.of(metrics)
                same = (metrics.get("checkpoint") or {}).get("sha256") == sha256
                if same and value is not None and conditions_of(metrics) == self._conditions:
                    checkpoint = {"path": f"{FOLDER}/{index.stem}", "sha256": sha256}
                    return {"step": step, "value": value, "checkpoint": checkpoint}
        return None

    def _without_damage(self, record: dict) -> dict:
        """The record; without its checkpoint where that is damaged or gone."""
        checkpoint = record["checkpoint"]
        if checkpoint is None:
            return record
        prefix = self._run.root / checkpoint["path"]
        if _parts(prefix) and checkpoint_files.sha256(prefix) == checkpoint["sha256"]:
            return record
        print(
            f"{prefix}: not what was kept (damaged or gone); the best is chosen anew of the "
            "checkpoints that are there",
            file=sys.stderr,
        )
        return record | {"step": None, "value": None, "checkpoint": None, "evaluations": []}

    def _install(self, step: int, sha256: str, source: str) -> pathlib.Path | None:
        """Gives held files their final name; None where they are not what was evaluated."""
        held = self._run.best / f"{_HELD}{_name(step)}"
        if not _parts(held):
            self.hold(step, source)
        if not _parts(held) or checkpoint_files.sha256(held) != sha256:
            print(
                f"step {step}: would be the best, but its checkpoint changed or went while it was "
                "evaluated; the one before stays",
                file=sys.stderr,
            )
            return None
        checkpoint = self._record["checkpoint"]
        path = self._run.best / _name(step)
        if checkpoint is not None and checkpoint["path"] == f"{FOLDER}/{path.name}":
            path = path.with_name(path.name + _AGAIN)  # another checkpoint of the same step
        for part in sorted(_parts(held), key=lambda part: part.suffix == ".index"):
            os.replace(part, path.with_name(path.name + part.name[len(held.name) :]))
        _sync(self._run.best)
        return path

    def _write(self, record: dict) -> None:
        """Writes best.json; what it named before stays until there is another best."""
        self._record = record
        before = read_json_or_none(self._run.best_record) or {}
        if record["checkpoint"] is not None or before.get("checkpoint") is None:
            write_json(self._run.best_record, record)
        self._clean()

    def _clean(self) -> None:
        """Removes what is neither kept nor held, and names the kept one for TensorFlow."""
        checkpoint = self._record["checkpoint"]
        if checkpoint is None:
            return
        name = pathlib.Path(checkpoint["path"]).name
        state = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
        path = self._run.best / "checkpoint"
        if not path.is_file() or path.read_bytes() != state.encode():
            write_text(path, state)
        for part in self._run.best.glob("*ckpt-*"):
            of = part.name.partition(".")[0]
            if of != name and not of.startswith(_HELD):
                part.unlink(missing_ok=True)

    def _drop_held(self) -> None:
        for part in self._run.best.glob(f"{_HELD}*"):
            part.unlink(missing_ok=True)


def conditions_of(metrics: dict) -> dict[str, Any]:
    """What an evaluation has in common with those that it is compared with."""
    return {
        "annotations_sha256": (metrics.get("annotations") or {}).get("sha256"),
        "config_sha256": (metrics.get("inference") or {}).get("config_sha256"),
    }


def reconsider(run: "RunDir", patience: int | None) -> None:
    """Asks the training to end where patience is at its end, and takes that back where not.

    Args:
      patience: evaluations in a row, after the best one, without gain; 0 asks no training to end;
        None leaves it as it is.
    """
    if patience is None:
        return
    record = read(run)
    steps = [entry["step"] for entry in record["evaluations"]] if record else []
    if record is None or record["checkpoint"] is None or not patience:
        without = 0
    else:
        without = sum(step > record["step"] for step in steps)
    if record is None or not patience or without < patience:
        run.early_stop.unlink(missing_ok=True)
        return
    stop = {
        "metric": record["metric"],
        "patience": patience,
        "best_step": record["step"],
        "best_value": record["value"],
        "at_step": max(steps),
    }
    if stopped_early(run) is None:
        write_json(run.early_stop, stop)


def stopped_early(run: "RunDir") -> dict | None:
    """early_stop.json, None where training is not to end early; a damaged one is none."""
    return read_json_or_none(run.early_stop) if run.early_stop.is_file() else None


def stop_sentence(stop: dict) -> str:
    """Why a training ended early, in words."""
    count = stop["patience"]
    return (
        f"no gain in {stop['metric']} in {count} evaluation{'s' * (count > 1)} after step "
        f"{stop['best_step']:,} ({100 * stop['best_value']:.2f}), --patience={count}"
    )


def _entry(evaluation: dict) -> dict:
    return {
        "step": evaluation["step"],
        "value": evaluation["value"],
        "sha256": evaluation["checkpoint"]["sha256"],
    }


def _name(step: int) -> str:
    return f"ckpt-{step}"


def _parts(prefix: str | os.PathLike) -> list[pathlib.Path]:
    prefix = pathlib.Path(prefix)
    return sorted(prefix.parent.glob(f"{prefix.name}.*"))


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    """A hard link, a copy where the file system has none."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with open(target, "rb") as file:
            os.fsync(file.fileno())


def _sync(folder: pathlib.Path) -> None:
    """Puts the folder's names on the disk, before best.json names a file of it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
