"""The verdict's part of a report: the sentence, the causes, the settings as one group."""

import pytest

from replicate import report, verdict, zoo
from replicate.report import charts, content
from replicate.run import read_json, write_json
from tests.report import making
from tests.verdict import made


def _report(run):
    report.write(run)
    return read_json(run.report / "report.json")


def test_sentence_names_achieved_published_and_conditions(finished_run):
    verdict = read_json(finished_run.report / "report.json")["verdict"]
    achieved = read_json(finished_run.verdict)["achieved"]["box AP"]
    assert verdict["verdict"] == "NOT COMPARABLE"
    for said in (f"{achieved:.2f}", "22.2", "cannot be held against", "Conditions: changed in"):
        assert said in verdict["sentence"]


@pytest.mark.parametrize(
    "points, word, sentence",
    [
        (
            22.05,
            "REPLICATED",
            "Box AP 22.05, published 22.2: −0.15 points (90 % interval −0.87 to +0.57). "
            "Conditions: as published",
        ),
        (
            24.2,
            "NOT REPLICATED",
            "Box AP 24.20, published 22.2: +2.00 points (90 % interval +1.28 to +2.72). "
            "Conditions: as published",
        ),
    ],
)
def test_sentence_of_a_comparable_run(run, points, word, sentence):
    row = zoo.find(making.MODEL)
    decided = verdict.decide(row, made.metrics(points), []).to_json()
    assert decided["verdict"] == word
    write_json(run.verdict, decided)
    run_charts = charts.of_run(content.of_run(run))
    assert "AP as published" in run_charts["checkpoints"].svg
    assert _report(run)["verdict"]["sentence"].startswith(sentence)
    page = (run.report / "index.html").read_text()
    assert ("What may explain the gap" in page) == (word != "REPLICATED")


def test_causes_are_shown_also_where_nothing_can_be_compared(finished_run):
    page = (finished_run.report / "index.html").read_text()
    assert "What differs, and what it is known to do" in page
    assert (
        "What differs, and what it is known to do"
        in (finished_run.report / "report.md").read_text()
    )
    # The settings are one foldable group, not sentences of the verdict.
    told = read_json(finished_run.verdict)
    settings = [each for each in told["conditions"]["changes"] if each["cls"] != "facts"]
    assert len(settings) > 4 and len(told["reasons"]) <= 3
    assert f"<summary>{len(settings)} settings of the config that affect AP</summary>" in page


def test_sentence_where_nothing_was_published(run):
    decided = verdict.decide(None, run.scores_at(300), []).to_json()
    write_json(run.verdict, decided)
    ap = decided["achieved"]["box AP"]
    assert _report(run)["verdict"]["sentence"].startswith(
        f"Box AP {ap:.2f}, for which nothing was published. There is nothing to hold it against."
    )
