"""Who takes part in a comparison: run directories, and records of tools/benchmark.py."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from replicate import engine, score
from replicate.errors import UserError
from replicate.report import content, damaged, findings, sources
from replicate.run import RunDir, read_json
from replicate.score import text


@dataclasses.dataclass(frozen=True)
class EvaluatedDetections:
    """Detections and what they were scored with.

    Attributes:
      step: of the checkpoint; None of a benchmark.
      detections, annotations_file: paths.
      iou_type: kind of score.
      ap: the AP that was recorded.
      num_images: the first so many images by id were scored; None for all.
    """

    step: int | None
    detections: str
    annotations_file: str
    iou_type: str
    ap: float | None
    num_images: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Participant:
    """One run or benchmark of a comparison.

    Attributes:
      key: "r0", "r1" …, its name in the page's data.
      name: unique among the participants.
      path: as it was given.
      kind: "run" or "benchmark".
      facts: dict of what the table of runs shows, see `comparison`.
      report: the run's report (content.of_run), or {}.
      message: the TrainEvalPipelineConfig of a run, or None.
      evaluations: list of EvaluatedDetections, ascending by step; empty where the
        detections are not at hand.
      image_dir: the folder of the images that it was evaluated on, or None.
      no_detections: why `evaluations` is empty, where it is.
    """

    key: str
    name: str
    path: str
    kind: str
    facts: dict
    report: dict
    message: Any
    evaluations: list[EvaluatedDetections]
    image_dir: str | None = None
    no_detections: str = "its detections are not at hand"

    @functools.cache  # noqa: B019  # a participant lives as long as the comparison
    def scored(self, index: int = -1) -> score.Result:
        """score.Result of an evaluation, by hotcoco.

        Raises:
          UserError: a file is missing, or the AP comes out other than recorded.
        """
        evaluation = self.evaluations[index]
        result = score.score(
            evaluation.annotations_file,
            evaluation.detections,
            iou_type=evaluation.iou_type,
            evaluator="hotcoco",
            num_images=evaluation.num_images,
        )
        if not findings.same(result.metrics["AP"], evaluation.ap):
            raise UserError(
                f"{self.path}: scored again, AP is {result.metrics['AP']}, "
                f"recorded was {evaluation.ap}"
            )
        return result


def read(paths: Iterable[str | os.PathLike[str]]) -> list[Participant]:
    """The participants, in the order given.

    Args:
      paths: run directories, and records of tools/benchmark.py: "record.json", or
        "record.json:detections.json.gz" with the detections that were scored.

    Raises:
      UserError: a path that is neither.
    """
    given = [str(path) for path in paths]
    names = _names([path if pathlib.Path(path).is_dir() else path.split(":")[0] for path in given])
    return [
        _of_run(f"r{number}", name, path)
        if pathlib.Path(path).is_dir()
        else _of_record(f"r{number}", name, path)
        for number, (name, path) in enumerate(zip(names, given, strict=True))
    ]


def _names(paths: list[str]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [_without_ending(pathlib.Path(path).resolve()).parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError(f"the same run twice: {', '.join(paths)}")


def _without_ending(path: pathlib.Path) -> pathlib.Path:
    """A record's path without .json; a run directory's name may hold a dot (rate_0.02)."""
    return path.with_suffix("") if path.suffix == ".json" else path


def _of_run(key: str, name: str, path: str) -> Participant:
    run = RunDir.existing(path)
    for entry in damaged.of_run(run):  # a report leaves that out; a comparison would mislead
        raise UserError(f"{run.root / entry['file']}: {entry['why']}")
    report = _report(run)
    metrics, training = report["metrics"], report["training"]
    verdict, plan = report["verdict"], report["schedule"]
    facts = {
        "model": report["model"]["name"],
        # One of another evaluation would stand beside figures that it is not of.
        "verdict": verdict["verdict"] if verdict and "of_another" not in verdict else None,
        "step": metrics["step"] if metrics else None,
        "metrics": {row["name"]: row["value"] for row in metrics["rows"]} if metrics else {},
        "F1_50": report["checkpoints"][-1]["F1_50"] if report["checkpoints"] else None,
        "total_loss": _total(training["final_losses"]) if training else None,
        "train_images_per_second": training["median_images_per_second"] if training else None,
        "input_wait": training["median_input_wait"] if training else None,
        "images_seen": plan["images_seen"] if plan else None,
        "latency_ms": None,
        "device": _device(report["environment"]),
        "seed": report["request"].get("seed"),
        "made_by": metrics["made_by"] if metrics else "",
        "evaluated_on": _on(metrics["annotations"], metrics["iou_type"]) if metrics else None,
        "batch_size": plan["batch_size"] if plan else None,
        "train_images": _train_images(report),
        "remarks": metrics["remarks"] if metrics else [],
    }
    evaluations = [
        EvaluatedDetections(
            step=checkpoint["step"],
            detections=str(run.eval_at(checkpoint["step"]) / "detections.json.gz"),
            annotations_file=metrics["annotations"]["file"],
            iou_type=metrics["iou_type"],
            ap=checkpoint["metrics"]["AP"],
        )
        for checkpoint in report["checkpoints"]
        if report["gallery"]  # the report has scored these detections again
    ]
    message = engine.of_run(run.config) if run.config.is_file() else None
    image_dir = report["request"].get("val_images")
    return Participant(
        *(key, name, str(path), "run", facts, report, message, evaluations, image_dir),
        no_detections=_why_not_scored(report),
    )


def _why_not_scored(report: dict) -> str:
    """Why the report did not score the last evaluation's detections again, as it says itself."""
    if not report["metrics"]:
        return "it was not evaluated"
    what = findings.of_step(report["metrics"]["step"])
    said = (entry["why"] for entry in report["not_checked"] if entry["what"] == what)
    return next(said, Participant.no_detections)


def _of_record(key: str, name: str, path: str) -> Participant:
    path, _, detections = path.partition(":")
    record = read_json(path)
    if not isinstance(record, dict) or not {"model", "metrics", "dataset"} <= set(record):
        raise UserError(
            f"{path}: neither a run directory nor a record of tools/benchmark.py (--output=…)"
        )
    iou_type, metrics = next(iter(record["metrics"].items()))
    speed = record.get("speed") or {}
    facts = {
        "model": record["model"]["name"],
        "verdict": _of_published(record.get("published", [])),
        "step": None,
        "metrics": metrics,
        "F1_50": None,
        "total_loss": None,
        "train_images_per_second": None,
        "input_wait": None,
        "images_seen": None,
        "latency_ms": (speed.get("latency_ms") or {}).get("median"),
        "device": speed.get("device"),
        "seed": None,
        "evaluated_on": _on(
            {"file": record["dataset"].get("annotations_file")}
            | {"sha256": record["dataset"].get("annotations_sha256")}
            | {"images": record["dataset"].get("images")},
            iou_type,
        ),
        "batch_size": None,
        "train_images": None,
        "made_by": text.of_inference(record.get("inference")),
        "remarks": record.get("remarks", {}).get(iou_type, []),
    }
    evaluations = []
    if detections:
        if not os.path.isfile(detections):
            raise UserError(f"{detections}: no such file (the detections of {path})")
        evaluations = [
            EvaluatedDetections(
                step=None,
                detections=detections,
                annotations_file=record["dataset"]["annotations_file"],
                iou_type=iou_type,
                ap=metrics["AP"],
                num_images=record["dataset"]["images"],
            )
        ]
    image_dir = record["dataset"].get("image_dir")
    return Participant(key, name, path, "benchmark", facts, {}, None, evaluations, image_dir)


def _report(run: RunDir) -> dict:
    """The run's report.json where it was made from just what is there; otherwise made afresh."""
    path = run.report / "report.json"
    if path.is_file():
        report = read_json(path)
        if report.get("sources") == sources.fingerprint(run):
            return report
    return content.of_run(run)


def _on(annotations: dict, iou_type: str) -> dict:
    """What a run was evaluated on."""
    return {
        "annotations_sha256": annotations.get("sha256"),
        "images": annotations.get("images"),
        "iou_type": iou_type,
        "file": pathlib.Path(str(annotations.get("file"))).name,
    }


def _train_images(report: dict) -> int | None:
    records = report["data"]["records"]
    return next(
        (records_of["images"] for records_of in records if records_of["split"] == "train"), None
    )


def _total(losses: dict[str, float]) -> float | None:
    return next((value for name, value in losses.items() if name.endswith("total_loss")), None)


def _device(environment: dict | None) -> str | None:
    if not environment:
        return None
    gpus = [gpu.get("device_name", "GPU") for gpu in environment.get("gpus", [])]
    cores = environment.get("cpu", {}).get("cores")
    return ", ".join(gpus) or (f"CPU, {cores} cores" if cores else None)


def _of_published(published: list[dict]) -> str | None:
    """The worst of a benchmark's verdicts against published figures, or None."""
    from replicate.verdict import VERDICTS

    verdicts = [figure["verdict"] for figure in published if figure.get("verdict") in VERDICTS]
    return max(verdicts, key=VERDICTS.index, default=None)
