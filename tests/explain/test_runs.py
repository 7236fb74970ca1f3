"""From two runs: their differences by name and place, and the gap split."""

import pytest

from replicate.errors import UserError
from replicate.explain import from_runs, runs, text
from replicate.run import read_json, write_json
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


def test_a_run_and_itself(two):
    content = from_runs(two[0], two[0])
    assert content["gap"] == 0 and not content["differences"]
    assert content["split"] == {"evaluation": 0.0, "training": 0.0}


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
