"""The causes of a missed figure, as tables: what the run shows, what comes first."""

import pytest

from replicate import reasons, verdict, zoo
from replicate.verdict import RunFacts
from tests.verdict.made import deviation, metrics

BOXES = zoo.find("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8")  # box 22.2
RATE = "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate"


def causes_of(points=19.0, deviations=(), score=None, **how):
    how["facts"] = [RunFacts(**how.pop("known"))] if "known" in how else ()
    return verdict.decide(BOXES, score or metrics(points), list(deviations), **how).likely_causes


@pytest.mark.parametrize(
    "path, reason",
    [
        ("train_config.fine_tune_checkpoint", reasons.START),
        ("train_config.fine_tune_checkpoint_type", reasons.START),
        ("train_config.batch_size", reasons.RATE),
        (f"{RATE}.learning_rate_base", reasons.RATE),
        (f"{RATE}.total_steps", reasons.SCHEDULE),
        ("train_config.num_steps", reasons.SCHEDULE),
        ("train_config.optimizer.use_moving_average", reasons.AVERAGES),
        ("eval_config.use_moving_averages", reasons.AVERAGES),
        ("model.ssd.post_processing.batch_non_max_suppression.iou_threshold", reasons.CUT),
        ("train_config.data_augmentation_options[0]", reasons.DRIFT),
    ],
)
def test_a_deviation_speaks_for_its_cause(path, reason):
    first, *rest = causes_of(deviations=[deviation(path, "evaluation")])
    assert (first["cause"], first["number"]) == (reason.cause, reason.number)
    assert len(first["evidence"]) == 1 and path in first["evidence"][0]
    assert first["check"] and first["source"] and first["effect"] and first["mend"]
    assert all(each["evidence"] == [] for each in rest)


TRAIN = {"file": "t.json", "images": 1183, "annotations": 8600, "dropped": 0}
WHOLE = {"file": "t.json", "images": 118_287, "annotations": 860_001, "dropped": 0}


@pytest.mark.parametrize(
    "known, score, expected",
    [
        # A hundredth of the images outranks everything.
        ({"training": TRAIN}, {}, reasons.TRAINING_IMAGES),
        ({"images_seen": 256, "published_images_seen": 6_400_000}, {}, reasons.SCHEDULE),
        ({"losses": {"finite": False, "first": 2.0, "last": None}}, {}, reasons.DIVERGED),
        ({"losses": {"finite": True, "first": 2.0, "last": 80.0}}, {}, reasons.DIVERGED),
        (
            {"micro_batches": 4, "losses": {"finite": True, "first": 1.9, "last": 2.0}},
            {},
            reasons.BATCH_NORM,
        ),
        ({"start": {"path": "x", "matched": 3, "variables": 200}}, {}, reasons.START),
        ({"start": {"path": "", "matched": 0, "variables": 0}}, {}, reasons.START),
        ({"micro_batches": 4}, {}, reasons.BATCH_NORM),
        (
            {"global_batch": 128, "replicas": 1, "published_batch": 128, "published_replicas": 8},
            {},
            reasons.BATCH_NORM,
        ),
        ({"precision": "float32", "recipe_bfloat16": True}, {}, reasons.BFLOAT16),
        ({"precision": "mixed_float16"}, {}, reasons.PRECISION),
        ({"training": WHOLE | {"dropped": 90_000}}, {}, reasons.RECORDS),
        ({"evaluation": {"decoder": "pillow"}}, {}, reasons.DECODER),
        ({}, {"detections__score_threshold": 0.3}, reasons.CUT),
        ({}, {"agree": False}, reasons.EVALUATORS),
        ({}, {"annotations__images": 8059}, reasons.IMAGES),
        (
            {"preflight": {"statuses": {"9": "fail"}, "seen": {"9": "no optimizer"}, "forced": []}},
            {},
            reasons.RESUME,
        ),
    ],
)
def test_what_a_run_shows_comes_first(known, score, expected):
    first = causes_of(score=metrics(19.0, **score), known=known)[0]
    assert first["cause"] == expected.cause and first["evidence"]


def test_facts_outrank_the_config_and_the_larger_share_the_smaller():
    known = {"training": TRAIN, "images_seen": 3_000_000, "published_images_seen": 6_400_000}
    changed = [deviation("train_config.batch_size", "training", 128, 32)]
    shown = [each["number"] for each in causes_of(deviations=changed, known=known)]
    assert shown[:3] == [17, 8, 4]


def test_what_the_facts_rule_out_is_left_out():
    open_ones = {each["number"] for each in causes_of()}
    assert {1, 6, 9, 17, 18, 24} <= open_ones
    known = {
        "training": WHOLE,
        "start": {"path": "x", "matched": 200, "variables": 200},
        "images_seen": 6_400_000,
        "published_images_seen": 6_400_000,
        "losses": {"finite": True, "first": 2.0, "last": 0.3},
        "evaluation": {"decoder": "tensorflow"},
        "preflight": {"statuses": {"5": "pass", "9": "pass"}, "seen": {}, "forced": []},
    }
    left = {each["number"] for each in causes_of(known=known)}
    assert not left & {1, 5, 6, 8, 9, 17, 18, 24}


def test_chance_drops_out_beyond_three_standard_errors():
    chance = reasons.CHANCE.cause
    assert chance in [each["cause"] for each in causes_of(21.0)]  # 2.7 standard errors
    assert chance not in [each["cause"] for each in causes_of(20.8)]


def test_a_figure_above_has_other_causes():
    overlap = {"statuses": {"2": "warn"}, "seen": {"2": "training images are evaluated"}}
    known = {"preflight": overlap | {"forced": []}}
    below = {each["number"] for each in causes_of(19.0)}
    above = {each["number"] for each in causes_of(25.0)}
    assert 1 in below and 26 not in below and not above & {1, 6, 8, 9, 17, 24}
    assert 26 in above and causes_of(25.0, known=known)[0]["number"] == 26


def test_training_images_evaluated_by_the_hash_of_the_annotation_file():
    """Whatever was known before the start: the records' manifest and what was scored tell it."""
    evaluated = {"file": "b.json", "sha256": "1" * 64, "image_ids_sha256": "2" * 64}
    known = {"training": TRAIN | {"sha256": "1" * 64}, "evaluation": evaluated}
    for points in (19.0, 25.0):
        case = verdict.decide(BOXES, metrics(points), [], facts=[RunFacts(**known)])
        (found,) = (each for each in case.likely_causes if each["number"] == 26)
        assert found["likelihood"] == "shown by this run"
        (sentence,) = found["evidence"]
        assert sentence.startswith("training images are evaluated") and "b.json" in sentence
        assert sentence in case.conditions.sentence
    other = known | {"training": TRAIN | {"sha256": "3" * 64}}
    assert not any(
        each["evidence"] for each in causes_of(25.0, known=other) if each["number"] == 26
    )


def test_categories_without_any_detection():
    rows = metrics(15.0)["per_category"]
    for row in rows[:20]:
        row["detections"] = 0
    first = causes_of(score=metrics(15.0, per_category=rows))[0]
    assert first["number"] == reasons.LABELS.number
    assert first["evidence"][0].startswith("20 of 80 categories")


def test_labels_that_preflight_found_right_are_hardly_the_reason():
    rows = metrics(15.0)["per_category"]
    for row in rows[:20]:
        row["detections"] = 0
    score = metrics(15.0, per_category=rows)
    passed = {"preflight": {"statuses": {"7": "pass"}, "seen": {}, "forced": []}}
    start = {"start": {"path": "", "matched": 0, "variables": 0}}
    first, second = causes_of(score=score, known=passed | start)[:2]
    assert (first["number"], first["likelihood"]) == (1, "shown by this run")
    assert first["evidence"] == ["trained from random weights; the recipe starts from a checkpoint"]
    assert (second["number"], second["likelihood"]) == (7, "possible")


@pytest.mark.parametrize("rate_follows", [False, True])
def test_a_batch_at_the_published_rate_is_shown(rate_follows):
    changed = [deviation("train_config.batch_size", "training", 128, 4)]
    if rate_follows:  # by another rule than the linear one
        changed.append(deviation(f"{RATE}.learning_rate_base", "training", 0.08, 0.01))
    known = {"global_batch": 4, "published_batch": 128}
    first = causes_of(deviations=changed, known=known)[0]
    assert first["number"] == 4
    assert first["likelihood"] == ("likely" if rate_follows else "shown by this run")
    assert any("32 times too high" in each for each in first["evidence"]) != rate_follows


def test_code_and_platform_are_told():
    environment = {
        "packages": {"tensorflow": "2.20.0"},
        "gpus": [{"device_name": "NVIDIA H200"}],
        "git": {"revision": "0123456789abcdef", "diff": "+1"},
    }
    told = [each["evidence"] for each in causes_of(environment=environment) if each["evidence"]]
    assert told == [
        ["the working tree differed from revision 0123456789ab"],
        ["this run: TensorFlow 2.20.0 on NVIDIA H200"],
    ]


def test_a_measured_change_takes_the_place_of_the_tables_effect():
    changed = [deviation("train_config.batch_size", "training", 128, 32)]
    explained = [{"reason": reasons.RATE.number, "delta_ap": -0.8, "interval": [-1.0, -0.5]}]
    first = causes_of(deviations=changed, explained=explained)[0]
    assert first["measured"]
    assert first["effect"] == "measured on this model: −0.80 points (−1.00 to −0.50)"
    assert reasons.RATE.effect == causes_of(deviations=changed)[0]["effect"]


def test_other_categories_are_other_groundtruth_and_no_wrong_label_map():
    widget = [{"id": 1, "name": "widget", "AP": 0.2, "groundtruth": 9, "detections": 9}]
    classes = deviation("model.ssd.num_classes", "architecture")
    causes = causes_of(deviations=[classes], score=metrics(19.0, per_category=widget))
    assert causes[0]["number"] == reasons.IMAGES.number
    assert "categories scored: 1" in causes[0]["evidence"][0]
    assert reasons.LABELS.number not in [cause["number"] for cause in causes]
    # Of COCO's categories another number of classes is one.
    assert causes_of(deviations=[classes])[0]["number"] == reasons.LABELS.number
    # What preflight found stays, whatever the categories.
    failed = {"preflight": {"statuses": {"7": "fail"}, "seen": {"7": "RED is red"}, "forced": []}}
    causes = causes_of(score=metrics(19.0, per_category=widget), known=failed)
    assert reasons.LABELS.number in [cause["number"] for cause in causes]


def test_coco_categories_under_other_ids_speak_for_the_label_map():
    rows = metrics(19.0)["per_category"]
    shifted = [row | {"id": number} for number, row in enumerate(rows)]
    first = causes_of(score=metrics(19.0, per_category=shifted))[0]
    assert first["number"] == reasons.LABELS.number
    assert first["evidence"] == ["the categories have COCO's names under other ids"]
