"""COCO's metrics from a groundtruth file and detections, by two evaluators that must agree.

    from replicate.score import score
    result = score("instances_val2017.json", "detections.json.gz")
    result.metrics["AP"]                    # 0.222, as pycocotools and hotcoco both say

The groundtruth is the raw COCO JSON, not what survived a conversion. `replicate.score(…)` is
`score`.
"""

from replicate.python_api import calls
from replicate.score.analysis import analyse, draw
from replicate.score.checks import mended
from replicate.score.conventions import READINGS as BOX_LAYOUTS
from replicate.score.evaluators import EVALUATORS, METRICS
from replicate.score.groundtruth import FIELDS, Groundtruth, ids_sha256
from replicate.score.over_images import compare, intervals
from replicate.score.scoring import EvaluatorsDisagree, Result, score
from replicate.score.streaming import Stream

__all__ = [
    "BOX_LAYOUTS",
    "EVALUATORS",
    "FIELDS",
    "METRICS",
    "EvaluatorsDisagree",
    "Groundtruth",
    "Result",
    "Stream",
    "analyse",
    "compare",
    "draw",
    "ids_sha256",
    "intervals",
    "mended",
    "score",
]

calls(__name__, score)
