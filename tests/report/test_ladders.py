"""A ladder of exported forms on the comparison's page."""

import pytest

from replicate import report
from replicate.errors import UserError
from replicate.report import ladders
from replicate.run import read_json, write_json


def _rung(form, ap, difference=None, **more):
    return {
        "form": form,
        "path": f"exported/a/{form}",
        "says": "as converted",
        "preprocessing": "the checkpoint's",
        "AP": ap,
        "AP50": None,
        "difference": difference,
        "low": None if difference is None else difference - 0.01,
        "high": None if difference is None else difference + 0.01,
        "of": "population",
        "kept": None,
        "warmup_batches": 2,
        "latency_ms": {"median": 4.25, "p90": 5.0, "p95": 6.5},
        "device": "CPU: made, 1 thread",
        "bytes": 2_700_000,
    } | more


@pytest.fixture
def ladder(tmp_path):
    path = tmp_path / "exported" / "ladder.json"
    path.parent.mkdir()
    (path.parent / "export.json").write_text("{}")
    device = {"preprocessing": "a device's"}
    rungs = [
        _rung("checkpoint", 0.5234),
        _rung("tflite", 0.5234, 0.0),
        _rung("tflite_int8", 0.5165, -0.0069, **device),
    ]
    dataset = {"annotations_file": "val.json", "image_dir": None, "images": 2}
    dataset |= {"annotations_sha256": "0" * 64, "images_sha256": None}
    content = {"format": 1, "export": "exported/a", "dataset": dataset, "tolerance_points": 0.1}
    write_json(path, content | {"rungs": rungs})
    return path


def test_the_page_has_every_rung(ladder, compared_runs, tmp_path):
    run = compared_runs["finished"].root
    page = report.write_comparison([run, ladder.parent], tmp_path / "page", samples=0)
    text = page.read_text()
    assert "From checkpoint to device" in text and "exported/a" in text
    assert "tflite_int8, a device&#39;s pixels" in text
    assert "-0.69" in text or "−0.69" in text
    told = read_json(page.with_name("comparison.json"))["ladders"]
    assert [rung["AP"] for rung in told[0]["rungs"]] == [0.5234, 0.5234, 0.5165]
    plain = report.write_comparison([run], tmp_path / "plain", samples=0)
    assert "From checkpoint to device" not in plain.read_text()


def test_the_plot_names_its_forms(ladder):
    _, (content,) = ladders.split([str(ladder)])
    plot = ladders.drawn([content])["ladder-0"]
    assert "exported/a" in plot.title and plot.svg.count("<svg") == 1


def test_what_is_no_ladder(ladder, tmp_path):
    record = tmp_path / "record.json"
    write_json(record, {"model": {}, "metrics": {}})
    assert ladders.split([str(record), "runs/a"]) == ([str(record), "runs/a"], [])
    write_json(ladder, {"rungs": [{"form": "tflite"}]})
    with pytest.raises(UserError, match="not a ladder"):
        ladders.split([str(ladder)])
    ladder.unlink()
    with pytest.raises(UserError, match="an export without ladder.json"):
        ladders.split([str(ladder.parent)])
