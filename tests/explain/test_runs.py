"""From two runs: their differences by name and place, and the gap split."""

import shutil

import pytest

from replicate import engine
from replicate.errors import UserError
from replicate.explain import from_runs, runs, text
from replicate.run import RunDir, read_json, write_json
from replicate.tfvision import render
from tests.report import making


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs on the same drawn images; the second differs in known places."""
    folder = tmp_path_factory.mktemp("runs")
    truth = making.groundtruth(folder / "data")
    first = making.run_directory(folder / "a", *truth)
    changed = (
        ("train_config.batch_size", "8"),
        ("model.ssd.post_processing.batch_non_max_suppression.iou_threshold", "0.5"),
    )
    second = making.run_directory(folder / "b", *truth, seed=1, extra_overrides=changed)
    environment = read_json(second.environment)
    environment["packages"]["tensorflow"] = "2.15.0"
    write_json(second.environment, environment)
    return str(first.root), str(second.root)


def test_differences_by_name_in_their_order(two):
    content = from_runs(*two, evaluate=False, samples=0)
    found = [(each["part"], each["what"]) for each in content["differences"]]
    assert ("config", "train_config.batch_size") in found
    assert ("starting weights", "seed") in found
    assert ("environment", "packages.tensorflow") in found
    evaluated = [what for part, what in found if part == "evaluation"]
    assert evaluated == [
        "model.ssd.post_processing.batch_non_max_suppression.iou_threshold",
    ]
    order = [runs.ORDER.index(part) for part, _ in found]
    assert order == sorted(order)
    assert content["gap"] == pytest.approx(content["runs"][1]["AP"] - content["runs"][0]["AP"])
    assert "train_config.batch_size" in text.of_runs(content)


def test_two_engines_have_one_difference_of_config(two, tmp_path):
    """Their configs have no field in common; all else is told as of any two runs."""
    other = RunDir.at(shutil.copytree(two[0], tmp_path / "vision"))
    other.pipeline_config.unlink()
    config = render.render("retinanet_mobilenetv2_256", render.RenderRequest())
    (other.root / "params.yaml").write_text(engine.text(config, None))
    content = from_runs(two[1], other.root, evaluate=False, samples=0)
    of_config = [each for each in content["differences"] if each["part"] == "config"]
    assert [(each["what"], each["a"], each["b"]) for each in of_config] == [
        ("engine", "the Object Detection API", "TF-Vision")
    ]
    assert ("environment", "packages.tensorflow") in {
        (each["part"], each["what"]) for each in content["differences"]
    }
    assert content["gap"] == pytest.approx(content["runs"][1]["AP"] - content["runs"][0]["AP"])
    assert content["split"] is None and content["crossed"] == {}
    assert "not split: their models are of two engines" in content["note"]


def test_one_run_twice_is_refused(two, tmp_path):
    (tmp_path / "link").symlink_to(two[0])
    for again in (two[0], f"{two[0]}/", f"{two[0]}/pipeline.config", tmp_path / "link"):
        with pytest.raises(UserError, match="one run"):
            from_runs(two[0], again)


def test_a_run_and_its_copy_have_no_gap(two, tmp_path):
    copy = shutil.copytree(two[0], tmp_path / "copy")
    content = from_runs(two[0], copy)
    assert content["gap"] == 0 and not content["differences"]
    assert content["split"] == {"evaluation": 0.0, "training": 0.0}
    assert content["note"].endswith("their detections are the same: there is no gap")


@pytest.fixture
def alike(two, tmp_path):
    """Function (AP, seed) -> note of a run beside its copy with that AP and seed."""

    def of(points, seed=0):
        folder = shutil.copytree(two[0], tmp_path / "copy")
        path = folder / "evals" / "300" / "metrics.json"
        scores = read_json(path)
        scores["metrics"]["AP"] = points
        scores["detections"]["sha256"] = "0" * 64
        write_json(path, scores)
        spec = read_json(folder / "spec.json")
        spec["request"]["seed"] = seed
        write_json(folder / "spec.json", spec)
        return from_runs(two[0], folder, samples=0)

    return of


def test_no_gap_is_of_nothing(two, alike):
    assert alike(read_json(f"{two[0]}/evals/300/metrics.json")["metrics"]["AP"])["note"].endswith(
        "have the same AP: there is no gap"
    )


def test_an_undefined_gap(alike):
    content = alike(None)
    assert content["gap"] is None and content["split"] is None
    assert content["note"].endswith("AP is undefined, so there is no gap")
    assert "of training" not in text.of_runs(content)


def test_a_gap_with_and_without_a_difference(alike):
    content = alike(0.25)
    assert content["split"]["training"] == content["gap"] != 0 and not content["differences"]
    assert content["note"].endswith("though nothing that is compared here differs")


def test_a_gap_with_another_seed(alike):
    assert alike(0.25, seed=3)["note"] == "both were evaluated alike: the gap is of training"


def test_damaged_runs_are_named(two, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.json").write_text("{")
    with pytest.raises(UserError, match=r"a/spec.json: not readable as JSON"):
        from_runs(tmp_path / "a", tmp_path / "b")
    unfinished = shutil.copytree(two[0], tmp_path / "c")
    for step in (100, 200, 300):
        (unfinished / "evals" / str(step) / "detections.json.gz").unlink()
    with pytest.raises(UserError, match=r"no whole one \(evals/100, 200, 300 is incomplete"):
        from_runs(unfinished, two[0])


def test_what_one_has_not_recorded_is_no_difference(two, tmp_path):
    """An older run: no word of the decoder and its version, none of a seed."""
    older, newer = (shutil.copytree(two[0], tmp_path / name) for name in ("older", "newer"))
    path = newer / "evals" / "300" / "metrics.json"
    scores = read_json(path)
    assert "inference" not in scores
    scores["inference"] = {"decoder": "tensorflow", "decoder_version": "2.20.0"}
    scores["metrics"]["AP"] = 0.25
    scores["detections"]["sha256"] = "0" * 64
    write_json(path, scores)
    spec = read_json(older / "spec.json")
    del spec["request"]["seed"]
    write_json(older / "spec.json", spec)
    content = from_runs(older, newer, samples=0)
    assert content["differences"] == [] and content["split"] is None
    first, second = content["note"].splitlines()
    assert first == (
        "both were evaluated alike as far as that is recorded: how much of the gap is of training "
        "is not known"
    )
    assert second.startswith(
        f"not recorded in {older}: starting weights: seed; evaluation: inference.decoder, "
        "inference.decoder_version. Evaluated again it is: "
    )
    assert "tools/evaluate.py --model_dir=" in second
    (newer / "environment.json").unlink()
    without = from_runs(older, newer, samples=0)
    assert without["differences"] == []
    third = without["note"].splitlines()[2]
    assert third.startswith(f"not recorded in {newer}: environment: python, system, packages, ")
    assert "None" not in text.of_runs(content) and "{" not in text.of_runs(content)


def test_the_split_by_hand():
    """A scores 30 its own way and 34 B's; B 40 its own way and 37 A's: evaluation made 3.5."""

    class Run:
        def __init__(self, points):
            self.points = points

    split = runs._split(Run(30.0), Run(40.0), {"a_as_b": 34.0, "b_as_a": 37.0}, True)
    assert split == {"evaluation": pytest.approx(3.5), "training": pytest.approx(6.5)}


def test_no_run(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        from_runs(tmp_path, tmp_path)
