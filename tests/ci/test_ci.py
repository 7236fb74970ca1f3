"""What the tools write for continuous integration, read by the other side's own code."""

import json
import os
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import yaml

import tfrecords
from replicate import ci, config
from replicate.run import write_json
from tests.conftest import PROJECT
from tests.publish import others
from tests.report import making

MODEL = making.MODEL
CHECKS = [
    ci.Check("model.ssd.num_classes", ci.ERROR, "50 %, 3: no\nor 4 <&>", "a,b.config", 3, 5),
    ci.Check("train_config", ci.WARNING, "mind\x07", "b.config"),
    ci.Check("AP", ci.NOTICE, "AP is 0.5000"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The workflow's folder: configs/, annotations/, detections.json.gz, and the command."""
    root = tmp_path_factory.mktemp("ci")
    annotations, images = making.groundtruth(root / "drawn")
    for name in ("configs", "annotations", "bin"):
        (root / name).mkdir()
    tfrecords.convert(annotations, images, str(root / "data" / "val"), 1, progress=False)
    tfrecords.write_label_map(annotations, str(root / "data" / "label_map.pbtxt"))
    message = config.render(
        MODEL,
        overrides=[("train_config.batch_size", "16")],
        train_records="data/val-?????-of-00001.tfrecord",
        val_records="data/val-?????-of-00001.tfrecord",
        label_map="data/label_map.pbtxt",
        num_classes=3,
        fine_tune_checkpoint="",
    )
    (root / "configs" / "pipeline.config").write_text(config.to_text(message))
    shutil.copyfile(annotations, root / "annotations" / "instances_val2017.json")
    write_json(root / "detections.json.gz", making.detections(annotations, 0.9))
    command = root / "bin" / "replicate-tf2-zoo"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m replicate "$@"\n')
    command.chmod(0o755)
    return root


def _shell(folder, line):
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    surroundings = {**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        line, shell=True, cwd=folder, env=surroundings, capture_output=True, text=True
    )


# --- the formats


def test_github_reads_back_what_was_meant():
    """Unescaped as GitHub's runner does it (actions/runner, ActionCommand)."""
    lines = ci.text("github", "lint_config", CHECKS).splitlines()
    assert len(lines) == 3
    level, properties, message = re.fullmatch(r"::(\w+) (.*?)::(.*)", lines[0]).groups()

    def back(text, marks):
        for code, mark in marks:
            text = text.replace(code, mark)
        return text

    data = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
    in_property = (("%3A", ":"), ("%2C", ","), *data)
    told = dict(each.split("=", 1) for each in properties.split(","))
    told = {name: back(value, in_property) for name, value in told.items()}
    assert level == "error" and back(message, data) == CHECKS[0].message
    assert told == {
        "file": "a,b.config",
        "line": "3",
        "col": "5",
        "title": "lint_config: model.ssd.num_classes",
    }


_READ_JUNIT = """
import sys, json
from junitparser import JUnitXml, Failure
xml = JUnitXml.fromfile(sys.argv[1])
cases = [case for suite in xml for case in suite]
print(json.dumps({"tests": xml.tests, "failures": xml.failures,
  "names": [case.name for case in cases],
  "failed": [case.name for case in cases if any(isinstance(r, Failure) for r in case.result)]}))
"""


def test_junit_is_what_its_readers_read(tmp_path):
    (tmp_path / "a.xml").write_text(ci.text("junit", "lint_config", CHECKS))
    status, output = others.run(_READ_JUNIT, tmp_path / "a.xml")
    assert status == 0, output
    read = json.loads(output)
    assert (read["tests"], read["failures"]) == (3, 1)
    assert read["names"] == [each.rule for each in CHECKS]
    assert read["failed"] == ["model.ssd.num_classes"]
    altered = ci.text("junit", "lint_config", CHECKS).replace("</testsuite>", "", 1)
    (tmp_path / "b.xml").write_text(altered)
    assert others.run(_READ_JUNIT, tmp_path / "b.xml")[0] != 0


def test_a_file_is_named_by_an_address_in_sarif(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = ci.Check("AP", ci.ERROR, "no", "my configs/a#1.config")
    outside = ci.Check("AP", ci.ERROR, "no", str(tmp_path.parent / "b c.config"))
    log = json.loads(ci.text("sarif", "score", [inside, outside]))
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in log["runs"][0]["results"]
    ]
    assert uris == ["my%20configs/a%231.config", (tmp_path.parent / "b c.config").as_uri()]


def test_every_character_leaves_xml_readable():
    marks = "".join(map(chr, range(0x300))) + "\ud800\ufffe\uffff\U0001f600"
    read = ElementTree.fromstring(ci.text("junit", "score", [ci.Check("AP", ci.NOTICE, marks)]))
    assert read.find(".//system-out").text.endswith("\ufffd\ufffd\ufffd\U0001f600")


_READ_SARIF = """
import sys, json
from sarif_pydantic import Sarif
log = Sarif.model_validate_json(open(sys.argv[1]).read())
results = log.runs[0].results
place = results[0].locations[0].physical_location
print(json.dumps({"version": log.version, "rules": [r.rule_id for r in results],
  "level": str(getattr(results[0].level, "value", results[0].level)),
  "uri": place.artifact_location.uri, "line": place.region.start_line,
  "column": place.region.start_column}))
"""


def test_sarif_is_what_its_readers_read(tmp_path):
    written = ci.text("sarif", "lint_config", CHECKS)
    (tmp_path / "a.sarif").write_text(written)
    status, output = others.run(_READ_SARIF, tmp_path / "a.sarif")
    assert status == 0, output
    assert json.loads(output) == {
        "version": "2.1.0",
        "rules": [each.rule for each in CHECKS],
        "level": "error",
        "uri": "a%2Cb.config",
        "line": 3,
        "column": 5,
    }
    document = json.loads(written)
    del document["runs"][0]["tool"]
    (tmp_path / "b.sarif").write_text(json.dumps(document))
    assert others.run(_READ_SARIF, tmp_path / "b.sarif")[0] != 0


def test_json_is_the_checks():
    assert [ci.Check(**each) for each in json.loads(ci.text("json", "x", CHECKS))] == CHECKS


def test_nothing_to_say_is_a_passing_report():
    assert ci.text("github", "x", []) == ""
    assert 'tests="1" failures="0"' in ci.text("junit", "x", [])
    assert json.loads(ci.text("sarif", "x", []))["runs"][0]["results"] == []


# --- the tools


def _place_of(text, field):
    """Line and column of a field's first occurrence, both from 1."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(field):
            return number, len(line) - len(line.lstrip()) + 1
    raise AssertionError(field)


def test_a_finding_stands_at_its_line_and_column(folder):
    path = folder / "configs" / "wrong.config"
    text = (folder / "configs" / "pipeline.config").read_text()
    path.write_text(text.replace("num_classes:", "number_of_classes:", 1))
    line, column = _place_of(path.read_text(), "number_of_classes")
    both = "configs/pipeline.config configs/wrong.config"
    done = _shell(folder, f"replicate-tf2-zoo lint_config {both} --format=github")
    assert done.returncode == 1, done.stderr
    at = f"file=configs/wrong.config,line={line},col={column},"
    assert any(each.startswith(f"::error {at}") for each in done.stdout.splitlines()), done.stdout
    path.unlink()


def test_a_difference_stands_at_its_line(folder):
    text = (folder / "configs" / "pipeline.config").read_text()
    line, column = _place_of(text, "batch_size: 16")
    asked = f"replicate-tf2-zoo diff_config {MODEL} configs/pipeline.config --format=sarif"
    done = _shell(folder, asked)
    assert done.returncode == 1, done.stderr
    results = json.loads(done.stdout)["runs"][0]["results"]
    (found,) = (each for each in results if each["ruleId"] == "train_config.batch_size")
    assert found["level"] == "error" and "16 against 128" in found["message"]["text"]
    region = found["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": line, "startColumn": column}
    assert (
        _shell(folder, f"replicate-tf2-zoo diff_config {MODEL} {MODEL} --format=junit").returncode
        == 0
    )


@pytest.mark.parametrize(
    ("least", "status", "said"), [("0.05", 0, "::notice"), ("0.99", 1, "::error")]
)
def test_a_metric_is_a_gate(folder, least, status, said):
    asked = (
        "replicate-tf2-zoo score --annotations_file=annotations/instances_val2017.json "
        f"--detections=detections.json.gz --at_least=AP={least}"
    )
    done = _shell(folder, f"{asked} --format=github")
    assert done.returncode == status, done.stderr
    assert done.stdout.startswith(f"{said} title=score%3A AP::AP is 0.")
    plain = _shell(folder, asked)
    assert plain.returncode == status
    assert f"{'below' if status else 'reached'}: AP is" in plain.stdout


@pytest.mark.parametrize("wanted", ["mAP=0.4", "AP=40", "AP", "AP=nan"])
def test_a_gate_that_cannot_be_meant(folder, wanted):
    done = _shell(
        folder,
        "replicate-tf2-zoo score --annotations_file=annotations/instances_val2017.json "
        f"--detections=detections.json.gz --at_least={wanted}",
    )
    assert done.returncode == 2 and f"--at_least={wanted}" in done.stderr


def test_a_verdict_is_told(folder, tmp_path):
    annotations = folder / "annotations" / "instances_val2017.json"
    run = making.run_directory(tmp_path / "a", annotations, tmp_path, steps=(100,))
    done = _shell(folder, f"replicate-tf2-zoo verdict {run.root} --format=github")
    assert done.returncode == 3
    assert done.stdout.startswith("::error title=verdict%3A verdict::NOT COMPARABLE")
    told = _shell(folder, f"replicate-tf2-zoo verdict {run.root} --format=json")
    assert json.loads(told.stdout)["verdict"] == "NOT COMPARABLE"


# --- the how-to


def _workflow():
    text = (PROJECT / "docs" / "how-to-ci.md").read_text()
    return yaml.safe_load(re.search(r"```yaml\n(name: .*?)```", text, re.DOTALL)[1])


def test_the_workflows_commands_do_what_they_say(folder):
    steps = [each for each in _workflow()["jobs"]["check"]["steps"] if "run" in each]
    assert len(steps) >= 6
    for step in steps:
        if step["run"].startswith("pip install"):
            continue  # the folder's command is the installed one
        done = _shell(folder, step["run"])
        answers = (0, 1) if step.get("continue-on-error") else (0,)
        assert done.returncode in answers, (step, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    assert json.loads((folder / "lint.sarif").read_text())["version"] == "2.1.0"
    assert json.loads((folder / "metrics.json").read_text())["metrics"]["AP"] > 0.3
    assert "<testsuites" in (folder / "score.xml").read_text()


def test_the_workflow_is_one():
    workflow = _workflow()
    assert {"name", "jobs", "permissions"} <= set(
        workflow
    ) and True in workflow  # "on", in YAML 1.1
    for step in workflow["jobs"]["check"]["steps"]:
        assert ("uses" in step) != ("run" in step)


def test_the_hooks_are_what_pre_commit_reads(folder, tmp_path):
    manifest = PROJECT / ".pre-commit-hooks.yaml"
    validate = "import sys; from pre_commit.main import main; sys.exit(main(sys.argv[1:]))"
    status, output = others.run(validate, "validate-manifest", manifest)
    assert status == 0, output
    hooks = yaml.safe_load(manifest.read_text())
    del hooks[0]["entry"]
    (tmp_path / "altered.yaml").write_text(yaml.safe_dump(hooks))
    assert others.run(validate, "validate-manifest", tmp_path / "altered.yaml")[0] != 0


def test_a_hooks_entry_lints_the_files_that_it_names(folder):
    hooks = yaml.safe_load((PROJECT / ".pre-commit-hooks.yaml").read_text())
    named = re.compile(hooks[0]["files"])
    assert named.search("configs/pipeline.config") and named.search("pipeline_a.config")
    assert not named.search("configs/other.config") and not named.search("pipeline.config.bak")
    for hook in hooks:
        done = _shell(folder, f"{hook['entry']} configs/pipeline.config")
        assert done.returncode == 0, done.stderr
