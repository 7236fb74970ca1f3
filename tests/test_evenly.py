"""Some of many, evenly spread."""

import itertools

import pytest

from replicate.evenly import evenly


@pytest.mark.parametrize(
    "many, count, expected",
    [
        (0, 3, []),
        (3, 3, [0, 1, 2]),
        (4, 2, [0, 3]),
        (11, 3, [0, 5, 10]),
        (9, 4, [0, 3, 5, 8]),  # 8/3 and 16/3, rounded
    ],
)
def test_by_hand(many, count, expected):
    assert evenly(range(many), count) == expected


@pytest.mark.parametrize("count", [2, 3, 7, 100])
@pytest.mark.parametrize("many", [5, 99, 1000])
def test_ends_and_gaps(many, count):
    chosen = evenly(range(many), count)
    gaps = [b - a for a, b in itertools.pairwise(chosen)]
    assert len(chosen) == min(many, count) and (chosen[0], chosen[-1]) == (0, many - 1)
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1
