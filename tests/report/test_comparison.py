"""Several runs side by side, held against the runs' own files and pycocotools."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from replicate import report, score
from replicate.benchmarking import Dataset, benchmark
from replicate.errors import UserError
from replicate.report import compare_charts, comparison, participants
from replicate.run import read_json, write_json
from replicate.score import over_images
from tests.conftest import PROJECT
from tests.report import making


@pytest.fixture(scope="module")
def told(compared):
    return read_json(compared / "comparison.json")


def test_figures_of_each_run_are_its_own(told, compared_runs):
    by_name = {each["name"]: each for each in told["runs"]}
    assert list(by_name) == ["finished", "second", "lower_rate", "other"]
    for name, run in compared_runs.items():
        metrics = read_json(run.eval_at(300) / "metrics.json")["metrics"]
        assert by_name[name]["metrics"] == metrics
        last = json.loads(run.metrics.read_text().splitlines()[-1])
        assert by_name[name]["total_loss"] == last["losses"]["Loss/total_loss"]


def test_what_does_not_apply_is_none_and_blank(told, compared):
    other = next(each for each in told["runs"] if each["kind"] == "benchmark")
    assert other["total_loss"] is None and other["step"] is None
    for each in told["runs"]:
        assert -1 not in each["metrics"].values()
    page = (compared / "index.html").read_text()
    assert 'data-value="-1' not in page and ">-1<" not in page


def test_only_the_settings_that_differ(told):
    path = f"{making.COSINE}.learning_rate_base"
    assert {row["path"]: row["values"] for row in told["hyperparameters"]} == {
        path: {"r0": 0.08, "r1": 0.08, "r2": 0.02},
        "seed": {"r0": 0, "r1": 1, "r2": 0},
    }


def test_same_configs_have_no_row(finished_run, tmp_path, drawn):
    twin = making.run_directory(tmp_path / "twin", *drawn)
    pair = participants.read([finished_run.root, twin.root])
    assert comparison.hyperparameters(pair) == []


def test_category_differences_and_their_intervals(told):
    for row in told["per_category"]:
        assert set(row["others"]) == {"r1", "r2", "r3"}
        for cell in row["others"].values():
            assert cell["difference"] == pytest.approx(cell["AP"] - row["baseline"])
            # The made runs have fewer images than an interval needs.
            assert cell["low"] is None and cell["high"] is None


def test_intervals_are_those_of_the_room_of_scores(finished_run, compared_runs, tmp_path):
    """The page has no intervals of its own: those of `over_images`, whose tests hold them."""
    pair = participants.read([finished_run.root, compared_runs["lower_rate"].root])
    told = comparison.of(pair, samples=60)
    assert told["intervals_method"] == over_images.METHOD
    results = [
        score.score(each.evaluations[-1].annotations_file, str(each.evaluations[-1].detections))
        for each in pair
    ]
    ids = [row["id"] for row in told["per_category"]]
    expected = over_images.of_categories(results[1], results[0], ids, samples=60)
    for row, interval in zip(told["per_category"], expected, strict=True):
        cell = row["others"]["r1"]
        interval = interval or {"low": None, "high": None}
        assert (cell["low"], cell["high"]) == (interval["low"], interval["high"])


def test_same_images_under_each_run_with_the_spread_ap(told):
    images = told["gallery"]["images"]
    assert told["gallery"]["runs"] == ["r0", "r1", "r2", "r3"]
    spreads = [
        max(each or 0 for each in image["ap50"].values())
        - min(each or 0 for each in image["ap50"].values())
        for image in images
    ]
    assert spreads == sorted(spreads, reverse=True)
    for image in images:
        assert set(image["detections"]["r0"]) == {"100", "200", "300"}
        assert set(image["detections"]["r3"]) == {""}


def test_frontier_has_no_faster_and_better_model(told):
    zoo = {each["name"]: each for each in told["speed"]["zoo"]}
    assert len(zoo) > 30
    for name, each in zoo.items():
        beaten = any(
            other["latency_ms"] <= each["latency_ms"] and other["AP"] > each["AP"]
            for other in zoo.values()
        )
        assert (name in told["speed"]["frontier"]) <= (not beaten)
    (ours,) = told["speed"]["runs"]
    assert ours["run"] == "r3" and ours["latency_ms"] > 0


def test_a_run_on_other_images_is_kept_out_of_the_pairs(finished_run, tmp_path):
    elsewhere = making.groundtruth(tmp_path / "elsewhere", images=5)
    run = making.run_directory(tmp_path / "run", *elsewhere, steps=(100,))
    told = comparison.of(participants.read([finished_run.root, run.root]), samples=0)
    assert told["gallery"]["runs"] == ["r0"]
    assert all(row["others"] == {} for row in told["per_category"])
    assert "other images" in told["not_checked"][0]["why"]


def test_a_record_without_detections_joins_the_table(finished_run, compared_runs, record):
    path = record[0]
    told = comparison.of(participants.read([finished_run.root, path]), samples=0)
    assert told["runs"][1]["metrics"] == read_json(path)["metrics"]["bbox"]
    assert told["gallery"]["runs"] == ["r0"]
    assert any(path.stem in each["what"] for each in told["not_checked"])


def test_a_benchmark_of_the_first_images_alone(finished_run, tmp_path, drawn):
    """Its AP is confirmed on its own images, and it is kept out of the pairs."""
    found = tmp_path / "found.json"
    write_json(found, making.detections(drawn[0], skill=0.9))
    made = benchmark(str(found), Dataset(*drawn, num_images=5), cache_dir=None, progress=False)
    made.write(tmp_path / "few.json")
    pair = participants.read([finished_run.root, f"{tmp_path / 'few.json'}:{found}"])
    told = comparison.of(pair, samples=0)
    assert told["gallery"]["runs"] == ["r0"]
    assert "other images" in told["not_checked"][0]["why"]


def test_detections_of_another_benchmark_are_refused(finished_run, record, compared_runs):
    wrong = compared_runs["second"].eval_at(300) / "detections.json.gz"
    told = comparison.of(participants.read([finished_run.root, f"{record[0]}:{wrong}"]), samples=0)
    assert told["gallery"]["runs"] == ["r0"]
    assert "recorded was" in told["not_checked"][0]["why"]


@pytest.mark.parametrize(
    "paths, said",
    [
        (["{run}", "{run}"], "the same run twice"),
        (["{tmp}"], "not a run directory"),
        (["{tmp}/nothing.json"], "no such file"),
        (["{tmp}/other.json"], "neither a run directory nor a record"),
    ],
)
def test_what_is_no_run(finished_run, tmp_path, paths, said):
    write_json(tmp_path / "other.json", {"annotations": []})
    with pytest.raises(UserError, match=said):
        participants.read([each.format(run=finished_run.root, tmp=tmp_path) for each in paths])


def _cut(path):
    path.write_bytes(path.read_bytes()[:200])


def _replaced(path):
    path.write_bytes((path.parents[1] / "200" / path.name).read_bytes())


@pytest.mark.parametrize(
    "harm, what, why",
    [
        (_cut, "categories and images of run", "not readable"),
        (_replaced, "categories and images of run", "not the file that metrics.json was computed"),
        (os.unlink, "the evaluation of step 300 of run", "is not complete"),
    ],
)
def test_damaged_detections_are_told_for_what_they_are(run, finished_run, harm, what, why):
    harm(run.eval_at(300) / "detections.json.gz")
    told = comparison.of(participants.read([finished_run.root, run.root]), samples=0, images=1)
    said = {each["what"]: each["why"] for each in told["not_checked"]}
    assert why in said[what]
    assert "not at hand" not in str(said)


def test_names_of_runs_keep_their_dots_and_records_lose_their_ending(tmp_path):
    names = participants._names([f"{tmp_path}/rate_0.02", f"{tmp_path}/rate_0.01", "b/x.json"])
    assert names == ["rate_0.02", "rate_0.01", "x"]


def test_a_run_named_by_the_time_of_day(run, finished_run, tmp_path):
    first, second = run.root.rename(tmp_path / "at 12:30"), tmp_path / "at 12:45"
    shutil.copytree(finished_run.root, second)
    assert [each.name for each in participants.read([first, second])] == ["at 12:30", "at 12:45"]


def test_nothing_is_drawn_of_what_none_has(record, tmp_path):
    """Two benchmarks: no curves, no legend, no axis to choose, no columns of a training."""
    copy = tmp_path / "copy.json"
    copy.write_bytes(record[0].read_bytes())
    pair = [f"{path}:{record[1]}" for path in (record[0], copy)]
    page = report.write_comparison(pair, tmp_path / "out", samples=0).read_text()
    assert "no run has a log or an evaluated checkpoint" in page
    for absent in (
        'id="legend"',
        'id="curves-x"',
        "Dashed:",
        "images/s in training",
        "differs most",
    ):
        assert absent not in page
    assert "fewer than two of them have a config" in page
    assert "AP50 of each is the same under every run" in page
    assert "other and copy have equal AP" in page


def test_report_is_made_again_when_the_run_has_moved_on(run, drawn):
    report.write(run)
    before = participants.read([run.root])[0].facts["metrics"]["AP"]
    found = making.detections(drawn[0], skill=1.0)
    making.write_evaluation(run, 300, drawn[0], found)
    after = participants.read([run.root])[0].facts["metrics"]["AP"]
    assert after == read_json(run.eval_at(300) / "metrics.json")["metrics"]["AP"] != before


def test_a_kept_report_is_known_by_content_not_by_time(run, drawn, monkeypatch):
    """Older files of another content make it stale; newer ones of the same do not."""
    report.write(run)
    kept = run.report / "report.json"
    made = []
    of_run = participants.content.of_run
    monkeypatch.setattr(participants.content, "of_run", lambda run: made.append(run) or of_run(run))
    for path in (run.spec, run.pipeline_config, run.metrics):
        os.utime(path, (kept.stat().st_mtime + 60,) * 2)
    participants.read([run.root])
    assert made == []
    # Detections and metrics of another evaluation, as a copy that keeps times would bring them.
    found = making.detections(drawn[0], skill=1.0)
    making.write_evaluation(run, 300, drawn[0], found)
    for path in run.eval_at(300).iterdir():
        os.utime(path, (kept.stat().st_mtime - 60,) * 2)
    (again,) = participants.read([run.root])
    assert len(made) == 1
    assert again.facts["metrics"] == read_json(run.eval_at(300) / "metrics.json")["metrics"]


def test_processor_use_is_drawn_in_percent(finished_run):
    """Measured in percent already: 50 is drawn as 50, not as 5,000 %."""
    one = participants.read([finished_run.root])[0]
    training = one.report["training"]
    use = [50.0 + number % 7 for number in range(len(training["step"]))]
    machine = {"host.cpu_percent": use, "device.utilization_percent": use}
    one = dataclasses.replace(one, report=one.report | {"training": training | {"system": machine}})
    drawn = compare_charts.of(comparison.of([one], samples=0))
    for name in ("curve-processor-use-of-the-machine", "curve-gpu-use"):
        of_y = drawn[name].svg[drawn[name].svg.index("matplotlib.axis_2") :]
        ticks = [float(each) for each in re.findall(r">([\d.]+)</text>", of_y)]
        assert len(ticks) > 3 and 50 <= max(ticks) <= 60
        assert "%</text>" not in of_y
    assert re.search(r">\d\.?\d*%</text>", drawn["curve-input-wait"].svg)


def test_a_benchmark_alone_brings_its_pictures(record, tmp_path):
    path, found = record
    report.write_comparison([f"{path}:{found}"], tmp_path / "out", samples=0)
    told = read_json(tmp_path / "out/comparison.json")
    page = (tmp_path / "out/index.html").read_text()
    assert told["gallery"]["images"] and told["not_checked"] == []
    assert page.count("data:image/jpeg") == len(told["gallery"]["images"])
    # Where the images are no longer there, that is said.
    moved = read_json(path)
    moved["dataset"]["image_dir"] = str(tmp_path / "nowhere")
    write_json(tmp_path / "moved.json", moved)
    report.write_comparison([f"{tmp_path / 'moved.json'}:{found}"], tmp_path / "out", samples=0)
    (said,) = read_json(tmp_path / "out/comparison.json")["not_checked"]
    assert said["what"] == f"{len(told['gallery']['images'])} pictures of the images"
    assert "nowhere" in said["why"]
    assert "not readable in" in (tmp_path / "out/index.html").read_text()


def test_what_stands_beside_the_figures(finished_run, tmp_path, drawn):
    """Detections that were cut at a score and have none of some images: said as by the score."""
    found = [each for each in making.detections(drawn[0], skill=0.9) if each["score"] > 0.5]
    some = sorted({each["image_id"] for each in found})[::2]
    write_json(tmp_path / "cut.json", [each for each in found if each["image_id"] in some])
    made = benchmark(str(tmp_path / "cut.json"), (drawn[0], None), cache_dir=None, progress=False)
    made.write(tmp_path / "record.json")
    told = comparison.of(
        participants.read([finished_run.root, tmp_path / "record.json"]), samples=0
    )
    said = told["runs"][1]["remarks"]
    assert any("cut at a score of about 0.5" in each for each in said)
    assert any("images have no detections" in each for each in said)
    assert all(f"! {each}" in made.text() for each in said)


def test_fifty_runs(finished_run, tmp_path):
    """Fifty names for one run: a comparison of them all is made, with one step each."""
    one = participants.read([finished_run.root])[0]
    many = [
        dataclasses.replace(one, key=f"r{number}", name=f"run {number}") for number in range(50)
    ]
    told = comparison.of(many, samples=0)
    assert len(told["runs"]) == 50
    assert all(
        set(steps) == {"300"} for steps in told["gallery"]["images"][0]["detections"].values()
    )


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        ([], 2, "name the run directories"),
        (["no/such.json"], 2, "no such file"),
        (["{run}", "--baseline=nobody"], 2, "--baseline=nobody: not among the runs"),
        (["--help"], 0, "--zoo"),
    ],
)
def test_tool(finished_run, tmp_path, arguments, status, said):
    arguments = [each.format(run=finished_run.root) for each in arguments]
    done = subprocess.run(
        [sys.executable, "tools/compare_runs.py", f"--output={tmp_path / 'out'}", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()
