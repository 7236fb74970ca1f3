"""Suppression over candidates in the order of their scores, against the API's own."""

import functools

import numpy as np
import pytest

from replicate import config as configs
from replicate import odapi

odapi.load()

import tensorflow as tf
from object_detection.core import post_processing

from replicate.errors import UserError
from replicate.evaluate import suppression

BATCH, ANCHORS, CLASSES = 3, 120, 5
SETTINGS = {
    "score_thresh": 1e-8,
    "iou_thresh": 0.6,
    "max_size_per_class": 40,
    "max_total_size": 40,
    "change_coordinate_frame": False,
    "soft_nms_sigma": 0.0,
    "use_static_shapes": False,
    "use_class_agnostic_nms": False,
    "use_combined_nms": False,
    "use_partitioned_nms": False,
}
WINDOWS = np.array([[0, 0, 1, 1], [0, 0, 0.75, 1], [0.1, 0, 1, 0.6]], np.float32)


def _boxes(rng, q=1, anchors=ANCHORS):
    """Boxes in clusters, so that many overlap; some lie outside of the window."""
    centers = rng.uniform(-0.1, 1.1, (BATCH, 6, 1, 2))[:, rng.integers(0, 6, anchors)]
    centers = centers + rng.normal(0, 0.02, (BATCH, anchors, q, 2))
    sizes = rng.uniform(0.1, 0.3, (BATCH, anchors, q, 2))
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], -1).astype(np.float32)


def _scores(rng, anchors=ANCHORS):
    return rng.beta(0.5, 3, (BATCH, anchors, CLASSES)).astype(np.float32)


def _in_steps(scores):
    return np.round(scores * 8) / 8


# name: settings, what is done to the scores, arguments
CASES = {
    "plain": ({}, None, {}),
    "a box a class": ({}, None, {"q": CLASSES}),
    "equal scores": ({}, _in_steps, {}),
    "all scores equal": ({}, np.ones_like, {}),
    "few a class": ({"max_size_per_class": 3}, None, {}),
    "fewer than are wanted": ({"score_thresh": 0.6}, None, {}),
    "none at all": ({"score_thresh": 2.0}, None, {}),
    "scores that are no numbers": ({}, lambda scores: scores * np.nan, {}),
    "more wanted than there are": ({"max_total_size": 2000, "max_size_per_class": 500}, None, {}),
    "everything overlaps": ({"iou_thresh": 0.0}, None, {}),
    "relative to the window": ({"change_coordinate_frame": True}, None, {}),
    "some anchors do not count": ({}, None, {"num_valid_boxes": np.array([7, 0, 120], np.int32)}),
    "masks and fields": ({}, _in_steps, {"q": CLASSES, "masks": True}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("candidates", "chunk"), [((2048, 65536), 256), ((10, 50), 7)])
def test_the_apis_boxes_in_the_apis_order(case, candidates, chunk, monkeypatch):
    monkeypatch.setattr(suppression, "_CANDIDATES", candidates)
    monkeypatch.setattr(suppression, "_CHUNK", chunk)
    changed, change_scores, more = CASES[case]
    theirs = functools.partial(
        post_processing.batch_multiclass_non_max_suppression, **(SETTINGS | changed)
    )
    rng = np.random.default_rng(3)
    more = dict(more)
    boxes = _boxes(rng, q=more.pop("q", 1))
    boxes[:, 5] = boxes[:, 5, :, [0, 1, 0, 1]].transpose(1, 2, 0)  # no area
    scores = _scores(rng)
    scores = scores if change_scores is None else change_scores(scores).astype(np.float32)
    if more.pop("masks", False):
        more["masks"] = rng.random((BATCH, ANCHORS, CLASSES, 3, 4), np.float32)
        more["additional_fields"] = {
            "anchor_indices": np.tile(np.arange(ANCHORS, dtype=np.float32), (BATCH, 1)),
            "multiclass_scores": scores,
        }
    more = {"clip_window": WINDOWS} | more
    arguments = tf.nest.map_structure(tf.constant, (boxes, scores, more))

    def results(function):
        traced = tf.function(
            lambda boxes, scores, more: function(boxes, scores, **more), autograph=False
        )
        return [each for each in tf.nest.flatten(traced(*arguments)) if each is not None]

    expected = results(theirs)
    found = results(functools.partial(suppression._suppress, theirs=theirs))
    number = expected[-1].numpy()
    if case in ("none at all", "scores that are no numbers"):
        assert not number.any()
    else:
        assert number.max() > 3
    for ours, theirs in zip(found, expected, strict=True):
        # One unit in the last place, where boxes are taken relative to the window.
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=3e-7, atol=1e-7)


def test_as_many_candidates_as_a_model_has():
    """12,000 anchors: the first candidates do not suffice, since all anchors stand on six spots."""
    rng = np.random.default_rng(4)
    theirs = functools.partial(post_processing.batch_multiclass_non_max_suppression, **SETTINGS)
    boxes, scores = _boxes(rng, anchors=12000), _scores(rng, anchors=12000)
    arguments = [tf.constant(each) for each in (boxes, scores)]
    expected = theirs(*arguments, clip_window=tf.constant(WINDOWS))
    found = suppression._suppress(*arguments, clip_window=tf.constant(WINDOWS), theirs=theirs)
    assert expected[-1].numpy().min() > 20
    for place in (0, 1, 2, 5):
        np.testing.assert_array_equal(found[place].numpy(), expected[place].numpy())


@pytest.mark.parametrize(
    ("model", "override", "replaced"),
    [
        ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", None, True),
        ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", ("soft_nms_sigma", "0.5"), False),
        ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", ("use_static_shapes", "true"), False),
        ("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8", ("use_combined_nms", "true"), False),
        ("centernet_resnet101_v1_fpn_512x512_coco17_tpu-8", None, False),
    ],
)
def test_what_is_left_to_the_api(model, override, replaced):
    path = "model.ssd.post_processing.batch_non_max_suppression"
    overrides = [(f"{path}.{override[0]}", override[1])] if override else []
    built = odapi.build_model(configs.render(model, overrides=overrides).model, is_training=False)
    assert suppression.replace(built) is replaced
    assert suppression.replace(built) is False, "once is enough"


def test_whose_suppression_runs():
    """What is asked for, what the model has, what then runs."""

    def model(**functions):
        found = type("Model", (), {})()
        for name, settings in functions.items():
            setattr(found, name, functools.partial(len, **settings) if settings else None)
        return found

    ssd = {"_non_max_suppression_fn": SETTINGS}
    assert suppression.choose(model(**ssd)) == "kit"
    assert suppression.choose(model(**ssd), "api") == "api"
    assert suppression.choose(model(_second_stage_nms_fn=SETTINGS)) == "kit"
    soft = SETTINGS | {"soft_nms_sigma": 0.5}
    assert suppression.choose(model(_non_max_suppression_fn=soft)) == "api"
    # CenterNet has none; of a model of proposals alone the first stage's is never replaced.
    assert suppression.choose(model(_non_max_suppression_fn=None)) == "none"
    proposals = model(_second_stage_nms_fn=SETTINGS)
    proposals._number_of_stages = 1
    assert suppression.choose(proposals) == "api"
    with pytest.raises(UserError, match="suppression 'tf'; there are: kit, api"):
        suppression.choose(model(**ssd), "tf")
