"""TF-Vision's published figures judged: like with like, both sources, its own score cut."""

import copy

import pytest

from replicate import verdict
from replicate.errors import UserError
from replicate.report import content as report_content
from replicate.run import read_json, write_json, write_text
from replicate.tfvision import configs, render
from replicate.zoo import vision
from tests.report import making
from tests.verdict import made

MOBILE = "retinanet_mobilenetv2_256"


def score(ap, cut=None):
    metrics = copy.deepcopy(made.metrics(ap))
    metrics["detections"]["score_threshold"] = cut
    if cut is not None:
        metrics["detections"]["min_score"] = cut
    return metrics


def judged(model, *evaluations, config=None):
    return verdict.of_metrics(list(evaluations), model, config, kind="checkpoint")


@pytest.mark.parametrize(
    ("model", "ap", "expected"),
    [
        (MOBILE, 23.5, "REPLICATED"),
        (MOBILE, 23.2, "NEAR"),
        (MOBILE, 22.0, "NOT REPLICATED"),
        # table 28.1, header 27.6: the nearer counts
        ("retinanet_mobile_spinenet49_384", 28.1, "REPLICATED"),
        ("retinanet_mobile_spinenet49_384", 27.6, "REPLICATED"),
        ("retinanet_mobile_spinenet49_384", 26.9, "NOT REPLICATED"),
        # of classes that no mask was trained of: nothing to compare with
        ("deep_mask_head_rcnn_resnet50_hg52", 33.1, "NOT COMPARABLE"),
    ],
)
def test_figures(model, ap, expected):
    assert judged(model, score(ap, 0.05)).verdict == expected


def test_its_own_cut_is_no_obstacle_and_a_higher_one_is():
    """All of TF-Vision's generators throw away what scores below 0.05 (its configs' default)."""
    assert configs.read(MOBILE).params.at(
        "task.model.detection_generator.pre_nms_score_threshold"
    ) == pytest.approx(0.05)
    assert judged(MOBILE, score(23.5, 0.05)).verdict == "REPLICATED"
    higher = judged(MOBILE, score(23.5, 0.3))
    assert higher.verdict == "NOT COMPARABLE"
    assert "the published figure was cut at 0.05" in higher.reasons[0]
    uncut = judged(MOBILE, score(23.5))
    assert any("these are not cut" in note for note in uncut.notes)
    assert not any("not cut" in note for note in judged(MOBILE, score(23.5, 0.05)).notes)
    nothing = score(0.0)
    nothing["detections"] |= {"min_score": None, "count": 0}
    assert not any("not cut" in note for note in judged(MOBILE, nothing).notes)


@pytest.fixture
def run(tmp_path):
    """A run directory of the row MOBILE, evaluated with its cut."""
    truth = making.groundtruth(tmp_path / "data")
    made_run = making.run_directory(tmp_path / "run", *truth)
    spec = read_json(made_run.spec)
    spec["request"] |= {"model": MOBILE, "overrides": []}
    write_json(made_run.spec, spec)
    config = render.render(MOBILE, render.RenderRequest())
    made_run.pipeline_config.unlink()
    made_run.deviations.unlink()
    write_text(made_run.root / "params.yaml", render.text_of(config, MOBILE))
    for step in made_run.evaluated_steps():
        path = made_run.eval_at(step) / "metrics.json"
        metrics = read_json(path)
        metrics["detections"]["score_threshold"] = 0.05
        write_json(path, metrics)
    return made_run


def test_a_run_is_held_against_its_own_engine_s_models(run, tmp_path):
    zoo_model = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"
    assert verdict.of_runs([run]).verdict == "NOT COMPARABLE"  # drawn images
    with pytest.raises(UserError, match="a run of TF-Vision; ssd_mobilenet.* the Object Detection"):
        verdict.of_runs([run], model=zoo_model)
    data = making.groundtruth(tmp_path / "data")
    other = making.run_directory(tmp_path / "other", *data, skill=0.5)
    for runs in ([other], [other, run]):
        with pytest.raises(UserError, match=f"{MOBILE} is TF-Vision's"):
            verdict.of_runs(runs, model=MOBILE)
    assert verdict.of_runs([run], reference=verdict.Asked.of([str(other.root)])).figures


def test_the_report_has_what_was_published_and_no_word_of_its_own_cut(run):
    content = report_content.of_run(run)
    assert content["model"]["published"] == {"box AP": 23.5}
    assert "official/vision" in content["model"]["sources"][0]
    assert not any("look cut" in line for line in content["metrics"]["remarks"])
    assert not any("look cut" in fact["text"] for fact in content["facts"])


def test_its_own_cut_is_no_cause():
    """A figure that was missed with detections cut as published was not missed by the cut."""

    def causes(cut):
        return {cause["number"]: cause for cause in judged(MOBILE, score(22.0, cut)).likely_causes}

    assert 14 not in causes(0.05) or causes(0.05)[14]["likelihood"] == "not ruled out"
    assert any("cut at a score of about 0.3" in text for text in causes(0.3)[14]["evidence"])


def test_another_network_is_not_comparable():
    request = render.RenderRequest(overrides=[("task.model.input_size", "[320, 320, 3]")])
    changed = render.render(MOBILE, request)
    answer = judged(MOBILE, score(23.5, 0.05), config=changed)
    assert answer.verdict == "NOT COMPARABLE"
    assert "320 for 256" in " ".join(answer.reasons)
    same = render.render(MOBILE, render.RenderRequest(val_records="elsewhere*"))
    assert judged(MOBILE, score(23.5, 0.05), config=same).verdict == "REPLICATED"


def test_figures_have_their_documents():
    row = vision.find("cascadercnn_spinenet96_1024").as_row()
    table, header = row.table_figure("mask"), row.header_figure("mask")
    assert (table.points, table.decimals, header.points) == (43.8, 1, 45.0)
    assert table.val2017 == "stated" and header.val2017 == "inferred"
    assert header.document.endswith("coco_spinenet96_cascadercnn_tpu.yaml")
    alone = vision.find("retinanet_mobilenet_multi_avg_256").as_row()
    assert alone.table_figure("box") is None
    assert (alone.header_figure("box").points, alone.header_figure("box").decimals) == (24.92, 2)
