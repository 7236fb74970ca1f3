"""Scored image by image, detections give the figures of a score of all at once."""

import json

import numpy as np
import pytest

from replicate.errors import UserError
from replicate.score import Stream, score


def _added(stream, detections, image_ids=None):
    of_image = {}
    for each in detections:
        of_image.setdefault(each["image_id"], []).append(each)
    for image_id in image_ids or of_image:
        found = of_image.get(image_id, [])
        stream.add(
            image_id,
            [each["category_id"] for each in found],
            np.array([each["bbox"] for each in found]).reshape(-1, 4),
            [each["score"] for each in found],
        )
    return stream


def test_the_figures_of_all_at_once(annotations_file, detections):
    streamed = _added(Stream(annotations_file), detections).result(file="a.json", sha256="ab")
    at_once = score(annotations_file, detections)
    assert 0 < at_once.metrics["AP"] < 1
    assert streamed.metrics == at_once.metrics
    assert streamed.agree
    for name, each in at_once.evaluations.items():
        np.testing.assert_array_equal(streamed.evaluations[name].precision, each.precision)
        np.testing.assert_array_equal(streamed.evaluations[name].recall, each.recall)
    theirs, ours = at_once.to_json(), streamed.to_json()
    assert (ours["detections"].pop("file"), ours["detections"].pop("sha256")) == ("a.json", "ab")
    del theirs["detections"]["file"], theirs["detections"]["sha256"]
    assert json.dumps(ours) == json.dumps(theirs)


def test_in_any_order(annotations_file, detections, groundtruth):
    ids = [image["id"] for image in groundtruth["images"]]
    backwards = _added(Stream(annotations_file), detections, ids[::-1]).result()
    assert backwards.metrics == pytest.approx(score(annotations_file, detections).metrics)


def test_images_never_added_count_as_missed(annotations_file, detections, groundtruth):
    some = {image["id"] for image in groundtruth["images"][::2]}
    half = [each for each in detections if each["image_id"] in some]
    streamed = _added(Stream(annotations_file), half).result()
    assert streamed.metrics == score(annotations_file, half).metrics
    assert streamed.metrics["AR@100"] < score(annotations_file, detections).metrics["AR@100"]


@pytest.mark.parametrize(
    ("category_ids", "boxes", "scores", "message"),
    [
        ([1], [[0, 0, 5, 5]], [float("nan")], "no finite number"),
        ([1], [[0, 0, 5, float("inf")]], [0.5], "no finite number"),
        ([4711], [[0, 0, 5, 5]], [0.5], "4711"),
    ],
)
def test_what_cannot_be_scored(category_ids, boxes, scores, message, annotations_file, groundtruth):
    image_id = groundtruth["images"][0]["id"]
    with pytest.raises(UserError, match=message):
        Stream(annotations_file).add(image_id, category_ids, boxes, scores)


def test_an_image_twice_and_an_unknown_one(annotations_file, groundtruth):
    image_id = groundtruth["images"][0]["id"]
    stream = Stream(annotations_file)
    stream.add(image_id, [], np.empty((0, 4)), [])
    with pytest.raises(UserError, match="added before"):
        stream.add(image_id, [], np.empty((0, 4)), [])
    with pytest.raises(UserError, match="not in the file"):
        stream.add(10**9, [], np.empty((0, 4)), [])
