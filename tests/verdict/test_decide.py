"""The verdict as tables: facts in, answer out."""

import re

import pytest

from replicate import verdict, zoo
from replicate.errors import UserError
from replicate.verdict import conditions, official, run_facts
from replicate.verdict.run_facts import RunFacts
from tests.verdict.made import deviation, metrics

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
        # One training run, on either side; the bands follow from the spread between seeds.
        ("training", 22.2, "REPLICATED"),
        ("training", 21.95, "REPLICATED"),
        ("training", 22.45, "REPLICATED"),
        ("training", 21.9, "NEAR"),
        ("training", 21.65, "NEAR"),
        ("training", 21.5, "INCONCLUSIVE"),
        ("training", 23.3, "INCONCLUSIVE"),
        ("training", 21.0, "NOT REPLICATED"),
        ("training", 23.4, "NOT REPLICATED"),
    ],
)
def test_one_run(kind, points, expected):
    answer = verdict.decide(BOXES, metrics(points), [], kind=kind)
    assert answer.verdict == expected
    assert answer.achieved == {"box AP": pytest.approx(points)}
    assert answer.published == {"box AP": 22.2}
    assert f"{points:.2f} against 22.2" in answer.reasons[0]
    assert answer.tolerance["kind"] == kind and answer.sources
    assert (answer.likely_causes == []) == (expected == "REPLICATED")
    assert ("one run" in answer.headline) == (kind == "training")


def test_the_worst_of_boxes_and_masks():
    row_box, row_mask = MASKS.box_map, MASKS.mask_map
    answer = verdict.decide(
        MASKS, [metrics(row_box), metrics(row_mask - 0.8, "segm")], kind="training"
    )
    assert answer.verdict == "INCONCLUSIVE"
    assert set(answer.achieved) == {"box AP", "mask AP"} and len(answer.reasons) == 2


def test_an_unevaluated_figure_is_noted():
    answer = verdict.decide(MASKS, metrics(MASKS.box_map))
    assert answer.verdict == "REPLICATED"
    assert f"mask AP was published ({MASKS.mask_map:.1f}) and not evaluated" in answer.notes


ONE_CATEGORY = [{"id": 1, "name": "widget", "AP": 0.2, "groundtruth": 9, "detections": 9}]
SHIFTED = [
    {"id": i, "name": name, "AP": 0.2, "groundtruth": 9, "detections": 9}
    for i, name in enumerate(official.categories().values())
]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"annotations__images": 128}, "evaluated on 128 images .* val2017's 5,000"),
        ({"annotations__images": 8059}, "evaluated on 8,059 images"),
        ({"annotations__annotations": 36335}, "has 36,335 annotations .* has 36,781"),
        ({"annotations__crowd_annotations": 0}, "marks 0 annotations as crowds"),
        ({"per_category": ONE_CATEGORY}, r"categories scored: 1; COCO has 80 \(not COCO's: widget"),
        ({"per_category": SHIFTED}, "COCO's names under other ids"),
        ({"detections__score_threshold": 0.3}, "cut at a score of about 0.3"),
        ({"detections__cap_per_image": 10}, "capped at 10 an image"),
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
    own = metrics(22.2)["annotations"]
    given = own | {"file": "official.json"}
    same = verdict.decide(BOXES, metrics(22.2), val2017=given)
    assert same.verdict == "REPLICATED"
    other = verdict.decide(BOXES, metrics(22.2), val2017=given | {"image_ids_sha256": "6" * 64})
    assert other.verdict == "NOT COMPARABLE"
    assert "5,000 images, but not those of official.json" in other.reasons[0]


@pytest.mark.parametrize(
    "cls, training, checkpoint",
    [
        ("paths", "as published", "as published"),
        ("cosmetic", "as published", "as published"),
        ("speed only", "as published", "as published"),
        ("training", "changed", "as published"),
        ("evaluation", "changed", "changed"),
    ],
)
def test_a_deviation_is_a_condition_where_it_bears_on_the_figure(cls, training, checkpoint):
    changed = [deviation("train_config.batch_size", cls, a=128, b=8, why="rate is for 128")]
    for kind, expected in (("training", training), ("checkpoint", checkpoint)):
        answer = verdict.decide(BOXES, metrics(22.2), changed, kind=kind)
        assert (answer.verdict, answer.conditions.answer) == ("REPLICATED", expected)
        told = [each.sentence for each in answer.conditions.changes]
        sentence = "train_config.batch_size is 8, published with 128: rate is for 128"
        assert told == [sentence] * (expected == "changed")


def test_another_architecture_is_not_comparable_in_one_sentence():
    changed = [
        deviation(f"model.ssd.image_resizer.fixed_shape_resizer.{side}", "architecture", 320, 192)
        for side in ("height", "width")
    ]
    changed.append(deviation("model.ssd.num_classes", "architecture", 90, 3))
    for kind in ("training", "checkpoint"):
        answer = verdict.decide(BOXES, metrics(22.2), changed, kind=kind)
        assert answer.verdict == "NOT COMPARABLE"
        assert answer.reasons == [
            "the architecture and input size differ in 3 settings (height 192 for 320, width 192 "
            "for 320, num_classes 3 for 90)"
        ]
        assert answer.likely_causes


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
    assert [each.sentence for each in answer.conditions.changes] == [told]


def test_every_obstacle_is_named():
    answer = verdict.decide(
        BOXES,
        metrics(41.0, annotations__images=128, per_category=ONE_CATEGORY),
        [deviation("train_config.num_steps", "training"), deviation("model.ssd.x", "architecture")],
    )
    assert len(answer.reasons) == 3  # the shorter schedule is a condition


def test_nothing_published():
    answer = verdict.decide(None, metrics(22.2))
    assert answer.verdict == "NOT COMPARABLE"
    assert answer.reasons == ["no figure was published to compare with"]
    answer = verdict.decide(BOXES, metrics(22.2, "segm"))
    assert answer.reasons == [f"{BOXES.archive} was published with box AP, not mask AP"]


def test_unknown_kind():
    with pytest.raises(UserError, match="kind 'eval'; there are: checkpoint, training"):
        verdict.decide(BOXES, metrics(22.2), kind="eval")


def test_json_has_what_the_report_reads():
    value = verdict.decide(BOXES, metrics(19.0), []).to_json()
    for key in ("verdict", "headline", "reasons", "achieved", "published", "tolerance", "sources"):
        assert value[key]
    assert value["reached"] is False and value["conditions"]["answer"] == "as published"
    assert value["figures"]["box AP"]["interval90"][1] < 0
    assert value["likely_causes"][0]["check"] and value["likely_causes"][0]["mend"]
    assert verdict.text(value) == verdict.decide(BOXES, metrics(19.0), []).text()


@pytest.mark.parametrize(
    ("field", "note", "sentence"),
    [
        ("jit_compile", "--jit_compile", "evaluated with XLA for TensorFlow's kernels"),
        ("tf32", "TensorFloat-32", "evaluated with TensorFloat-32 for float32"),
    ],
)
def test_how_it_was_computed_is_told(field, note, sentence):
    """As a note beside a published figure, as a condition beside a run evaluated without."""
    how = {"decoder": "tensorflow", "decoder_version": "2", "suppression": "kit", "batch_size": 8}
    changed = how | {field: True}
    told = [
        any(note in each for each in verdict.decide(BOXES, made).notes)
        for made in (metrics(22.2, inference=changed), metrics(22.2, inference=how))
    ]
    assert told == [True, False]
    with_it, without = (
        RunFacts(evaluation=run_facts.of_evaluation(metrics(22.2, inference=each)))
        for each in (changed, how)
    )
    (change,) = conditions.between([with_it], [without])
    assert change.sentence == sentence
    assert not conditions.between([with_it], [with_it])
