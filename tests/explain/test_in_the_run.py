"""What explain writes into a run is what verdict and report read there, each beside its reason."""

import pytest

from replicate import reasons, report, verdict
from replicate.run import read_json, write_json
from replicate.verdict.measured import sentence
from tests.verdict import made

_MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
_SUPPRESSION = "model.ssd.post_processing.batch_non_max_suppression"


def _run(folder, measured, **how):
    run = made.run_directory(folder / "run", _MODEL, 19.0, **how)
    write_json(run.root / "explain" / "model.json", measured)
    return run


def _cause(run, reason):
    causes = {each["number"]: each for each in verdict.of_runs([run]).likely_causes}
    return causes[reason.number]


def _largest(measured, step):
    rows = [each for each in measured["changes"] if each["step"] == step]
    return max(rows, key=lambda row: abs(row["delta_ap"]))


def test_the_decoders_row_sizes_the_decoder(measured, tmp_path):
    decoder, resize = (_largest(measured, step) for step in ("decoder", "resize"))
    assert abs(resize["delta_ap"]) > abs(decoder["delta_ap"]) > 0, "else nothing is told apart"
    cause = _cause(_run(tmp_path, measured), reasons.DECODER)
    assert cause["measured"] and cause["effect"] == f"measured on this model: {sentence(decoder)}"
    assert cause["effect"].startswith("measured on this model: decoder: ")


@pytest.mark.parametrize(
    "overrides, step",
    [
        ([(f"{_SUPPRESSION}.score_threshold", "0.3")], "score threshold"),
        ([(f"{_SUPPRESSION}.use_class_agnostic_nms", "true")], "suppression"),
        # A .tflite file has its own suppression: nothing was measured of an IoU threshold.
        ([(f"{_SUPPRESSION}.iou_threshold", "0.9")], None),
    ],
)
def test_the_row_is_that_of_the_setting_that_differs(measured, tmp_path, overrides, step):
    cause = _cause(_run(tmp_path, measured, overrides=overrides), reasons.CUT)
    if step is None:
        assert not cause["measured"] and cause["effect"] == reasons.CUT.effect
    else:
        assert cause["effect"] == f"measured on this model: {sentence(_largest(measured, step))}"


def test_detections_that_were_cut_are_sized_by_the_threshold(measured, tmp_path):
    score = made.metrics(19.0, detections__score_threshold=0.3)
    cause = _cause(_run(tmp_path, measured, scores=[score]), reasons.CUT)
    assert cause["effect"] == "measured on this model: " + sentence(
        _largest(measured, "score threshold")
    )


def test_the_report_shows_them_beside_the_cause(measured, tmp_path):
    run = made.run_directory(tmp_path / "run", _MODEL, 19.0)
    write_json(run.verdict, verdict.of_runs([run]).to_json())
    # Measured after the verdict, which names none of it.
    write_json(run.root / "explain" / "model.json", measured)
    report.write(run)
    causes = read_json(run.report / "report.json")["verdict"]["likely_causes"]
    shown = {each["number"]: each["measured_here"] for each in causes}
    decoders = [each for each in measured["changes"] if each["step"] == "decoder"]
    assert shown.pop(reasons.DECODER.number) == [sentence(each) for each in decoders]
    assert len(decoders) == 3 and not any(
        shown[number] for number in shown if number != reasons.CUT.number
    )
    for page in ("index.html", "report.md"):
        text = (run.report / page).read_text()
        assert "by tools/explain.py on this model" in text
        assert f"decoder: {decoders[0]['value']}" in text
