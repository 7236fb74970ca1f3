"""A run that was continued under another environment has a report like any other."""

from replicate import report
from replicate.run import read_json, write_json
from tests.report import making


def test_a_report_of_a_run_that_went_on_elsewhere(tmp_path):
    """In the tests report.json is held against its contract before it is written."""
    run = making.run_directory(tmp_path / "run", *making.groundtruth(tmp_path / "data"))
    before = read_json(run.environment)
    before.pop("checksum", None)
    earlier = {name: value for name, value in before.items() if name != "schema"}
    write_json(run.environment, before | {"earlier": [earlier]})
    report.write(run)
    assert read_json(run.report / "report.json")["environment"]["earlier"] == [earlier]
