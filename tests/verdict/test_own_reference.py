"""The verdict against what the user names: runs, metrics.json, figures, and against nothing."""

import copy
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from replicate import score, verdict
from replicate.errors import UserError
from replicate.run import RunDir, read_json, write_json, write_text
from replicate.score import over_images
from replicate.verdict import comparable, references
from tests.score import populations
from tests.verdict.made import metrics, run_directory
from tests.verdict.test_verdict_tool import MODEL, run

# Of 60,000 images of tests/score/populations.py, three categories (tests/score/test_coverage.py).
TRUTH = 100 * 0.06695391371688675


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """100 images of three categories with two detectors' results, the second one better."""
    folder = tmp_path_factory.mktemp("own")
    truth, *detectors = populations.draw(100, 3, np.random.default_rng(7))
    path = folder / "instances_mine.json"
    path.write_text(json.dumps(truth))
    return path, detectors


def own_run(folder, data, which=0, seed=0, nudge=0.0, purpose="finetune", **more):
    """A run directory whose evaluation is of `data`; `nudge` moves its AP, points."""
    path, detectors = data
    found = detectors[which]
    scored = score.score(path, found, evaluator="both").to_json()
    scored["detections"]["sha256"] = f"{seed:064x}"
    if nudge:
        scored["metrics"]["AP"] += nudge / 100
    return run_directory(
        folder, MODEL, None, scores=[scored], seed=seed, purpose=purpose, found=found, **more
    )


def test_one_run_against_another_is_the_interval_paired_over_the_images(tmp_path, data):
    ours = own_run(tmp_path / "new", data, 1, seed=1)
    theirs = own_run(tmp_path / "old", data)
    decided = verdict.of(ours.root, reference=theirs.root)
    first, second = (score.score(data[0], each, evaluator="hotcoco") for each in data[1])
    compared = over_images.compare(second, first, confidence=0.9)
    figure = decided.figures["box AP"]
    interval = compared["intervals"]["AP"]
    assert figure["interval90"] == pytest.approx((100 * interval["low"], 100 * interval["high"]))
    assert figure["gap"] == pytest.approx(100 * compared["differences"]["AP"])
    assert figure["method"] == "paired over the images"
    assert decided.reference["kind"] == "runs"
    assert decided.conditions.answer == "as the reference"
    assert decided.verdict == "NOT REPLICATED"  # the second sees better by 6.7 points
    wide = verdict.of(ours.root, reference=theirs.root, margin=20)
    assert wide.verdict == "REPLICATED"
    assert wide.headline.startswith(f"REPLICATED within ±20.00 (against {theirs.root}, one run)")
    narrow = verdict.of(ours.root, reference=theirs.root, margin=0.5)
    assert narrow.verdict == "NOT REPLICATED"


def test_files_of_null_are_named(tmp_path, data, capsys):
    """None of the two is needed where nothing is compared with a recipe; neither is passed over."""
    ours = own_run(tmp_path / "new", data)
    verdict.of(ours.root)
    assert capsys.readouterr().err == ""
    ours.deviations.write_text("null")
    ours.annotations.write_text("null")
    assert verdict.of(ours.root).verdict == "NO REFERENCE"
    told = capsys.readouterr().err
    assert f"{ours.annotations}: not what the kit writes there" in told
    assert f"{ours.deviations}: null, though the run is of {MODEL}" in told


def test_a_figure_out_of_its_range_is_refused_under_any_name(tmp_path, data):
    ours = own_run(tmp_path / "new", data)
    document = read_json(ours.eval_at(ours.evaluated_steps()[-1]) / "metrics.json")
    document["metrics"]["AP"] = 52.3
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))
    for more in (f"--model={MODEL}", f"--reference={ours.root}"):
        done = run(f"--metrics={path}", more)
        assert done.returncode == 2 and "AP 5230" not in done.stdout
        assert f"{path}: " in done.stderr and "$.metrics.AP" in done.stderr


def test_a_better_figure_may_pass(tmp_path, data):
    """One-sided: a rise is no failure, a fall is; JUnit says the same as the exit status."""
    better, old = own_run(tmp_path / "new", data, 1, seed=1), own_run(tmp_path / "old", data)
    done = run(better.root, f"--reference={old.root}", "--or_better")
    assert done.returncode == 0 and "note: no worse: a fall by the margin" in done.stdout
    assert done.stdout.startswith("NOT REPLICATED")
    junit = run(better.root, f"--reference={old.root}", "--or_better", "--format=junit")
    assert junit.returncode == 0 and "<failure" not in junit.stdout
    worse = run(old.root, f"--reference={better.root}", "--or_better")
    assert worse.returncode == 1 and "no worse" not in worse.stdout
    figure = ("--reference=AP=0.1", "--reference_on=this", "--margin=1", "--or_better")
    assert run(better.root, *figure).returncode == 0
    assert run(better.root, "--or_better").returncode == 2


def test_seeds_against_seeds_are_welchs_test(tmp_path, data):
    ours = [own_run(tmp_path / f"a{k}", data, seed=k, nudge=k / 2) for k in range(3)]
    theirs = [own_run(tmp_path / f"b{k}", data, seed=k + 9, nudge=k / 2) for k in range(3)]
    output = tmp_path / "verdict.json"
    done = run(
        *(each.root for each in ours),
        f"--reference={theirs[0].root},{theirs[1].root}",
        f"--reference={theirs[2].root}",
        f"--output={output}",
    )
    assert (done.returncode, done.stderr) == (0, "")
    # σ 0.5 in either: the margin that follows is 4.139 × 0.5.
    assert done.stdout.startswith("REPLICATED within ±2.07 (against 3 runs (")
    assert "3 runs)" in done.stdout.splitlines()[0]
    assert "margin ±2.07 points: 4.14 σ of one run" in done.stdout
    written = read_json(output)
    assert len(written["figures"]["box AP"]["reference_seeds"]) == 3
    assert written["reference"]["given"] == [str(each.root) for each in theirs]
    far = own_run(tmp_path / "far", data, seed=99, nudge=-20)
    done = run(far.root, f"--reference={','.join(str(each.root) for each in theirs)}")
    assert done.returncode == 1 and done.stdout.startswith("NOT REPLICATED (against 3 runs")


def test_a_metrics_json(tmp_path, data):
    ours = own_run(tmp_path / "new", data, 1)
    detections = tmp_path / "detections.json"
    detections.write_text(json.dumps(data[1][0]))
    scored = score.score(data[0], detections, evaluator="both").to_json()
    write_json(tmp_path / "shipped.json", scored, kind="metrics")
    done = run(ours.root, f"--reference={tmp_path / 'shipped.json'}", "--format=json")
    decided = json.loads(done.stdout)
    assert decided["reference"]["kind"] == "metrics"
    assert decided["figures"]["box AP"]["method"] == "paired over the images"
    detections.unlink()  # what the interval would be of
    done = run(ours.root, f"--reference={tmp_path / 'shipped.json'}")
    assert done.returncode == 1 and done.stdout.startswith("INCONCLUSIVE")
    assert "the detections are not there" in done.stdout and "give --margin=POINTS" in done.stdout
    metrics_file = ours.eval_at(ours.evaluated_steps()[-1]) / "metrics.json"
    done = run(
        f"--metrics={metrics_file}", f"--reference={tmp_path / 'shipped.json'}", "--margin=25"
    )
    assert done.returncode == 0 and "what of it is chance is not known" in done.stdout


@pytest.mark.parametrize(
    ("given", "margin", "status", "first"),
    [
        ("AP={ap:.3f}", None, 1, "INCONCLUSIVE"),
        ("AP={ap:.3f}", 1, 0, "REPLICATED within ±1.00"),
        ("AP={ap:.3f},AP50=0.99", 1, 1, "NOT REPLICATED"),
        ("box AP={ap:.3f},APS={small:.4f}", 0.1, 0, "REPLICATED within ±0.10"),
        ("AP=0.9", 1, 1, "NOT REPLICATED"),
    ],
)
def test_figures_on_this_set(tmp_path, data, given, margin, status, first):
    ours = own_run(tmp_path / "new", data)
    known = ours.scores_at(ours.evaluated_steps()[-1])[0]["metrics"]
    given = given.format(ap=known["AP"], small=known["APs"])
    flags = [f"--margin={margin}"] if margin else []
    done = run(ours.root, f"--reference={given}", "--reference_on=this", *flags)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout.startswith(first)
    assert "against the figures given" in done.stdout.splitlines()[0]


def test_figures_on_val2017_are_judged_as_published_ones(tmp_path):
    theirs = run_directory(tmp_path / "a", MODEL, 22.1)
    done = run(theirs.root, "--reference=AP=0.222", "--reference_on=val2017")
    zoo = run(theirs.root)
    assert done.returncode == zoo.returncode == 0
    # The same figure with the same rounding: the same words as the zoo's.
    reason = zoo.stdout.splitlines()[1]
    assert reason.startswith("  - box AP: 22.10 against 22.2, 0.10 below") and reason in done.stdout
    elsewhere = run_directory(
        tmp_path / "b", MODEL, 22.2, scores=[metrics(22.2, annotations__images=128)]
    )
    done = run(elsewhere.root, "--reference=AP=0.222", "--reference_on=val2017")
    assert done.returncode == 3 and "evaluated on 128 images" in done.stdout


def test_a_zoo_models_name_is_its_figure(tmp_path):
    theirs = run_directory(tmp_path / "a", MODEL, 22.1)
    assert run(theirs.root, f"--reference={MODEL}").stdout == run(theirs.root).stdout
    done = run(theirs.root, "--reference=ssd_mobilenet_v2_320x320_coco17_tpu-8")
    assert "NOT COMPARABLE" in done.stdout  # another input pipeline and anchors


def test_other_images_are_not_comparable(tmp_path, data):
    ours = own_run(tmp_path / "new", data)
    truth = json.loads(data[0].read_text())
    for name, change, expected in (
        ("fewer", lambda t: t["images"].pop(), "which are other images"),
        ("boxes", lambda t: t["annotations"][0].update(bbox=[1, 2, 30, 40]), "other boxes"),
        ("names", lambda t: t["categories"][0].update(name="cat"), "other categories were scored"),
    ):
        changed = copy.deepcopy(truth)
        change(changed)
        last = {image["id"] for image in changed["images"]}
        changed["annotations"] = [a for a in changed["annotations"] if a["image_id"] in last]
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(changed))
        found = [each for each in data[1][0] if each["image_id"] in last]
        other = own_run(tmp_path / name, (path, [found]), seed=3)
        done = run(ours.root, f"--reference={other.root}")
        assert done.returncode == 3 and done.stdout.startswith("NOT COMPARABLE (against")
        assert expected in done.stdout


def test_one_path_that_was_changed_in_between(tmp_path, data):
    """Named once: "a.json has other boxes than a.json" would tell nothing."""
    made = own_run(tmp_path / "new", data)
    (ours,) = made.scores_at(made.evaluated_steps()[-1])
    theirs = copy.deepcopy(ours)
    theirs["annotations"] |= {"sha256": "0" * 64}
    theirs["annotations"]["content"] |= {"boxes": "0" * 64}
    (said,) = comparable.of_two(ours, theirs)
    path = ours["annotations"]["file"]
    assert said == (
        f"{path} has other boxes than when the reference was evaluated; it was changed in between"
    )


def test_what_differs_from_the_reference_is_a_condition(tmp_path, data):
    theirs = own_run(tmp_path / "old", data, train=(60, 300, 0))
    ours = own_run(
        *(tmp_path / "new", data),
        seed=1,
        batch=64,
        train=(80, 420, 0),
        start=(150, 200),
        execution={"gradient_accumulation_steps": 2},
    )
    decided = verdict.of(ours.root, reference=theirs.root)
    assert decided.conditions.answer == "changed"
    said = decided.text()
    for expected in (
        "train_config.batch_size is 64, in the reference 128",
        "computed with micro-batches 2 for 1",
        "150 of 200 variables came from the starting checkpoint; in the reference 200 of 200",
    ):
        assert expected in said, said
    assert "published" not in said and "val2017" not in said and "train2017" not in said


def test_a_fine_tuning_without_a_reference(tmp_path, data):
    """It is not judged, and nothing said of it speaks of COCO or the zoo's recipe."""
    ours = own_run(tmp_path / "mine", data)
    done = run(ours.root)
    assert done.returncode == 3
    assert done.stdout.startswith("NO REFERENCE: nothing was named to hold the figure against")
    assert "--reference=RUN" in done.stdout
    achieved = 100 * ours.scores_at(ours.evaluated_steps()[-1])[0]["metrics"]["AP"]
    assert f"box AP {achieved:.2f}\n" in done.stdout + "\n"
    assert not re.search("published|val2017|train2017|COCO", done.stdout)
    github = run(ours.root, "--format=github")
    assert github.stdout.startswith("::warning") and github.returncode == 3


def test_the_reference_that_a_run_was_made_with_is_remembered(tmp_path, data):
    theirs = own_run(tmp_path / "old", data)
    ours = own_run(tmp_path / "new", data, 1, seed=1)
    asked = verdict.Asked.of([str(theirs.root)], margin=20)
    write_json(ours.spec, read_json(ours.spec) | {"reference": asked.to_json()})
    decided = verdict.of(ours.root)
    assert decided.verdict == "REPLICATED" and decided.reference["margin"] == 20
    again = verdict.of(ours.root, reference=theirs.root, margin=0.5)
    assert again.verdict == "NOT REPLICATED"


@pytest.mark.parametrize("format", ["junit", "sarif", "github", "json"])
def test_formats_of_continuous_integration(tmp_path, data, format):
    ours, theirs = own_run(tmp_path / "a", data, 1, seed=1), own_run(tmp_path / "b", data)
    done = run(ours.root, f"--reference={theirs.root}", f"--format={format}")
    assert done.returncode == 1
    failed = {
        "junit": "<failure",
        "sarif": '"level": "error"',
        "github": "::error",
        "json": '"verdict": "NOT REPLICATED"',
    }[format]
    assert failed in done.stdout


def test_the_same_weights_again(tmp_path, data):
    """A training that repeats the reference's bit by bit is within any margin."""
    theirs = own_run(tmp_path / "b", data)
    ours = RunDir.at(tmp_path / "a")
    own_run(ours.root, data, seed=1)
    step = ours.evaluated_steps()[-1]
    held = read_json(ours.eval_at(step) / "metrics.json")
    held["checkpoint"] = read_json(theirs.eval_at(step) / "metrics.json")["checkpoint"]
    write_json(ours.eval_at(step) / "metrics.json", held)
    decided = verdict.of(ours.root, reference=theirs.root)
    assert decided.verdict == "REPLICATED" and decided.figures["box AP"]["gap"] == 0
    assert decided.notes[0].startswith("a checkpoint of the reference has the same weights")


def test_a_copy_of_the_reference_replicates_nothing(tmp_path, data):
    theirs = own_run(tmp_path / "b", data)
    copied = RunDir(pathlib.Path(shutil.copytree(theirs.root, tmp_path / "copy")))
    step = copied.evaluated_steps()[-1]
    files = [each.eval_at(step) / "metrics.json" for each in (copied, theirs)]
    for judged, reference in (
        ([str(copied.root)], theirs.root),
        ([str(copied.root)], files[1]),
        ([f"--metrics={files[0]}"], files[1]),
    ):
        done = run(*judged, f"--reference={reference}", "--margin=1")
        assert done.returncode == 2
        named = judged[0].removeprefix("--metrics=")
        told = f"{named}: its detections are those of the reference {reference}, byte for byte"
        assert told in done.stderr
    # A checkpoint that was evaluated again gives them where every bit is repeated.
    again = run(
        f"--metrics={files[0]}", f"--reference={files[1]}", "--margin=1", "--kind=checkpoint"
    )
    assert again.returncode == 0 and "the detections are the reference's, byte for" in again.stdout
    # And so does a training: its log has times of its own.
    line = json.loads(copied.metrics.read_text().splitlines()[-1])
    line.pop("checksum", None)
    write_text(copied.metrics, json.dumps(line | {"steps_per_second": 3.25}) + "\n")
    repeated = run(copied.root, f"--reference={theirs.root}", "--margin=1")
    assert repeated.returncode == 0 and "REPLICATED" in repeated.stdout
    assert "the detections are the reference's, byte for byte" in repeated.stdout


def _scored(threshold, lowest, most=100, cap=None):
    """As much of a metrics.json as tells a cut and a cap."""
    return {
        "score_threshold": threshold,
        "score_threshold_from": lowest,
        "max_per_image": most,
        "cap_per_image": cap,
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "configs", "told"),
    [
        # Two files that were both cut at a half, one of 8 bits; an older kit kept no range.
        (_scored(0.512, 0.498), _scored(0.5, 0.4999), (None, None), None),
        (_scored(0.512, None), _scored(0.5, None), (None, None), "at a score of about 0.512"),
        (_scored(0.51, 0.505), _scored(0.3, 0.29), (None, None), "the other's cut at a score of"),
        (_scored(0.3, 0.29), _scored(None, None), (None, None), "the other's lower or not at all"),
        (_scored(None, None), _scored(0.3, 0.29), (None, None), "the reference's detections look"),
        # What both configs say goes before what the scores look like.
        (_scored(0.09, 0.06), _scored(0.055, 0.05), (0.05, 0.05), None),
        (_scored(None, None), _scored(None, None), (0.3, 1e-8), "cut at a score of 0.3, the ref"),
        (_scored(0.3, 0.29), _scored(None, None), (0.3, None), "lower or not at all"),
        (_scored(None, None, 10, 10), _scored(None, None, 20), (None, None), "capped at 10 an"),
        (_scored(None, None, 10, 10), _scored(None, None, 9), (None, None), None),
        (_scored(None, None, 10, 10), _scored(None, None, 10, 10), (None, None), None),
    ],
)
def test_cuts_and_caps_of_two_evaluations(data, ours, theirs, configs, told):
    scored = score.score(data[0], data[1][0], evaluator="both").to_json()
    sides = [scored | {"detections": scored["detections"] | side} for side in (ours, theirs)]
    said = list(comparable.of_two(*sides, configs))
    assert len(said) == (told is not None)
    assert told is None or told in said[0]


def test_what_a_runs_config_cuts_at_is_read(tmp_path, data):
    (held,) = references.scores_of(own_run(tmp_path / "a", data))
    assert held.cut == pytest.approx(1e-8) and held.source == str(tmp_path / "a")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reference=AP=0.4"], "on which images? --reference_on=this"),
        (["--reference=AQ=0.4", "--reference_on=this"], "unknown metric 'AQ'"),
        (["--reference=AP=high", "--reference_on=this"], "a number from 0 to 100, like AP=0.412"),
        (["--reference=AP=1", "--reference_on=this"], "1 point, or all of them?"),
        (["--reference=AP=0.4,AP=0.5", "--reference_on=this"], "two figures of AP"),
        (["--reference=no/run"], "no/run: no such file or folder"),
        (["--reference=ssd_mobilenet"], "did you mean"),
        (["--reference={new}"], "judged, and its own reference"),
        (["--reference={old},{old}"], "names a run twice"),
        (["--reference={old},AP=0.4"], "of different kinds"),
        (["--reference={old}", "--reference_on=this"], "the images are known"),
        (["--reference={old}", "--margin=-1"], "--margin=-1: a margin in points"),
        (["--margin=1"], "go with --reference"),
        (["--reference={old}", f"--model={MODEL}"], "give one of them"),
        ([f"--reference={MODEL}", "--margin=1"], "--margin goes with a reference of your own"),
        (["--reference={empty}"], "not a run directory"),
        (["--reference={file}"], "not a metrics.json of tools/score.py"),
    ],
)
def test_usage_errors(tmp_path, data, flags, message):
    new, old = own_run(tmp_path / "new", data), own_run(tmp_path / "old", data, seed=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.json").write_text('{"a": 1}')
    names = {"new": new.root, "old": old.root}
    names |= {"empty": tmp_path / "empty", "file": tmp_path / "file.json"}
    done = run(new.root, *(flag.format(**names) for flag in flags))
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_rounding_of_figures():
    for text, points, rounding in (
        ("AP=0.412", 41.2, 0.05),
        ("AP=41.2", 41.2, 0.05),
        ("AP=.41", 41.0, 0.5),
        ("AP=0.4121", 41.21, 0.005),
        ("AP=0", 0.0, 50.0),
    ):
        asked = verdict.Asked.of([text], "this")
        figure = verdict.read_reference(asked).figures["bbox", "AP"]
        assert (figure.points, figure.rounding) == pytest.approx((points, rounding))
    with pytest.raises(UserError, match="a figure is NAME=VALUE"):
        verdict.read_reference(verdict.Asked.of(["AP=412"], "this"))


@pytest.mark.slow
def test_a_true_difference_of_the_margin_is_rarely_replicated_by_pairs(tmp_path):
    """Paired over 100 images, the truth known: the second detector sees better by TRUTH points."""
    rng, trials, found = np.random.default_rng(3), 200, []
    for trial in range(trials):
        truth, *detectors = populations.draw(100, 3, rng)
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(truth))
        results = [score.score(path, each, evaluator="hotcoco") for each in detectors]
        compared = over_images.compare(*results[::-1], samples=60, seed=trial, confidence=0.9)
        interval = compared["intervals"]["AP"]
        judged = verdict.two_sets.judge_paired(
            *(100 * results[1].metrics["AP"], 100 * results[0].metrics["AP"]),
            (100 * interval["low"], 100 * interval["high"]),
            100 * interval["standard_error"],
            over_images.DEGREES_OF_FREEDOM,
            100,
            TRUTH,
        )
        found.append(judged.verdict)
    assert found.count("REPLICATED") / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert found.count("NOT REPLICATED") > 0  # it can tell
