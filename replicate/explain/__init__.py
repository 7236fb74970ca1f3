"""Why two numbers differ, measured: from detections, from a model, from two runs.

from replicate.explain import from_detections
answer = from_detections("instances_val2017.json", "detections.json", ["AP=0.1879"])
answer.explanations[0]["protocols"]          # ["images_with_detections"]
"""

from replicate.explain.asking import from_detections
from replicate.explain.changes import from_model
from replicate.explain.protocols import LIBRARIES, PROTOCOLS
from replicate.explain.runs import from_runs
from replicate.explain.search import Answer

__all__ = ["LIBRARIES", "PROTOCOLS", "Answer", "from_detections", "from_model", "from_runs"]
