"""A run with a damaged file says so, and the other runs of the folder are shown."""

import pytest

from replicate.launch import status
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
