"""The verdict's part of a report: the sentence, the causes, the settings as one group."""

import re

import pytest

from replicate import report, verdict, zoo
from replicate.report import charts, content
from replicate.run import metrics_line, read_json, read_metrics, write_json
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
    assert sentence in _report(run)["verdict"]["sentence"]  # which begins with whose it is
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


@pytest.fixture
def fine_tuned(run):
    """A run made with --purpose=finetune, not judged yet."""
    spec = read_json(run.spec)
    spec["request"]["purpose"] = "finetune"
    write_json(run.spec, spec)
    run.verdict.unlink()
    return run


def _pages(run):
    report.write(run)
    page = (run.report / "index.html").read_text()
    page = re.sub("<style.*?</style>|<script.*?</script>", "", page, flags=re.DOTALL)
    return page, (run.report / "report.md").read_text()


# What speaks of the zoo's figure or of COCO's images.
OF_THE_ZOO = re.compile(
    "(?:val|train)2017(?!-)|the zoo publishes|published config|published figure|replication claim"
    "|published 22|Figure reached|NOT COMPARABLE|may explain the gap"
)


def test_a_fine_tuning_without_a_reference_is_not_judged(fine_tuned):
    told = content.of_run(fine_tuned)
    assert told["verdict"]["verdict"] == "NO REFERENCE" and told["of_zoo"] is False
    assert told["answers"]["reached"] == "No reference was named, so that nothing is judged"
    assert [row["published"] for row in told["metrics"]["rows"]] == [None] * 12
    assert "--reference=EARLIER_RUN" in told["answers"]["next"][0]["command"]
    for page in _pages(fine_tuned):
        found = OF_THE_ZOO.search(page)
        assert not found, page[max(0, found.start() - 200) : found.end() + 100]
        assert "NO REFERENCE" in page and "What differs from the recipe it starts from" in page


def test_a_reference_of_ones_own_is_named(fine_tuned, finished_run):
    *_, last = read_metrics(fine_tuned.metrics)
    line = metrics_line(last | {"steps_per_second": 7.0})  # trained again, not copied
    fine_tuned.metrics.write_text(
        "".join([*fine_tuned.metrics.read_text().splitlines(True)[:-1], line])
    )
    asked = verdict.Asked.of([str(finished_run.root)], margin=3)
    write_json(fine_tuned.spec, read_json(fine_tuned.spec) | {"reference": asked.to_json()})
    told = content.of_run(fine_tuned)
    achieved = 100 * told["metrics"]["rows"][0]["value"]
    assert told["verdict"]["reference"]["kind"] == "runs"
    assert told["metrics"]["rows"][0]["published"] == pytest.approx(achieved)
    assert told["answers"]["reached"].startswith(f"Reference reached ({finished_run.root})")
    again = told["answers"]["next"][0]["command"]
    assert "--purpose=finetune" in again and f"--reference={finished_run.root} --margin=3" in again
    assert "AP of the reference" in charts.of_run(told)["checkpoints"].svg
    for page in _pages(fine_tuned):
        found = OF_THE_ZOO.search(page)
        assert not found, page[max(0, found.start() - 200) : found.end() + 100]
        assert "reference" in page
