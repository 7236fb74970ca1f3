"""What a run directory holds, read with patience: what is missing is noted, never an error."""

import dataclasses
import pathlib
import sys
from typing import Any

from replicate import engine, environment, records, verdict
from replicate.errors import UserError
from replicate.report import damaged
from replicate.run import RunDir, read_json, read_log
from replicate.verdict import measured
from tfrecords import manifest as manifests

#: Of `RunFiles.not_checked`.
VERDICT = "the verdict"


@dataclasses.dataclass
class RunFiles:
    """The files of a run, None (or empty) where there is none.

    Attributes:
      run: RunDir.
      spec, environment, verdict: dicts.
      deviations: list of dicts, as deviations.json.
      message: the TrainEvalPipelineConfig, from pipeline.config.
      log: the logged steps of metrics.jsonl.
      evaluations: list of metrics.json's dicts, ascending by step.
      preflight: preflight.json as a dict, None where there is none.
      forced: sentences of preflight that --force overrode.
      manifests: dict split ("train", "val") -> the manifest's dict.
      measured: what tools/explain.py measured of the run's model, as of verdict.measured.of_run.
      damaged: list of {"file", "why"}: files that are there and cannot be read.
      not_checked: list of {"what", "why"}: what the report cannot say.
    """

    run: RunDir
    spec: dict | None = None
    environment: dict | None = None
    verdict: dict | None = None
    deviations: list[dict] | None = None
    preflight: dict | None = None
    message: Any = None
    log: list[dict] = dataclasses.field(default_factory=list)
    evaluations: list[dict] = dataclasses.field(default_factory=list)
    manifests: dict[str, dict] = dataclasses.field(default_factory=dict)
    measured: list[dict] = dataclasses.field(default_factory=list)
    forced: list[str] = dataclasses.field(default_factory=list)
    damaged: list[dict] = dataclasses.field(default_factory=list)
    not_checked: list[dict] = dataclasses.field(default_factory=list)

    @property
    def of_zoo(self) -> bool:
        """Whether the run is held against the zoo's figure: not where another reference was named,
        and not where a fine-tuning has none."""
        if self.verdict is not None:
            return verdict.reference_kind(self.verdict) == "zoo"
        return not verdict.finetunes(self.run)

    @property
    def request(self) -> dict:
        """What was asked of tools/replicate.py; empty where the run was made otherwise."""
        return (self.spec or {}).get("request", {})

    @property
    def references(self) -> dict[str, float]:
        """Figure's name -> points, of a reference of the user's own."""
        return {} if self.of_zoo else (self.verdict or {}).get("published", {})

    @property
    def why_no_verdict(self) -> str:
        """Why the report has no verdict, as far as it is known."""
        said = (reason["why"] for reason in self.not_checked if reason["what"] == VERDICT)
        return next(said, "there is no verdict.json in the run")

    def cannot_say(self, what: str, why: str) -> None:
        self.not_checked.append({"what": what, "why": why})


def read(run: RunDir) -> RunFiles:
    """The RunFiles of a run directory.

    Args:
      run: RunDir.
    """
    files = RunFiles(run)
    for name, path, what in (
        ("spec", run.spec, "what was asked for, and the command"),
        ("deviations", run.deviations, "deviations from the published config"),
    ):
        setattr(files, name, _json(files, path, what))
    if files.deviations is None and run.deviations.is_file():
        files.cannot_say(
            "deviations from the published config",
            "it is not known of which zoo model the config is; tools/train.py --model names it",
        )
    try:
        files.environment = environment.of_run(run)
    except UserError as error:
        files.cannot_say("the environment", damaged.short(error, run))
    try:
        files.message = engine.of_run(run.config)
    except UserError as error:
        files.cannot_say("the config as it ran", damaged.short(error, run))
    files.damaged = damaged.of_run(run)
    files.log, lines = read_log(run.metrics)
    if lines:
        print(f"{run.metrics}: {lines}", file=sys.stderr)
        files.cannot_say("some logged steps", f"metrics.jsonl: {lines}")
    if not files.log:
        files.cannot_say("losses, learning rate and speed", "no metrics.jsonl in the run")
    for step in run.evaluated_steps():
        metrics = _json(files, run.eval_at(step) / "metrics.json", f"the metrics of step {step}")
        if metrics is not None:
            files.evaluations.append(metrics | {"step": metrics.get("step", step)})
    files.verdict = _verdict(files)
    for step in run.unfinished_steps():
        why = f"evals/{step} is not complete: in progress, stopped or damaged"
        files.cannot_say(f"the evaluation of step {step}", why)
    if not files.evaluations:
        files.cannot_say("AP and everything that follows from detections", "no evaluation")
    files.manifests = _manifests(files)
    files.measured = measured.of_run(run)
    if run.preflight.is_file():
        files.preflight = _json(files, run.preflight, "what preflight said at the launch")
        files.forced = (files.preflight or {}).get("forced", [])
    return files


def _verdict(files: RunFiles) -> dict | None:
    """verdict.json; of a run that was trained and evaluated in pieces, decided now."""
    if files.run.verdict.is_file() or not files.evaluations:
        return _json(files, files.run.verdict, VERDICT)
    try:
        return verdict.of_runs([files.run]).to_json()
    except UserError as error:
        files.cannot_say(VERDICT, damaged.short(error, files.run))
        return None


def _json(files: RunFiles, path: pathlib.Path, what: str) -> Any:
    try:
        return read_json(path)
    except UserError as error:
        files.cannot_say(what, damaged.short(error, files.run))
        return None


def _manifests(files: RunFiles) -> dict[str, dict]:
    folder = files.run.data
    of_split = {}
    for split, path in manifests.in_folder(folder).items():
        manifest = _json(files, path, f"the manifest of {split}")
        if manifest is not None:
            of_split[split] = manifest
    if not of_split and files.message is not None:  # tools/train.py: records that lie elsewhere
        held = records.of_config(files.message)
        of_split = {
            split: split_records.manifest
            for split, split_records in held.items()
            if split_records.manifest
        }
        for split, split_records in held.items():
            if split_records.damaged:
                files.cannot_say(f"the manifest of {split}", split_records.damaged)
    if not of_split:
        files.cannot_say(
            "records: counts and dropped annotations",
            "no manifest in data/ or beside the config's records",
        )
    return of_split
