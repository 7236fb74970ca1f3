"""How far from the published figure a replication may lie, and where that comes from."""

import dataclasses
import math
import statistics

# Spread of box AP between honest runs that differ in the seed alone, in points.
SPREAD = (
    "EfficientDet-D0, TF2, 5 seeds: σ 0.10 (NVIDIA DeepLearningExamples)",
    "Mask R-CNN, TF2, 5 seeds: σ about 0.1 (NVIDIA DeepLearningExamples)",
    "SSD300, 15 seeds: σ 0.14 mixed precision, 0.16 TF32 (NVIDIA DeepLearningExamples)",
    "ViTDet-B, 5 seeds: σ 0.10 (detectron2 projects)",
    "maintainers: under 0.2 (mmdetection issue 3624), under 0.3 (mmdetection issue 3496), "
    "±0.3 (SparseR-CNN issue 62)",
)
ROUNDING = "a published figure is rounded to 0.1 and alone carries ±0.05"

# Seeds from which the equivalence test takes the place of the rule for one run.
SEEDS_FOR_TEST = 3
SIGNIFICANCE = 0.05


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """Distances from the published figure, in points of AP.

    Attributes:
      replicated: at most so far away is REPLICATED.
      near: at most so far away is NEAR.
      why: the reasoning.
      sources: what it rests on.
    """

    replicated: float
    near: float
    why: str
    sources: tuple[str, ...]


TOLERANCES = {
    "checkpoint": Tolerance(
        replicated=0.1,
        near=0.5,
        why="the same weights on the same images: only rounding and arithmetic are left",
        sources=(ROUNDING,),
    ),
    "training": Tolerance(
        replicated=0.5,
        near=1.0,
        why=(
            "two honest runs differ by about √2·σ = 0.14 to 0.23 points, and the published figure "
            "is one run, rounded"
        ),
        sources=(*SPREAD, ROUNDING),
    ),
}


def equivalence(values, published, margin):
    """Two one-sided t-tests (TOST): is the mean over seeds within `margin` of `published`?

    Schuirmann 1987: the mean is equivalent when both "it lies `margin` or more below" and
    "… above" are rejected.

    Args:
      values: AP of each seed, in points; at least two.
      published: the published AP, in points.
      margin: half-width of the interval, in points.

    Returns:
      dict: mean, standard_deviation, seeds, margin, p (the larger of the two p-values) and
      equivalent (p below 0.05).
    """
    from scipy import stats

    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    if deviation > 0:
        p = max(
            stats.ttest_1samp(values, published - margin, alternative="greater").pvalue,
            stats.ttest_1samp(values, published + margin, alternative="less").pvalue,
        )
    else:
        # No spread at all: the t statistic is infinite on either side.
        p = 0.0 if abs(mean - published) < margin else 1.0
    return {
        "mean": mean,
        "standard_deviation": deviation,
        "seeds": len(values),
        "margin": margin,
        "p": float(p),
        "equivalent": bool(p < SIGNIFICANCE),
    }


def judge(values, published, tolerance):
    """The verdict on one figure.

    Args:
      values: achieved AP in points, one a seed.
      published: published AP in points.
      tolerance: Tolerance.

    Returns:
      (verdict, reason, test): test is the dict of `equivalence`, or None for fewer than three
      seeds.
    """
    mean = statistics.fmean(values)
    gap = mean - published
    told = f"{mean:.2f} against {published:.1f}, {abs(gap):.2f} {'above' if gap > 0 else 'below'}"
    if len(values) >= SEEDS_FOR_TEST:
        name, test = "REPLICATED", equivalence(values, published, tolerance.replicated)
        if not test["equivalent"]:
            name, test = "NEAR", equivalence(values, published, tolerance.near)
        if not test["equivalent"]:
            name = "NOT REPLICATED"
        shown = "shown" if test["equivalent"] else "not shown"
        reason = (
            f"{told} over {len(values)} seeds (σ {test['standard_deviation']:.2f}); equivalence "
            f"within ±{test['margin']} is {shown} (TOST, p = {test['p']:.2g})"
        )
        return name, reason, test
    if _within(gap, tolerance.replicated):
        name, bound = "REPLICATED", f"within ±{tolerance.replicated}"
    elif _within(gap, tolerance.near):
        name, bound = "NEAR", f"within ±{tolerance.near}, not ±{tolerance.replicated}"
    else:
        name, bound = "NOT REPLICATED", f"outside ±{tolerance.near}"
    seeds = f" (mean of {len(values)} seeds)" if len(values) > 1 else ""
    return name, f"{told}{seeds}: {bound} points", None


def _within(gap, bound):
    # 22.3 - 22.2 is a little more than 0.1 in binary.
    return abs(gap) <= bound or math.isclose(abs(gap), bound, rel_tol=1e-9)
