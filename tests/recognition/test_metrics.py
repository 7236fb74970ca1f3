"""Average precision and F1: worked by hand, and against scikit-learn on its own terms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics

from replicate.recognition import metrics
from replicate.recognition.classes import Class

THREE = (Class(1, "cat"), Class(3, "dog"), Class(4, "cow"))
# Four images: cat in 0 and 2, dog in 1, cow in none.
LABELS = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
SCORES = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.9], [0.7, 0.6, 0.1], [0.1, 0.2, 0.3]], np.float32)


def test_a_case_worked_by_hand():
    # cat, by score: image 0 (yes), 1 (no), 2 (yes), 3 (no).
    #   AP = 1/2 * 1/1 + 1/2 * 2/3 = 5/6
    # dog: image 2 (no), 1 (yes), 3, 0.  AP = 1 * 1/2
    found = metrics.of(LABELS, SCORES, THREE, threshold=0.5)
    assert [each["AP"] for each in found["per_category"]] == [
        pytest.approx(5 / 6),
        pytest.approx(1 / 2),
        None,
    ]
    assert found["mean_AP"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert found["without_positives"] == [{"id": 4, "name": "cow"}]
    assert found["categories_counted"] == 2
    # At 0.5: cat is said of 0, 1, 2 (two right); dog of 2 (wrong); cow of 1 (wrong).
    cat, dog, cow = found["per_category"]
    assert (cat["precision"], cat["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert cat["F1"] == pytest.approx(0.8)
    assert (dog["precision"], dog["recall"], dog["F1"]) == (0.0, 0.0, 0.0)
    assert (cow["positives"], cow["precision"], cow["F1"]) == (0, None, None)
    # All decisions: 5 said, 2 right, 3 there. The wrong cow counts here.
    assert found["precision"]["micro"] == pytest.approx(2 / 5)
    assert found["recall"]["micro"] == pytest.approx(2 / 3)
    assert found["F1"]["micro"] == pytest.approx(2 * 2 / (5 + 3))
    assert found["F1"]["macro"] == pytest.approx(0.8 / 2)


def test_a_score_at_the_threshold_is_said():
    found = metrics.of([[True]], np.array([[0.5]], np.float32), THREE[:1], threshold=0.5)
    assert found["F1"] == {"micro": 1.0, "macro": 1.0}


def test_nothing_counts_where_no_image_holds_anything():
    found = metrics.of(np.zeros((2, 3), bool), SCORES[:2], THREE, threshold=0.5)
    assert found["mean_AP"] is None
    assert found["F1"]["macro"] is None
    assert len(found["without_positives"]) == 3


SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 5))


@st.composite
def _sets(draw):
    """Labels and scores, with many ties."""
    shape = draw(SHAPES)
    labels = draw(hnp.arrays(bool, shape))
    tenths = draw(hnp.arrays(np.int8, shape, elements=st.integers(0, 10)))
    return labels, (tenths / 10).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(_sets())
def test_equal_to_scikit_learn(case):
    labels, scores = case
    names = tuple(Class(index + 1, f"c{index}") for index in range(labels.shape[1]))
    found = metrics.of(labels, scores, names, threshold=0.3)
    counted = labels.any(axis=0)
    if not counted.any():
        assert found["mean_AP"] is None
        return
    # scikit-learn's own mean over columns, those without positives left out.
    expected = sklearn_metrics.average_precision_score(
        labels[:, counted], scores[:, counted], average="macro"
    )
    assert found["mean_AP"] == pytest.approx(expected, abs=1e-12)
    said = scores >= 0.3
    for kind, average in (("micro", "micro"), ("macro", None)):
        columns = slice(None) if kind == "micro" else counted
        if labels[:, columns].shape[1] < 2:
            continue  # scikit-learn takes one column for two classes
        f1 = sklearn_metrics.f1_score(
            labels[:, columns], said[:, columns], average=average, zero_division=0
        )
        assert found["F1"][kind] == pytest.approx(np.mean(f1), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(_sets(), st.integers(0, 100))
def test_the_curve_over_thresholds_equals_scikit_learn_at_each(case, percent):
    labels, scores = case
    curve = metrics.over_thresholds(labels, scores)
    threshold = np.float32(curve["threshold"][percent])
    assert threshold == pytest.approx(percent / 100)
    truth, said = labels.ravel(), scores.ravel() >= threshold
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        truth, said, average="binary", zero_division=0
    )
    if said.any():
        assert curve["precision"][percent] == pytest.approx(precision)
    else:
        assert curve["precision"][percent] is None
    if truth.any():
        assert curve["recall"][percent] == pytest.approx(recall)
        assert curve["F1"][percent] == pytest.approx(f1)
    else:
        assert curve["recall"][percent] is None


def test_the_ranking_of_an_image_by_hand():
    # Image 2 holds cat (0.7) alone, first of three: 1. Image 1 holds dog (0.3), third: 1/3.
    found = metrics.of_images(LABELS, SCORES)
    assert found[2] == 1.0
    assert found[1] == pytest.approx(1 / 3)
    assert np.isnan(found[3])
