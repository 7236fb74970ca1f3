"""The kinds of file that have a contract: what each is, its version, and where its type stands."""

import dataclasses
import importlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
      title: what it is.
      type: where its type stands, "module:name"; a module of this room begins with a point.
      named: whether its files are called for it, verdict.json for "verdict".
      called: the kind whose name its files have, where that is another: a report.json that says it
        is a "recognition_report" is one.
      marked: whether its files say their version. A manifest's is its `format`; lines have none.
      version: raised when a field is taken out or means something else; 0 is what was written
        before files said theirs.
    """

    title: str
    type: str
    named: bool = True
    called: str = ""
    marked: bool = True
    version: int = 1

    def shape(self) -> Any:
        """The type; its module is not read before it is needed."""
        module, _, name = self.type.partition(":")
        return getattr(importlib.import_module(module, __package__), name)


KINDS = {
    # An annotations.json is what COCO's files are called too.
    "annotations": Kind(
        "annotations.json of a run directory", ".runs:AnnotationsFile", named=False
    ),
    "benchmark_report": Kind(
        "report.json of a benchmark's page",
        ".reports:BenchmarkReportFile",
        named=False,
        called="report",
    ),
    "best": Kind("best/best.json: the best checkpoint by a metric", ".runs:BestFile"),
    "claim": Kind("claim.json: the contents of a bundle", ".scores:ClaimFile"),
    "comparison": Kind(
        "comparison.json: every figure of a comparison's page", ".comparisons:ComparisonFile"
    ),
    "deviations": Kind(
        "deviations.json: differences from the published config; null where none is known to "
        "compare with",
        ".verdicts:DeviationsFile",
    ),
    "early_stop": Kind("early_stop.json: why a training is to end early", ".runs:EarlyStopFile"),
    "environment": Kind("environment.json: what a run ran on", ".runs:EnvironmentFile"),
    "explain": Kind("what tools/explain.py writes", ".explained:ExplainFile", named=False),
    "export": Kind("export.json: what was exported, and its contract", ".exports:ExportFile"),
    "identity": Kind("identity.json: what makes it the same run", ".runs:IdentityFile"),
    "ladder": Kind("ladder.json: what each form keeps", ".exports:LadderFile"),
    "launch": Kind("launch/launch.json: where a run was launched", ".runs:LaunchFile"),
    "ledger_line": Kind(
        "a line of a conversion's drop ledger",
        "tfrecords.manifest_shape:LedgerLine",
        named=False,
        marked=False,
    ),
    "log_line": Kind("a line of metrics.jsonl", ".runs:LogLine", named=False, marked=False),
    "manifest": Kind(
        "the manifest of a conversion",
        "tfrecords.manifest_shape:ManifestFile",
        named=False,
        marked=False,
    ),
    "metrics": Kind("metrics.json: a score with its protocol", ".scores:MetricsFile"),
    "preflight": Kind("preflight.json: what was checked at the launch", ".runs:PreflightFile"),
    "profile": Kind(
        "profile.json: where the time of some training steps went", ".runs:ProfileFile"
    ),
    "recognition_report": Kind(
        "report.json of a recognition run",
        ".recognition:RecognitionReportFile",
        named=False,
        called="report",
    ),
    "record": Kind("the record of a benchmark", ".scores:RecordFile", named=False),
    "report": Kind("report.json: everything that the report's page says", ".reports:ReportFile"),
    "spec": Kind("spec.json: what was asked", ".runs:SpecFile"),
    "start": Kind("start.json: the weights that a training began with", ".runs:StartFile"),
    "training": Kind("training.json: the state of a training", ".runs:TrainingFile"),
    "verdict": Kind(
        "verdict.json: was the figure reached, under which conditions", ".verdicts:VerdictFile"
    ),
}
