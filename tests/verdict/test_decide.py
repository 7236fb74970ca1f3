"""The verdict as tables: facts in, answer out."""

import re
import statistics

import pytest
from scipy import stats

from replicate import verdict, zoo
from replicate.errors import UserError
from replicate.verdict import comparable
from tests.verdict.facts import deviation, metrics

BOXES = zoo.find("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8")  # box 22.2
MASKS = zoo.find("mask_rcnn_inception_resnet_v2_1024x1024_coco17_gpu-8")  # box 39.0, mask 34.6


@pytest.mark.parametrize(
    "kind, points, expected",
    [
        # A published checkpoint: within 0.1, near to 0.5.
        ("checkpoint", 22.2, "REPLICATED"),
        ("checkpoint", 22.3, "REPLICATED"),
        ("checkpoint", 22.1, "REPLICATED"),
        ("checkpoint", 22.31, "NEAR"),
        ("checkpoint", 21.7, "NEAR"),
        ("checkpoint", 21.69, "NOT REPLICATED"),
        # A training run: within 0.5, near to 1.0, on either side.
        ("training", 21.7, "REPLICATED"),
        ("training", 22.7, "REPLICATED"),
        ("training", 21.69, "NEAR"),
        ("training", 21.2, "NEAR"),
        ("training", 21.19, "NOT REPLICATED"),
        ("training", 23.21, "NOT REPLICATED"),
    ],
)
def test_one_run(kind, points, expected):
    answer = verdict.decide(BOXES, metrics(points), kind=kind)
    assert answer.verdict == expected
    assert answer.achieved == {"box AP": pytest.approx(points)}
    assert answer.published == {"box AP": 22.2}
    assert f"{points:.2f} against 22.2" in answer.reasons[0]
    assert answer.tolerance["kind"] == kind and answer.sources
    assert (answer.likely_causes == []) == (expected == "REPLICATED")


@pytest.mark.parametrize(
    "points, expected",
    [
        ([22.1, 22.2, 22.3], "REPLICATED"),
        ([22.5, 22.6, 22.65], "NEAR"),
        # The mean is within 0.5, but the spread is too large for three runs to show it.
        ([21.5, 22.2, 22.9], "NOT REPLICATED"),
        ([20.0, 20.1, 20.2], "NOT REPLICATED"),
        ([22.2, 22.2, 22.2], "REPLICATED"),
        ([21.9, 22.0, 21.7, 22.1, 21.8], "REPLICATED"),
    ],
)
def test_three_seeds_are_tested_for_equivalence(points, expected):
    answer = verdict.decide(BOXES, [metrics(each) for each in points])
    assert answer.verdict == expected
    test = answer.tests["box AP"]
    assert test["mean"] == pytest.approx(statistics.fmean(points))
    assert test["seeds"] == len(points) and "TOST" in answer.reasons[0]
    assert answer.seeds["box AP"] == pytest.approx(points)


def test_two_seeds_are_too_few_for_a_test():
    answer = verdict.decide(BOXES, [metrics(21.9), metrics(22.1)])
    assert answer.verdict == "REPLICATED" and answer.tests == {}
    assert "mean of 2 seeds" in answer.reasons[0]


def test_equivalence_is_the_confidence_interval_within_the_margin():
    """TOST at 5 % says the same as: the 90 % confidence interval lies within the margin."""
    for values in ([22.0, 22.4, 22.3, 21.9], [21.8, 22.6, 22.9], [21.7, 22.0, 21.9]):
        low, high = stats.t.interval(
            0.9, len(values) - 1, statistics.fmean(values), stats.sem(values)
        )
        for margin in (0.2, 0.5, 1.0, 2.0):
            inside = 22.2 - margin < low and high < 22.2 + margin
            assert verdict.equivalence(values, 22.2, margin)["equivalent"] == inside


def test_the_worst_of_boxes_and_masks():
    row_box, row_mask = MASKS.box_map, MASKS.mask_map
    answer = verdict.decide(
        MASKS, [metrics(row_box), metrics(row_mask - 0.8, "segm")], kind="training"
    )
    assert answer.verdict == "NEAR"
    assert set(answer.achieved) == {"box AP", "mask AP"} and len(answer.reasons) == 2


def test_an_unevaluated_figure_is_noted():
    answer = verdict.decide(MASKS, metrics(MASKS.box_map))
    assert answer.verdict == "REPLICATED"
    assert answer.notes == [f"mask AP was published ({MASKS.mask_map:.1f}) and not evaluated"]


ONE_CATEGORY = [{"id": 1, "name": "widget", "AP": 0.2, "groundtruth": 9, "detections": 9}]
SHIFTED = [
    {"id": i, "name": name, "AP": 0.2, "groundtruth": 9, "detections": 9}
    for i, name in enumerate(comparable.coco_categories().values())
]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"annotations__images": 128}, "evaluated on 128 images .* val2017's 5,000"),
        ({"annotations__images": 8059}, "evaluated on 8,059 images"),
        ({"annotations__annotations": 36335}, "has 36,335 annotations .* has 36,781"),
        ({"per_category": ONE_CATEGORY}, r"categories scored: 1; COCO has 80 \(not COCO's: widget"),
        ({"per_category": SHIFTED}, "COCO's names under other ids"),
        ({"detections__score_threshold": 0.3}, "cut at a score of about 0.3"),
        ({"detections__cap_per_image": 10}, "capped at 10 an image"),
        ({"detections__max_per_image": 300}, "up to 300 detections an image"),
        ({"agree": False}, "evaluators disagree"),
        ({"metrics__AP": None}, "AP is undefined"),
    ],
)
def test_not_comparable_by_facts(changes, reason):
    for kind in ("training", "checkpoint"):
        answer = verdict.decide(BOXES, metrics(22.2, **changes), kind=kind)
        assert answer.verdict == "NOT COMPARABLE"
        (only,) = answer.reasons
        assert re.search(reason, only)


def test_image_ids_against_the_users_official_file():
    official = {"file": "official.json", "image_ids_sha256": "5" * 64, "images": 5000}
    same = verdict.decide(BOXES, metrics(22.2), val2017=official)
    assert same.verdict == "REPLICATED"
    other = verdict.decide(BOXES, metrics(22.2), val2017=official | {"image_ids_sha256": "6" * 64})
    assert other.verdict == "NOT COMPARABLE"
    assert "5,000 images, but not those of official.json" in other.reasons[0]


@pytest.mark.parametrize(
    "cls, training, checkpoint",
    [
        ("paths", "REPLICATED", "REPLICATED"),
        ("cosmetic", "REPLICATED", "REPLICATED"),
        ("speed only", "REPLICATED", "REPLICATED"),
        ("training", "NOT COMPARABLE", "REPLICATED"),
        ("evaluation", "NOT COMPARABLE", "NOT COMPARABLE"),
        ("architecture", "NOT COMPARABLE", "NOT COMPARABLE"),
    ],
)
def test_a_deviation_counts_where_it_bears_on_the_figure(cls, training, checkpoint):
    changed = [deviation("train_config.batch_size", cls, a=128, b=8, why="rate is for 128")]
    assert verdict.decide(BOXES, metrics(22.2), changed, kind="training").verdict == training
    answer = verdict.decide(BOXES, metrics(22.2), changed, kind="checkpoint")
    assert answer.verdict == checkpoint
    if checkpoint == "NOT COMPARABLE":
        assert answer.reasons == [
            f"{cls} differs: train_config.batch_size is 8, published with 128: rate is for 128"
        ]


@pytest.mark.parametrize(
    "a, b, told",
    [
        (128, 8, "x.y is 8, published with 128"),
        (None, 8, "x.y is 8, published without it"),
        (128, None, "x.y is not set, published with 128"),
        ("ckpt-1", "", "x.y is empty, published with ckpt-1"),
        ("long " * 30, 1, "x.y is 1, published with " + "long " * 11 + "lo…"),
    ],
)
def test_a_deviation_in_words(a, b, told):
    answer = verdict.decide(BOXES, metrics(22.2), [deviation("x.y", "training", a, b)])
    assert answer.reasons == [f"training differs: {told}"]


def test_every_obstacle_is_named():
    answer = verdict.decide(
        BOXES,
        metrics(41.0, annotations__images=128, per_category=ONE_CATEGORY),
        [deviation("train_config.num_steps", "training"), deviation("model.ssd.x", "architecture")],
    )
    assert len(answer.reasons) == 4


def test_nothing_published():
    answer = verdict.decide(None, metrics(22.2))
    assert answer.verdict == "NOT COMPARABLE"
    assert answer.reasons == ["no figure was published to compare with"]
    answer = verdict.decide(BOXES, metrics(22.2, "segm"))
    assert answer.reasons == [f"{BOXES.archive} was published with box AP, not mask AP"]


def test_unknown_kind():
    with pytest.raises(UserError, match="kind 'eval'; there are: checkpoint, training"):
        verdict.decide(BOXES, metrics(22.2), kind="eval")


def causes_of(*arguments, **keywords):
    return verdict.decide(*arguments, **keywords).likely_causes


@pytest.mark.parametrize(
    "path, title",
    [
        ("train_config.fine_tune_checkpoint", "the classification checkpoint"),
        ("train_config.fine_tune_checkpoint_type", "the classification checkpoint"),
        ("train_config.batch_size", "smaller batch"),
        (
            "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate."
            "learning_rate_base",
            "smaller batch",
        ),
        (
            "train_config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate."
            "total_steps",
            "schedule shorter",
        ),
        ("train_config.num_steps", "schedule shorter"),
        ("train_config.optimizer.use_moving_average", "moving-average"),
        ("eval_config.use_moving_averages", "moving-average"),
        ("model.ssd.num_classes", "the label map"),
        ("model.ssd.post_processing.batch_non_max_suppression.score_threshold", "score threshold"),
        ("model.ssd.image_resizer.fixed_shape_resizer.height", "the config differs"),
    ],
)
def test_a_deviation_speaks_for_its_cause(path, title):
    changed = [deviation(path, "evaluation")]
    first, *rest = causes_of(BOXES, metrics(19.0), changed)
    assert first["cause"].startswith(title)
    assert len(first["evidence"]) == 1 and path in first["evidence"][0]
    assert first["check"] and first["source"] and first["effect"]
    assert all(each["evidence"] == [] for each in rest)


def test_most_likely_first():
    changed = [
        deviation("train_config.num_steps", "training", 50000, 5000),
        deviation("train_config.fine_tune_checkpoint", "training", "x", ""),
    ]
    causes = causes_of(
        BOXES,
        metrics(19.0, detections__score_threshold=0.5),
        changed,
        environment={
            "precision": "mixed_bfloat16",
            "execution": {"gradient_accumulation_steps": 4},
        },
    )
    spoken = [each["cause"].split(":")[0] for each in causes if each["evidence"]]
    assert [each[:12] for each in spoken] == [
        "score thresh",  # 5 points and more
        "the classifi",  # 3.2 points
        "schedule sho",
        "batch-norm s",  # this run split each batch
        "another nume",  # no shift was ever seen
    ]
    assert [bool(each["evidence"]) for each in causes] == sorted(
        (bool(each["evidence"]) for each in causes), reverse=True
    )


def test_nothing_speaks_what_remains():
    """Config and facts are the published ones: what they cannot rule out is left."""
    causes = [each["cause"] for each in causes_of(BOXES, metrics(19.0))]
    assert causes[0] == "the classification checkpoint of the recipe was not loaded"
    for ruled_out in ("schedule", "smaller batch", "moving-average", "evaluated on", "the label"):
        assert not any(each.startswith(ruled_out) for each in causes)
    assert causes_of(BOXES, metrics(19.0), kind="checkpoint")[0]["cause"].startswith("another nume")


def test_environment_differences_stand_in_their_place():
    environment = {
        "precision": "mixed_bfloat16",
        "packages": {"tensorflow": "2.20.0"},
        "gpus": [{"device_name": "NVIDIA H200"}],
        "git": {"revision": "0123456789abcdef", "diff": "+1"},
    }
    changed = [deviation("train_config.num_steps", "training", 50000, 5000)]
    causes = causes_of(BOXES, metrics(19.0), changed, environment=environment)
    told = [each["evidence"][0] for each in causes if each["evidence"]]
    assert told == [
        "training differs: train_config.num_steps is 5000, published with 50000",
        "the working tree differed from revision 0123456789ab",
        "this run used mixed_bfloat16",
        "this run: TensorFlow 2.20.0 on NVIDIA H200",
    ]


def test_a_figure_above_has_other_causes():
    below = [each["cause"] for each in causes_of(BOXES, metrics(19.0))]
    above = [each["cause"] for each in causes_of(BOXES, metrics(25.0))]
    assert any("not loaded" in each for each in below)
    assert not any("not loaded" in each or "records lost" in each for each in above)


def test_categories_without_any_detection():
    rows = metrics(15.0)["per_category"]
    for row in rows[:20]:
        row["detections"] = 0
    first = causes_of(BOXES, metrics(15.0, per_category=rows))[0]
    assert first["cause"].startswith("the label map")
    assert first["evidence"][0].startswith("20 of 80 categories")


def test_json_has_what_the_report_reads():
    value = verdict.decide(BOXES, metrics(19.0)).to_json()
    for key in ("verdict", "reasons", "achieved", "published", "tolerance", "sources"):
        assert value[key]
    assert value["likely_causes"][0]["check"]
