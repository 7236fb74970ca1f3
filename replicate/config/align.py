"""Aligns two lists, so that an inserted step is one insertion, not a change of all that follow."""

from collections.abc import Callable, Sequence
from typing import Any


def align(
    a: Sequence, b: Sequence, distance: Callable[[Any, Any], float]
) -> list[tuple[int | None, int | None]]:
    """The cheapest alignment of two short lists.

    Args:
      a, b: lists.
      distance: function of one element of each: 0 for equal, below 2 where one is better called a
        change of the other, and 2 or more where not. Leaving an element out costs 1.

    Returns:
      A list of (index in a or None, index in b or None), in order.
    """
    rows, columns = len(a), len(b)
    cost = [[float(i + j) for j in range(columns + 1)] for i in range(rows + 1)]
    between = [[distance(x, y) for y in b] for x in a]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            cost[i][j] = min(
                cost[i - 1][j - 1] + between[i - 1][j - 1],
                cost[i - 1][j] + 1,
                cost[i][j - 1] + 1,
            )
    pairs: list[tuple[int | None, int | None]] = []
    i, j = rows, columns
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + between[i - 1][j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif j and cost[i][j] == cost[i][j - 1] + 1:
            j -= 1
            pairs.append((None, j))
        else:
            i -= 1
            pairs.append((i, None))
    return pairs[::-1]
