"""A run with a damaged file says so, and the other runs of the folder are shown."""

import pytest

from replicate.errors import UserError
from replicate.launch import status
from replicate.report import participants
from replicate.run import RunDir, write_json


@pytest.mark.parametrize("name", ["training.json", "launch/launch.json", "verdict.json"])
@pytest.mark.parametrize(
    "content", [b"", b"null", b'{"state": 3, "verdict": [], "kind": 1}', b"\xff"]
)
def test_the_others_are_shown(tmp_path, name, content):
    for run in ("a", "b"):
        write_json(RunDir.at(tmp_path / run).spec, {"kind": "training", "request": {}})
    path = tmp_path / "a" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    damaged, whole = status.of_folder(tmp_path)
    assert (damaged.run, damaged.state) == ("a", "damaged")
    assert str(path) in damaged.reason
    assert (whole.run, whole.state) == ("b", "dead")


def test_a_damaged_spec_is_told_whatever_the_state(tmp_path):
    path = RunDir.at(tmp_path).spec
    path.write_text("{")
    (found,) = status.of_folder(tmp_path)
    assert found.state == "damaged" and str(path) in found.reason


def test_a_comparison_refuses_a_run_with_a_damaged_spec(tmp_path):
    path = RunDir.at(tmp_path).spec
    path.write_text("{")
    with pytest.raises(UserError, match="spec.json: not readable as JSON"):
        participants.read([tmp_path])
