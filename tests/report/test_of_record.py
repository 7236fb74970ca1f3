"""The page of one benchmarked model."""

import pytest

from replicate import report
from replicate.run import read_json
from tests.report import axe, browsing


@pytest.fixture(scope="module")
def page(driver, tmp_path_factory, record):
    folder = tmp_path_factory.mktemp("benchmark")
    path = report.write_benchmark(*map(read_json, record), folder, "python tools/benchmark.py …")
    return browsing.Page(driver, path)


def test_figures_are_the_records(page, record):
    metrics = read_json(record[0])["metrics"]["bbox"]
    shown = page.run(
        "Object.fromEntries([...document.querySelectorAll('#metrics-table tbody tr')]"
        ".map((row) => [row.cells[0].textContent, Number(row.cells[1].dataset.value)]))"
    )
    assert shown == pytest.approx(metrics)
    heads = page.texts("#metrics-table th[class*=num]")
    assert "achieved" in heads and "published" not in heads  # nothing was published of it
    assert "Both evaluators give the same figures" in page.run("document.body.innerText")
    assert page.errors() == []


def test_it_has_images_and_nothing_of_a_run(page):
    assert len(page.all(".card")) == 12 and len(page.all(".card img")) == 12
    text = page.run("document.body.innerText")
    for absent in (
        "Preflight",
        "verdict.json",
        "Learning rate",
        "of step",
        "the zoo publishes",
        "tools/report.py --images",
    ):
        assert absent not in text
    links = page.run("[...document.querySelectorAll('nav.toc a')].map((e) => e.hash)")
    assert all(page.all(link) for link in links)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_fault(page, theme):
    assert axe.serious(page, theme) == []


def test_the_record_must_be_that_of_the_detections(record, tmp_path):
    from replicate.errors import UserError

    detections = read_json(record[1])
    with pytest.raises(UserError, match="scored again"):
        report.write_benchmark(read_json(record[0]), detections[: len(detections) // 2], tmp_path)
