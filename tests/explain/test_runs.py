"""From two runs: their differences by name and place, and the gap split."""

import pytest

from replicate.errors import UserError
from replicate.explain import from_runs, runs, text
from replicate.run import RunDir, read_json, write_json
from tests.report import making


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs on the same drawn images; the second differs in known places."""
    folder = tmp_path_factory.mktemp("runs")
    truth = making.groundtruth(folder / "data")
    first = making.run_directory(folder / "a", *truth)
    second = making.run_directory(folder / "b", *truth)
    path = RunDir.at(second).pipeline_config
    config = path.read_text()
    assert "batch_size: 128" in config
    path.write_text(
        config.replace("batch_size: 128", "batch_size: 64").replace(
            "score_threshold: 9.9999999e-09", "score_threshold: 0.3"
        )
    )
    environment = read_json(RunDir.at(second).environment)
    environment["packages"] = environment.get("packages", {}) | {"tensorflow": "2.15.0"}
    write_json(RunDir.at(second).environment, environment)
    return first, second


def test_differences_by_name_in_their_order(two):
    content = from_runs(*two, evaluate=False, samples=0)
    found = [(each["part"], each["what"]) for each in content["differences"]]
    assert ("config", "train_config.batch_size") in found
    assert ("environment", "packages.tensorflow") in found
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
