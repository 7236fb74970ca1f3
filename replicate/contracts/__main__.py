"""Writes the JSON Schemas of the kit's files from the types in this room."""

import json
import sys
from typing import Any

from replicate import contracts
from replicate.contracts import (
    data,
    explained,
    exports,
    generating,
    reports,
    runs,
    scores,
    verdicts,
)

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SEAL = {
    "checksum": {
        "description": "CRC-32 of what comes before; who edits the file by hand removes it",
        "type": "string",
        "pattern": "^[0-9a-f]{8}$",
    }
}
SHAPES: dict[str, tuple[str, Any]] = {
    "annotations": ("annotations.json of a run directory", runs.AnnotationsFile),
    "claim": ("claim.json: the contents of a bundle", scores.ClaimFile),
    "deviations": (
        "deviations.json: differences from the published config; null where none is "
        "known to compare with",
        verdicts.DeviationsFile,
    ),
    "environment": ("environment.json: what a run ran on", runs.EnvironmentFile),
    "explain": ("what tools/explain.py writes", explained.ExplainFile),
    "export": ("export.json: what was exported, and its contract", exports.ExportFile),
    "identity": ("identity.json: what makes it the same run", runs.IdentityFile),
    "ladder": ("ladder.json: what each form keeps", exports.LadderFile),
    "launch": ("launch/launch.json: where a run was launched", runs.LaunchFile),
    "ledger_line": ("a line of a conversion's drop ledger", data.LedgerLine),
    "log_line": ("a line of metrics.jsonl", runs.LogLine),
    "manifest": ("the manifest of a conversion", data.ManifestFile),
    "metrics": ("metrics.json: a score with its protocol", scores.MetricsFile),
    "preflight": ("preflight.json: what was checked at the launch", runs.PreflightFile),
    "record": ("the record of a benchmark", scores.RecordFile),
    "report": ("report.json: everything that the report's page says", reports.ReportFile),
    "spec": ("spec.json: what was asked", runs.SpecFile),
    "profile": ("profile.json: where the time of some training steps went", runs.ProfileFile),
    "start": ("start.json: the weights that a training began with", runs.StartFile),
    "training": ("training.json: the state of a training", runs.TrainingFile),
    "verdict": (
        "verdict.json: was the figure reached, under which conditions",
        verdicts.VerdictFile,
    ),
}


def document(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind as its file holds it: of the content, with version and seal."""
    title, shape = SHAPES[kind]
    made = generating.schema_of(shape)
    definitions = made.pop("$defs", {})
    head = {"$schema": _DIALECT, "$id": contracts.urn(kind), "title": title}
    if "$ref" in made:
        root = definitions.pop(made["$ref"].rpartition("/")[2])
        made = _enveloped(root, kind)
    elif kind == "deviations":
        made = _list(made, kind)
    else:
        made = _forms(made, definitions, kind)
    return head | made | ({"$defs": definitions} if definitions else {})


def _enveloped(root: dict, kind: str) -> dict:
    """An object's schema with the version and the checksum that its file has."""
    marked = kind not in contracts.UNMARKED
    version = {contracts.KEY: {"const": contracts.urn(kind)}} if marked else {}
    properties = version | root["properties"] | _SEAL
    required = [*version, *root["required"]]
    return root | {"properties": properties, "required": required}


def _forms(made: dict, definitions: dict[str, dict], kind: str) -> dict:
    """The schema of a file that has several forms, told apart by its field `form`."""
    cases = []
    for case in made["anyOf"]:
        name = case["$ref"].rpartition("/")[2]
        definitions[name] = _enveloped(definitions[name], kind)
        (form,) = definitions[name]["properties"]["form"]["enum"]
        cases.append({"if": {"properties": {"form": {"const": form}}}, "then": case})
    forms = [case["if"]["properties"]["form"]["const"] for case in cases]
    return {
        "type": "object",
        "properties": {"form": {"enum": forms}},
        "required": ["form"],
        "allOf": cases,
    }


def _list(made: dict, kind: str) -> dict:
    """A list's schema: its last element may be the seal."""
    array = next(each for each in made["anyOf"] if each.get("type") == "array")
    seal = {
        "type": "object",
        "properties": {contracts.KEY: {"const": contracts.urn(kind)}} | _SEAL,
        "required": [contracts.KEY, "checksum"],
        "additionalProperties": False,
    }
    items = {"if": {"required": ["checksum"]}, "then": seal, "else": array["items"]}
    return {"type": ["array", "null"], "items": items}


def text(kind: str) -> str:
    """The text of a kind's schema file."""
    return json.dumps(document(kind), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes every schema file."""
    from tfrecords.whole_files import written_whole

    for kind in contracts.VERSIONS:
        path = contracts.path_of(kind)
        with written_whole(path) as file:
            file.write(text(kind))
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
