"""A finished run with a damaged file, or a verdict of another evaluation: told by each reader."""

import json
import shutil

import pytest

from replicate import identity
from replicate.report import damaged
from replicate.run import RunDir, read_json, write_json
from replicate.verdict import of_another

AGAIN = "python tools/verdict.py"


@pytest.fixture
def run(tools, finished, tmp_path):
    """A copy of the finished run that has what a training leaves, and its report."""
    run = RunDir.at(tmp_path / "s" / "runs")
    shutil.copytree(finished.root, run.root)
    content = {"path": "", "type": "", "sha256": None, "matched": 0, "variables": 0, "others": 0}
    write_json(run.start, content)
    from replicate import config

    write_json(run.identity, identity.of(config.load(run.config), 0, "float32") | {"accepted": []})
    write_json(run.preflight, {"format": 1, "results": [], "forced": []})
    write_json(run.annotations, {"format": 1, "files": {}, "facts": {}}, kind="annotations")
    ended = tools.run("report", f"--run_dir={run.root}")
    assert ended.status == 0 and "damaged" not in ended.stderr, ended
    return run


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_cut_last_evaluation_is_told_at_the_top(tools, run, tmp_path):
    """The verdict stays that of step 200, and says so; the metrics are those of step 100."""
    (of_100,), (of_200,) = run.scores_at(100), run.scores_at(200)
    _cut(run.eval_at(200) / "metrics.json")
    ended = tools.run("report", f"--run_dir={run.root}")
    assert ended.status == 1, ended
    assert "evals/200/metrics.json is damaged: not readable as JSON" in ended.stderr
    assert f"tools/evaluate.py --model_dir={run.root}" in ended.stderr
    page = read_json(run.report / "report.json")
    assert page["facts"][0]["label"] == "Damaged file" and page["facts"][0]["ok"] is False
    assert page["facts"][0]["text"].startswith("evals/200/metrics.json: not readable as JSON")
    assert page["metrics"]["step"] == 100
    then, now = (100 * each["metrics"]["AP"] for each in (of_200, of_100))
    said = f"decided of step 200 (box AP {then:.2f}), not of step 100 (box AP {now:.2f})"
    assert said in page["verdict"]["sentence"] and said in ended.stderr
    for text in ((run.report / "report.md").read_text(), (run.report / "index.html").read_text()):
        assert said in text.replace("\\", "") and "Damaged file" in text
    (step,) = page["answers"]["next"]
    assert step["command"] == f"python tools/evaluate.py --model_dir={run.root}"
    assert page["answers"]["interval"] is None  # that of step 100 beside the figure of step 200

    for tool in (
        ("verdict", run.root),
        ("compare_runs", run.root, f"--output={tmp_path / 'c'}"),
        ("bundle", run.root, f"--output={tmp_path / 'claim.tar.gz'}"),
        ("publish", run.root, "--format=badge", f"--output={tmp_path / 'badge.json'}"),
    ):
        ended = tools.run(*tool)
        assert ended.status == 2 and "evals/200/metrics.json: not readable" in ended.stderr, ended
    ended = tools.run("status", run.root, "--json")
    (state,) = json.loads(ended.stdout)
    assert state["state"] == "damaged" and "evals/200/metrics.json" in state["reason"]


def test_a_verdict_of_another_evaluation_is_told(tools, run, tmp_path):
    """One that was not decided anew after a later evaluation; judged again, all is well."""
    from tests.report.making import detections, write_evaluation

    annotations_file = run.scores_at(200)[0]["annotations"]["file"]
    write_evaluation(run, 300, annotations_file, detections(annotations_file, 0.3))
    ended = tools.run("report", f"--run_dir={run.root}")
    assert ended.status == 1 and "decided of step 200 (box AP" in ended.stderr, ended
    (step,) = read_json(run.report / "report.json")["answers"]["next"]
    assert step["command"].startswith(f"{AGAIN} {run.root} --output=")
    ended = tools.run("bundle", run.root, f"--output={tmp_path / 'claim.tar.gz'}")
    assert ended.status == 2 and f"{AGAIN} {run.root} --output=" in ended.stderr, ended
    ended = tools.run("compare_runs", run.root, f"--output={tmp_path / 'c'}")
    assert ended.status == 0, ended
    compared = read_json(tmp_path / "c" / "comparison.json")
    assert compared["runs"][0]["verdict"] is None
    (why,) = [e["why"] for e in compared["not_checked"] if e["what"] == "the verdict of runs"]
    assert why.startswith("decided of step 200 (box AP")
    told = json.loads(tools.run("status", run.root, "--json").stdout)[0]
    assert told["ap_step"] == 300 and "verdict.json: decided of step 200" in told["reason"]

    assert tools.run("verdict", run.root, f"--output={run.verdict}").status == 3
    ended = tools.run("report", f"--run_dir={run.root}")
    assert (ended.status, ended.stderr.count("decided of")) == (0, 0), ended
    ended = tools.run("bundle", run.root, f"--output={tmp_path / 'claim.tar.gz'}")
    assert ended.status == 0, ended


def test_of_another():
    """By the checkpoint's hash, by the figure where there is none; several seeds hold their own."""
    score = {"step": 5, "iou_type": "bbox", "metrics": {"AP": 0.25}, "checkpoint": {"sha256": "a"}}
    fact = {"checkpoint_sha256": "a", "step": 5}
    of_it = {"seeds": {"box AP": [25.0]}, "achieved": {"box AP": 25.0}, "facts": [fact]}
    seeds = {"seeds": {"box AP": [31.0, 25.0]}, "achieved": {"box AP": 28.0}}
    undefined = score | {"metrics": {"AP": None}}
    for kept, scores, told in (
        (of_it, [score], None),
        (of_it | {"facts": []}, [score], None),
        (seeds | {"facts": [fact | {"checkpoint_sha256": "b"}, fact]}, [score], None),
        (of_it | {"facts": [fact | {"checkpoint_sha256": "b", "step": 4}]}, [score], "of step 4 "),
        (of_it | {"seeds": {"box AP": [24.0]}, "facts": []}, [score], "of another evaluation "),
        (of_it, [undefined], "not of step 5 (box AP undefined)"),
        (of_it | {"seeds": {"box AP": [None]}}, [undefined], None),
        (of_it | {"seeds": {}, "achieved": {}}, [score], None),
    ):
        found = of_another(kept, scores)
        assert found is None if told is None else told in found, (found, told)


OTHERS = {"cut": None, "another object": '{"a": 1}\n', "a list": "[1]\n", "of verdicts": "verdict"}
FILES = (
    *("spec.json", "preflight.json", "annotations.json", "identity.json", "start.json"),
    *("environment.json", "deviations.json", "verdict.json", "evals/100/metrics.json"),
    *("data/manifest-train.json", "pipeline.config"),
)


@pytest.mark.parametrize("name", FILES)
def test_every_damaged_file_is_named(run, name):
    """By its path in the run, once, with what to do; cut, and other JSON of the kit's and not."""
    path, verdict = run.root / name, run.verdict.read_text()
    assert damaged.of_run(run) == []
    for how, text in OTHERS.items():
        whole = path.read_bytes()
        if text is None:
            _cut(path)
        else:
            path.write_text(verdict if text == "verdict" else text)
        found = damaged.of_run(run)
        expected = [] if (name, how) == ("verdict.json", "of verdicts") else [name]
        assert [each["file"] for each in found] == expected, (how, found)
        for each in found:
            assert str(run.root) not in each["why"].split(" tools/")[0]
            assert any(word in each["why"] for word in ("Restore", "Remove")), each
        path.write_bytes(whole)


def test_a_damaged_part_is_told_by_report_and_verdict(tools, run):
    """What a verdict can do without costs a line."""
    for path in (run.start, run.identity, run.annotations, run.preflight):
        whole = path.read_bytes()
        path.write_text('{"a": 1}\n')
        ended = tools.run("report", f"--run_dir={run.root}")
        assert ended.status == 1 and f"{path.name} is damaged: not what the kit" in ended.stderr
        if path not in (run.annotations, run.identity):
            ended = tools.run("verdict", run.root)
            assert ended.status == 3
            assert ended.stderr.count(f"{path}: not what the kit writes there") == 1, ended
        path.write_bytes(whole)


def test_a_path_in_a_message_is_below_the_run():
    """Of a run whose name ends as a folder in it does: no letter of another path is taken."""
    from replicate.errors import UserError

    run = RunDir.at("s")
    said = damaged.short(UserError("s/evals/8/metrics.json: cut; see other/s/evals/8"), run)
    assert said == "evals/8/metrics.json: cut; see other/s/evals/8"


def test_an_older_verdict_is_not_bundled(tools, run, tmp_path):
    """Its words are not what is said now, so who verifies would be told that it differs."""
    kept = read_json(run.verdict)
    write_json(run.verdict, kept | {"headline": "NOT COMPARABLE in other words"})
    assert tools.run("report", f"--run_dir={run.root}").status == 0
    ended = tools.run("bundle", run.root, f"--output={tmp_path / 'c.tar.gz'}")
    assert ended.status == 2 and "decided anew it differs (headline is" in ended.stderr, ended
    assert f"{AGAIN} {run.root} --output={run.verdict}" in ended.stderr
