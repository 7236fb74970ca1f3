"""What a recognition report says of chance, and of a model that tells no image from another."""

import numpy as np
import pytest

from replicate.recognition import metrics, report
from replicate.recognition.classes import Class


def test_chance_level_is_what_random_scores_get():
    rng = np.random.default_rng(0)
    shares = np.array([0.05, 0.2, 0.5])
    labels = rng.random((4000, 3)) < shares
    classes = [Class(number, str(number)) for number in range(1, 4)]
    found = [metrics.of(labels, rng.random((4000, 3)), classes, 0.5) for _ in range(5)]
    chance = report._chance(found[0])
    by_chance = np.mean([each["mean_AP"] for each in found])
    assert chance == pytest.approx(by_chance, abs=0.01)
    assert chance == pytest.approx(labels.mean(), abs=0.0006)


def test_same_scores_for_every_image():
    row = np.array([[0.1, 0.7, 0.3]])
    assert report.same_for_every_image(np.repeat(row, 5, axis=0))
    assert not report.same_for_every_image(np.concatenate([row, row + 0.01]))
    assert not report.same_for_every_image(row)
