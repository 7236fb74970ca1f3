"""Can the box AP that the TF2 detection model zoo publishes be reproduced, and if not, why not?

    import replicate
    replicate.convert("instances_val2017.json", "val2017", "data/val", num_shards=8)
    config = replicate.render("ssd_mobilenet_v2_320x320_coco17_tpu-8", num_steps=1000)
    replicate.diff("ssd_mobilenet_v2_320x320_coco17_tpu-8", config)   # what changed, classified
    replicate.score("instances_val2017.json", "detections.json").metrics["AP"]
    replicate.benchmark("detect.tflite", ("instances_val2017.json", "val2017"))
    replicate.verdict("runs/seed0", "runs/seed1")   # reached? under which conditions?

`help(replicate.diff)` explains each; a notebook shows their results as tables. `replicate.score`
and `replicate.verdict` are rooms too: `replicate.score.analyse` stands beside `replicate.score(…)`.
"""

TYPE_CHECKING = False  # every import here comes before a tool is ready for Ctrl-C
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.2.0.dev0"

# Each is loaded when it is first asked for. The two rooms are called themselves (`python_api`).
_FUNCTIONS = {
    "benchmark": ("replicate.benchmarking", "benchmark"),
    "convert": ("tfrecords", "convert"),
    "diff": ("replicate.config.differences", "differences"),
    "render": ("replicate.config", "render"),
}
_ROOMS = ("score", "verdict")
__all__ = sorted([*_FUNCTIONS, *_ROOMS])


def __getattr__(name: str) -> "Any":
    import importlib

    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        module, attribute = _FUNCTIONS[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
