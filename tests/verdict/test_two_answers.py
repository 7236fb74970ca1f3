"""Was the figure reached, under which conditions? Full-size evaluations whose truth is known."""

import copy
import json
import re
import shutil

import pytest

from replicate import config, reasons, verdict, zoo
from replicate.errors import UserError
from replicate.run import write_json
from tests.verdict import made

MODEL = "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"  # box 22.2, batch 128, 50,000 steps
TPU_8 = [
    each.template
    for each in zoo.rows()
    if each.family == "faster_rcnn" and each.template and each.template.endswith("tpu-8")
]
MASKS = "mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8"  # table 39.0/34.6, header 40.4/35.5
COSINE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"


@pytest.fixture
def judged(tmp_path):
    """judged(points, …) makes one run and gives its verdict."""

    def of(points, model=MODEL, **how):
        return verdict.of_runs([made.run_directory(tmp_path / "run", model, points, **how)])

    return of


def first_causes(answer):
    return [each["cause"] for each in answer.likely_causes if each["evidence"]]


def test_scaled_by_the_linear_rule_is_reached_and_named_once(judged):
    answer = judged(22.21, batch=32)
    assert answer.verdict == "REPLICATED" and answer.reached
    assert answer.conditions.answer == "scaled" and answer.conditions.changes == []
    assert answer.conditions.scaling["factor"] == 0.25
    assert answer.text().count("linear rule") == 1
    assert "batch 32 for 128, rates × 1/4, schedule ÷ 1/4" in answer.headline


@pytest.mark.parametrize(
    "overrides, causes, path",
    [
        # The batch alone: rate and steps stay the published ones, so a quarter of the images is
        # seen.
        (
            (("train_config.batch_size", "32"),),
            ["undertrained", "smaller batch"],
            "train_config.batch_size",
        ),
        # A schedule that ends early.
        (
            (("train_config.num_steps", "5000"), (f"{COSINE}.total_steps", "5000")),
            ["undertrained"],
            "train_config.num_steps",
        ),
    ],
)
def test_a_slip_is_not_reached_with_the_slip_as_the_cause(judged, overrides, causes, path):
    answer = judged(19.0, overrides=overrides)
    assert answer.verdict == "NOT REPLICATED" and answer.reached is False
    assert "3.20 below" in answer.reasons[0]
    assert answer.conditions.answer == "changed"
    assert path in [each.path for each in answer.conditions.changes]
    for cause, expected in zip(first_causes(answer), causes, strict=False):
        assert cause.startswith(expected)
    assert verdict.exit_status(answer.verdict) == 1


def test_scaled_but_for_its_schedule_says_what_the_rule_gives(judged):
    answer = judged(19.0, batch=32, overrides=[("train_config.num_steps", "50000")])
    assert answer.conditions.answer == "changed" and answer.conditions.scaling
    (change,) = answer.conditions.changes
    assert change.sentence == "train_config.num_steps is 50000; the linear rule gives 200000"


@pytest.mark.parametrize(
    "path, value",
    [
        ("train_input_reader.shuffle_buffer_size", "11"),
        ("train_input_reader.filenames_shuffle_buffer_size", "7"),
        ("eval_input_reader[0].num_parallel_batches", "3"),
        ("eval_input_reader[0].num_prefetch_batches", "3"),
        ("eval_input_reader[0].queue_capacity", "9"),
        ("eval_input_reader[0].prefetch_size", "9"),
        ("eval_input_reader[0].shuffle_buffer_size", "9"),
    ],
)
def test_speed_only(judged, path, value):
    answer = judged(22.2, overrides=[(path, value)])
    assert (answer.verdict, answer.conditions.answer) == ("REPLICATED", "as published")


def test_six_recipes_keep_300():
    assert len(TPU_8) == 6


@pytest.mark.parametrize("model", TPU_8)
def test_a_recipe_that_keeps_300_detections(judged, model):
    points = zoo.find(model).box_map
    score = made.metrics(points, detections__max_per_image=300, detections__cap_per_image=300)
    answer = judged(points, model, scores=[score])
    assert (answer.verdict, answer.conditions.answer) == ("REPLICATED", "as published")


def test_a_tenth_of_the_training_images_comes_first(judged):
    answer = judged(19.0, train=(11_829, 86_000, 1_005))
    assert answer.verdict == "NOT REPLICATED" and answer.conditions.answer == "changed"
    first = answer.likely_causes[0]
    assert first["cause"].startswith("trained on other or fewer images than train2017")
    assert (
        "11,829 images with 86,000 annotations (10.0 % of train2017's 118,287)"
        in (first["evidence"][0])
    )
    # The starting checkpoint matched: that is ruled out.
    assert not any("checkpoint was not loaded" in each["cause"] for each in answer.likely_causes)


def test_seeds_that_spread_are_inconclusive_and_what_would_settle_it(tmp_path):
    runs = [
        made.run_directory(tmp_path / str(seed), MODEL, points, seed=seed)
        for seed, points in enumerate((21.6, 22.2, 22.8))
    ]
    answer = verdict.of_runs(runs)
    assert answer.verdict == "INCONCLUSIVE" and answer.reached is None
    assert re.search(r"\d+ seeds would settle it in 80 % of cases", answer.reasons[0])
    assert verdict.exit_status(answer.verdict) == 1


def test_one_run_three_times_is_refused(tmp_path):
    run = made.run_directory(tmp_path / "run", MODEL, 22.2)
    with pytest.raises(UserError, match="named 3 times: that is one run"):
        verdict.of_runs([run, run.root, str(run.root)])
    score = made.metrics(22.2)
    with pytest.raises(UserError, match="one run and its copy are no two seeds"):
        verdict.of_metrics([score, copy.deepcopy(score)], MODEL)


def test_a_copied_run_directory_is_refused(tmp_path):
    run = made.run_directory(tmp_path / "run", MODEL, 22.2)
    shutil.copytree(run.root, tmp_path / "copy")
    told = f"{tmp_path}/copy: its detections are the same, byte for byte, as {run.root}'s: one run"
    with pytest.raises(UserError, match=told):
        verdict.of_runs([run, tmp_path / "copy"])


def test_without_a_config_the_setup_is_not_known():
    answer = verdict.of_metrics([made.metrics(22.2)], MODEL)
    assert (answer.verdict, answer.conditions.answer) == ("REPLICATED", "not known")
    assert "not known: no config was compared" in answer.headline


def test_masks_beside_boxes_count_by_either_route():
    """One evaluation's file of boxes and masks, and the same as two files."""
    boxes, masks = made.metrics(40.4), made.metrics(20.0, "segm")
    together = verdict.of_metrics([boxes | {"others": [masks]}], MASKS)
    assert together.to_json() == verdict.of_metrics([boxes, masks], MASKS).to_json()
    assert set(together.achieved) == {"box AP", "mask AP"}


def test_the_headers_figure_where_the_table_has_another(judged):
    answer = judged(None, MASKS, scores=[made.metrics(40.4), made.metrics(35.5, "segm")])
    assert answer.verdict == "REPLICATED"
    assert "40.40 against 40.4, equal" in answer.reasons[0]
    assert "the zoo's table says 39.0, 1.40 lower" in answer.reasons[0]
    assert answer.figures["mask AP"]["header"] == 35.5
    assert answer.published == {"box AP": 39.0, "mask AP": 34.6}
    by_table = judged(None, MASKS, scores=[made.metrics(39.0), made.metrics(34.6, "segm")])
    assert by_table.verdict == "REPLICATED"
    neither = judged(None, MASKS, scores=[made.metrics(36.5), made.metrics(31.5, "segm")])
    assert neither.verdict == "NOT REPLICATED"
    assert any(each["number"] == 20 for each in neither.likely_causes)


def _crowds_cleared(content):
    for each in content["annotations"]:
        each["iscrowd"] = 0


def _areas_recomputed(content):
    for each in content["annotations"]:
        each["area"] = each["bbox"][2] * each["bbox"][3]


def _another_category(content):
    for each in content["annotations"][:9]:
        each["category_id"] = 90


def _other_ids(content):
    for each in content["images"]:
        each["id"] += 100_000
    for each in content["annotations"]:
        each["image_id"] += 100_000


@pytest.mark.parametrize(
    "spoil, told",
    [
        (_crowds_cleared, "marks 0 annotations as crowds; instances_val2017.json marks 446"),
        (_areas_recomputed, "areas that were computed again from the boxes"),
        (_another_category, "10,768 of 'person', where there are 10,777"),
        (_other_ids, "not those of instances_val2017.json"),
    ],
)
def test_not_the_published_evaluation_set(judged, spoil, told):
    content = made.annotations()
    spoil(content)
    score = made.scored(content, most=5)
    score["metrics"]["AP"] = 0.222
    answer = judged(None, scores=[score])
    assert answer.verdict == "NOT COMPARABLE" and verdict.exit_status(answer.verdict) == 3
    (reason,) = answer.reasons
    assert told in reason


def test_123_keypoint_annotations():
    content = made.annotations(persons=True)
    content["annotations"] = content["annotations"][:123]
    score = made.scored(content, "keypoints", most=3)
    score["metrics"]["AP"] = 0.645
    answer = verdict.of_metrics(
        [score], "centernet_hourglass104_1024x1024_kpts_coco17_tpu-32", kind="checkpoint"
    )
    assert answer.verdict == "NOT COMPARABLE"
    assert "123 of 'person', where there are 10,777" in answer.reasons[0]


def test_two_of_fifty_thousand_steps(judged):
    answer = judged(0.1, step=2)
    first = answer.likely_causes[0]
    assert first["cause"].startswith("undertrained")
    assert "0.004 % of the recipe's 6,400,000" in first["evidence"][0]
    assert first["likelihood"] == "shown by this run"


def test_on_adam_the_rule_is_not_established(judged):
    model = "centernet_resnet50_v1_fpn_512x512_kpts_coco17_tpu-8"
    batch = config.read(model).train_config.batch_size // 4
    points = zoo.find(model).box_map
    answer = judged(points, model, batch=batch)
    assert answer.conditions.scaling["optimizer"] == "adam"
    assert "for Adam the rule is not established" in answer.headline


def test_the_official_file_given_once_is_remembered(tmp_path, monkeypatch, judged):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    official = tmp_path / "instances_val2017.json"
    content = made.annotations()
    official.write_text(json.dumps(content))
    verdict.remember_official(official)
    content["annotations"][5]["bbox"][2] += 1
    score = made.scored(content, most=5)
    score["metrics"]["AP"] = 0.222
    answer = judged(None, scores=[score])
    assert answer.verdict == "NOT COMPARABLE" and "has other boxes than" in answer.reasons[0]
    same = made.scored(made.annotations(), most=5)
    same["metrics"]["AP"] = 0.222
    answer = judged(None, scores=[same])
    assert answer.verdict == "REPLICATED" and answer.facts[0]["evaluation"]["official"] is True
    content["annotations"].pop()
    official.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not COCO's instances_val2017.json"):
        verdict.remember_official(official)


def test_what_explain_measured_in_the_run_is_taken(tmp_path):
    run = made.run_directory(tmp_path / "run", MODEL, 19.0)
    decoder = reasons.DECODER.number
    measured = [(-0.2, [-0.3, -0.1], decoder), (-9.0, None, None), (None, None, decoder)]
    changes = [
        {"reason": reason, "delta_ap": delta, "interval": interval}
        for delta, interval, reason in measured
    ]
    write_json(run.root / "explain" / "model.json", {"changes": changes})
    write_json(run.root / "explain" / "other.json", ["another shape"])
    causes = {each["number"]: each for each in verdict.of_runs([run]).likely_causes}
    decoder = causes[reasons.DECODER.number]
    assert decoder["measured"] and decoder["effect"] == (
        "measured on this model: −0.20 points (−0.30 to −0.10)"
    )
    assert not causes[reasons.RESUME.number]["measured"]
