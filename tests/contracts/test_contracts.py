"""The schemas that are shipped: those of the types, of what the writers write, and strict."""

import copy
import dataclasses
import itertools
import json
import typing

import jsonschema
import pytest

from replicate import contracts
from replicate.benchmarking.benchmark import BenchmarkRecord
from replicate.config import Scaling
from replicate.contracts import __main__ as made
from replicate.contracts import explained, runs, scores, verdicts
from replicate.contracts.kinds import KINDS
from replicate.errors import UserError
from replicate.execution import Execution
from replicate.explain.runs import RunDifference
from replicate.explain.search import Answer
from replicate.preflight.forecast import Forecast
from replicate.recognition.request import RecognitionRequest
from replicate.replication import ReplicationRequest
from replicate.run import read_json, write_json
from replicate.score.scoring import Result
from replicate.train_run import TrainingRequest
from replicate.verdict.conditions import ConditionChange, Conditions
from replicate.verdict.deciding import Verdict
from replicate.verdict.run_facts import RunFacts
from replicate.verdict.tolerance import Judged
from tests.report import making
from tfrecords import manifest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory that the kit's own functions wrote, with its report."""
    from replicate import report

    folder = tmp_path_factory.mktemp("contracts")
    written = making.run_directory(folder / "run", *making.groundtruth(folder), steps=(100, 200))
    report.write(written)
    report.write_comparison([written.root], written.root / "compared", samples=0)
    return written


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_shipped_schema_is_that_of_the_types(kind):
    shipped = contracts.path_of(kind).read_text(encoding="utf-8")
    assert shipped == made.text(kind), "run python -m replicate.contracts"
    schema = json.loads(shipped)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:replicate-tf2-zoo:{kind}:{KINDS[kind].version}"


def test_there_is_no_schema_too_many():
    folder = contracts.path_of("verdict").parent
    assert sorted(path.name.split(".")[0] for path in folder.iterdir()) == sorted(KINDS)


def _names(typed):
    return set(typing.get_type_hints(typed))


@pytest.mark.parametrize(
    ("written", "typed", "beside"),
    [
        (Verdict, verdicts.VerdictFile, set()),
        (Conditions, verdicts.Conditions, set()),
        (ConditionChange, verdicts.Change, set()),
        (RunFacts, verdicts.RunFacts, set()),
        (Forecast, runs.Forecast, {"disk_bytes"}),
        (RecognitionRequest, runs.RecognitionRequest, set()),
        (Answer, explained.OfDetections, {"format", "form"}),
        (RunDifference, explained.RunsDiffer, set()),
    ],
)
def test_a_dataclass_and_its_type_have_the_same_fields(written, typed, beside):
    assert {field.name for field in dataclasses.fields(written)} | beside == _names(typed)


def test_what_is_written_of_other_dataclasses_is_in_their_types():
    def fields(each):
        return {field.name for field in dataclasses.fields(each)}

    judged = fields(Judged)
    assert fields(Scaling) - {"rest"} == _names(verdicts.Scaling)
    assert judged <= _names(verdicts.Figure)
    asked = fields(ReplicationRequest) | fields(TrainingRequest)
    assert asked - {"accept"} == _names(runs.Request)
    assert fields(Execution) - {"accept"} <= _names(runs.Request)
    assert fields(BenchmarkRecord) - {"scores", "detected", "cached", "fix"} <= _names(
        scores.RecordFile
    )
    kept = fields(Result) - {"evaluations", "groundtruth", "image_ids"}
    assert kept <= _names(scores.Score)


def _files(run):
    yield "spec", run.spec
    yield "deviations", run.deviations
    yield "environment", run.environment
    yield "verdict", run.verdict
    yield "report", run.report / "report.json"
    yield "comparison", run.root / "compared" / "comparison.json"
    yield "metrics", run.eval_at(200) / "metrics.json"


def test_what_the_kit_writes_is_valid(run):
    """By the library itself, from the schema's file and the bytes on the disk."""
    for kind, path in _files(run):
        schema = json.loads(contracts.path_of(kind).read_bytes())
        document = json.loads(path.read_bytes())
        jsonschema.Draft202012Validator(schema).validate(document)
        assert contracts.violations(kind, document) == []
    for line in run.metrics.read_text().splitlines():
        document = json.loads(line)
        assert contracts.violations("log_line", document) == [
            "$: 'device' is a required property",  # the fixture draws its log
            "$: 'host' is a required property",
        ]


def _resolved(schema, root):
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _leaves(value, schema, root, path=()):
    """Paths of the values whose type the schema promises."""
    schema = _resolved(schema, root)
    if "anyOf" in schema:
        fitting = [
            each
            for each in schema["anyOf"]
            if not list(
                jsonschema.Draft202012Validator(each | {"$defs": root["$defs"]}).iter_errors(value)
            )
        ]
        schema = _resolved(fitting[0], root)
    if isinstance(value, dict):
        for name, each in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(inner, dict) and inner:
                yield from _leaves(each, inner, root, (*path, name))
    elif isinstance(value, list):
        inner = schema.get("items", {})
        for index, each in enumerate(value[:2]):
            if inner and "if" not in inner:
                yield from _leaves(each, inner, root, (*path, index))
            elif "else" in inner and "checksum" not in each:
                yield from _leaves(each, inner["else"], root, (*path, index))
    else:
        yield path


def _dotted(path):
    """As jsonschema writes a path: $.a[0].b, $.a['b c']."""
    from jsonschema.exceptions import ValidationError

    return ValidationError("", path=path).json_path


def _altered(run):
    """(kind, path, content): each promised value of each file in turn, of another type."""
    for kind, path in _files(run):
        schema, document = contracts.schema(kind), json.loads(path.read_bytes())
        for leaf in itertools.islice(_leaves(document, schema, schema), 1000):
            altered = copy.deepcopy(document)
            where = altered
            for name in leaf[:-1]:
                where = where[name]
            where[leaf[-1]] = ["altered"]
            yield kind, leaf, altered


def test_an_altered_field_is_rejected_with_its_path(run):
    tried = 0
    for kind, leaf, altered in _altered(run):
        told = contracts.violations(kind, altered)
        assert any(each.startswith(f"{_dotted(leaf)}: ") for each in told), (kind, leaf, told)
        tried += 1
    assert tried > 500


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("verdict", lambda v: v.update(verdict="SURELY"), "$.verdict: 'SURELY' is not one of"),
        ("verdict", lambda v: v.pop("conditions"), "$: 'conditions' is a required property"),
        ("verdict", lambda v: v.update(mood="good"), "('mood' was unexpected)"),
        ("metrics", lambda v: v["metrics"].update(AP=22.2), "$.metrics.AP: 22.2 is greater"),
        ("metrics", lambda v: v["metrics"].update(mAP=0.2), "$.metrics: 'mAP' is not one of"),
        (
            "metrics",
            lambda v: v["protocol"].update(sha256="0"),
            "$.protocol.sha256: '0' does not match",
        ),
        ("environment", lambda v: v["cpu"].update(cores="2"), "$.cpu.cores: '2' is not of type"),
        ("spec", lambda v: v.update(schema="urn:replicate-tf2-zoo:spec:0"), "$.schema: "),
        ("deviations", lambda v: v[0].pop("why"), "$[0]: 'why' is a required property"),
        (
            "report",
            lambda v: v["verdict"]["figures"][0].update(gap="small"),
            "$.verdict.figures[0].gap: 'small' is not of type",
        ),
    ],
)
def test_what_is_wrong_is_said(run, kind, change, told):
    document = json.loads(dict(_files(run))[kind].read_bytes())
    change(document)
    (message,) = contracts.violations(kind, document)
    assert told in message


def test_a_file_says_what_it_is(run):
    document = json.loads(run.verdict.read_bytes())
    assert next(iter(document)) == "schema"
    assert document["schema"] == "urn:replicate-tf2-zoo:verdict:1"
    assert "schema" not in read_json(run.verdict)
    held = json.loads(run.deviations.read_bytes())
    assert held[-1]["schema"] == "urn:replicate-tf2-zoo:deviations:1"
    assert read_json(run.deviations) == held[:-1]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("version", [0, 1])
def test_every_contract_can_be_read_by(kind, version):
    """Of another type than the contract's, nothing passes; what may be null does."""
    shape = KINDS[kind].shape()
    nothing = type(None) in typing.get_args(shape)
    assert contracts.fault(kind, 7, version=version).startswith("Expected `")
    assert (contracts.fault(kind, None, version=version) is None) == nothing


def test_what_is_read_of_the_present_version_is_held_against_the_whole_contract(run):
    for kind, path in _files(run):
        assert contracts.fault(kind, read_json(path), version=KINDS[kind].version) is None
    tried = 0
    for kind, leaf, altered in _altered(run):
        if leaf[-1] not in ("schema", "checksum"):
            wrong = contracts.fault(kind, altered, version=KINDS[kind].version)
            assert wrong is not None and " - at `$" in wrong, (kind, leaf, wrong)
            tried += 1
    assert tried > 500


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        # A field that was not written before is missed by none of the readers …
        ("verdict", lambda v: v.pop("conditions"), None),
        ("metrics", lambda v: v["detections"].pop("whole_pixels"), None),
        # … one that they all take is, at whatever depth.
        ("verdict", lambda v: v.pop("verdict"), "Object missing required field `verdict`"),
        (
            "metrics",
            lambda v: v.update(checkpoint={"path": "ckpt-1"}),
            "Object missing required field `sha256` - at `$.checkpoint`",
        ),
        # Another kit's word beside ours is not ours to judge.
        ("environment", lambda v: v["cpu"].update(sockets=2), None),
        # Ranges and words are those of the version that the file says.
        ("metrics", lambda v: v["metrics"].update(AP=22.2), "Expected `float` <= 1.0"),
        ("verdict", lambda v: v.update(verdict="SURELY"), "Invalid enum value 'SURELY'"),
        ("spec", lambda v: v["request"].update(seed="7"), "got `str` - at `$.request.seed`"),
    ],
)
def test_what_is_read_and_what_is_refused(run, tmp_path, kind, change, told):
    document = json.loads(dict(_files(run))[kind].read_bytes())
    del document["checksum"]  # as who edits it by hand
    change(document)
    path = tmp_path / f"{kind}.json"
    path.write_text(json.dumps(document))
    if told is None:
        assert read_json(path) == {name: document[name] for name in document if name != "schema"}
        return
    with pytest.raises(UserError) as raised:
        read_json(path)
    assert str(raised.value).startswith(f"{path}: not what the kit writes there (")
    assert told in str(raised.value) and "Restore it from a copy" in str(raised.value)


def test_of_an_older_version_only_what_is_needed_is_held(run, tmp_path):
    """Words and ranges, and the insides of its objects, may have been others."""
    old = {"verdict": "MAYBE", "conditions": {"answer": 3}, "achieved": {"box AP": 22.2}}
    (tmp_path / "verdict.json").write_text(json.dumps(old))
    assert read_json(tmp_path / "verdict.json") == old
    (tmp_path / "verdict.json").write_text(json.dumps(old | {"reasons": "none"}))
    with pytest.raises(UserError, match=r"Expected `array`, got `str` - at `\$.reasons`"):
        read_json(tmp_path / "verdict.json")


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("metrics", "AP50"), 52.3, r"<= 1.0 - at `\$.metrics.AP50`"),
        (("metrics", "AR@100"), float("nan"), r">= 0.0 - at `\$.metrics.AR@100`"),
        (("evaluators", "pycocotools", "AP"), 5.0, r"`\$.evaluators.pycocotools.AP`"),
        (("per_category", 0, "AP"), float("inf"), r"<= 1.0 - at `\$.per_category\[0\].AP`"),
        (("others", 0, "metrics", "AP"), -0.5, r"`\$.others\[0\].metrics.AP`"),
    ],
)
@pytest.mark.parametrize("old", [True, False])
def test_figures_are_held_in_every_version(old, where, value, said, run, tmp_path):
    """A figure out of its range is damage, and the one reader names its field and the way back."""
    path = tmp_path / "evals/200/metrics.json"
    path.parent.mkdir(parents=True)
    document = copy.deepcopy(read_json(run.eval_at(200) / "metrics.json"))
    document["others"] = [{**copy.deepcopy(document), "iou_type": "segm"}]
    if old:
        for score in (document, *document["others"]):
            score["metrics"]["APs"] = None  # undefined is no fault
    else:
        for name in ("step", "checkpoint", "images", "others"):
            document["others"][0].pop(name, None)
        document["schema"] = contracts.urn("metrics")
    path.write_text(json.dumps(document))
    assert read_json(path)["metrics"]
    inside = document
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = value
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=said) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert f"tools/evaluate.py --model_dir={tmp_path}" in str(caught.value)


def test_a_manifest_that_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(AssertionError, match="missing required field `source`"):
        manifest.write(tmp_path / "val", {"format": 1})
    assert list(tmp_path.iterdir()) == []


def test_an_older_version_is_told_and_read(run, monkeypatch, capsys):
    monkeypatch.setitem(KINDS, "verdict", dataclasses.replace(KINDS["verdict"], version=3))
    monkeypatch.setattr(contracts, "_named", set())
    assert read_json(run.verdict)["verdict"] == "NOT COMPARABLE"
    read_json(run.verdict)
    (told,) = capsys.readouterr().err.splitlines()
    assert told == (
        f'{run.verdict}: "schema" says version 1, the present one is 3; read as far as it goes'
    )


def test_one_from_before_there_were_versions_likewise(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contracts, "_named", set())
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps(read_json(run.verdict)))
    assert read_json(path)["verdict"] == "NOT COMPARABLE"
    (told,) = capsys.readouterr().err.splitlines()
    assert told == (
        f'{path}: of an older kit, whose files have no "schema"; read as far as it goes '
        "(other such files are not named)"
    )
    other = tmp_path / "environment.json"
    other.write_text('{"packages": {}}')
    assert read_json(other) == {"packages": {}}
    assert capsys.readouterr().err == ""  # once is enough, of whatever kind


def test_files_of_one_name_are_told_apart_by_what_they_say(run, tmp_path):
    path = tmp_path / "report.json"
    document = json.loads((run.report / "report.json").read_bytes())
    del document["sources"], document["checksum"]
    of_benchmark = document | {"schema": contracts.urn("benchmark_report"), "benchmark": True}
    path.write_text(json.dumps(of_benchmark))
    assert read_json(path)["benchmark"] is True
    path.write_text(json.dumps(of_benchmark | {"benchmark": False}))
    with pytest.raises(UserError, match=r"`\$.benchmark`"):
        read_json(path)


def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps({"schema": "urn:replicate-tf2-zoo:verdict:2", "verdict": "NEAR"}))
    with pytest.raises(UserError, match="written by a newer version of the kit"):
        read_json(path)


def test_in_tests_the_kit_cannot_write_what_its_contract_does_not_say(tmp_path):
    """As a room of the kit, that is: what a test itself writes is its own business."""
    write_json(tmp_path / "verdict.json", {"verdict": "NEAR"})
    room = {"__name__": "replicate.some_room", "write_json": write_json, "folder": tmp_path}
    with pytest.raises(contracts.Broken, match="is a required property"):
        exec("write_json(folder / 'verdict.json', {'verdict': 'NEAR'})", room)
