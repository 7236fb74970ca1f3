"""Where detections were cut: the lowest score is above the cut by as much as scores lie thin there.

Of scores above a cut whose density does not rise from it on, the gap from the cut to the lowest
score m is to s - m, s the k-th lowest, as one exponential to a sum of k - 1 of them or less: it is
more than ((1 / ERROR)^(1 / (k - 1)) - 1) (s - m) with a probability of ERROR at most. Scores that
come in steps (of 8 bits) may hide the cut within a step further. tests/score/test_cut.py holds both
errors by a simulation.
"""

import numpy as np

#: How often a cut lies below the range that is told.
ERROR = 0.01
_LOWEST = 20  # so many scores tell how thin they lie
_WITHOUT_STEPS = 0.9  # of the scores so many differ from each other, where they have no steps
_STEPS = 8  # so many steps above the lowest score tell how large they are there


def lowest_cut(scores: np.ndarray) -> float:
    """The lowest score at which detections whose scores are these may have been cut.

    Args:
      scores: (N,) float, two or more; not all equal.

    Returns:
      below min(scores), which is the highest; the cut is lower still with a probability of ERROR.
    """
    lowest = np.partition(scores, min(_LOWEST, len(scores)) - 1)[:_LOWEST]
    first, last = float(lowest.min()), float(lowest.max())
    gap = (ERROR ** (-1 / (len(lowest) - 1)) - 1) * (last - first)
    levels = np.unique(scores)
    stepped = len(levels) < _WITHOUT_STEPS * len(scores)
    step = float(np.diff(levels[: _STEPS + 1]).max()) if stepped else 0.0
    return first - gap - step
