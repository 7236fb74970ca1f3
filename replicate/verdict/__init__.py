"""Was the published figure replicated? A pure function over plain data.

from replicate import verdict, zoo
answer = verdict.decide(
    zoo.find("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"),
    run.read_json("evals/50000/metrics.json"),
    deviations=run.read_json("deviations.json"),
    kind="training",
)
answer.verdict          # "REPLICATED", "NEAR", "NOT REPLICATED" or "NOT COMPARABLE"
"""

from replicate.verdict.causes import likely_causes
from replicate.verdict.comparable import obstacles
from replicate.verdict.deciding import FIGURES, VERDICTS, Verdict, decide
from replicate.verdict.tolerance import TOLERANCES, equivalence

__all__ = [
    "FIGURES",
    "TOLERANCES",
    "VERDICTS",
    "Verdict",
    "decide",
    "equivalence",
    "likely_causes",
    "obstacles",
]
