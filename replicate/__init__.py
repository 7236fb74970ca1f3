"""Can the box AP that the TF2 detection model zoo publishes be reproduced, and if not, why not?"""

from typing import Any

__version__ = "0.2.0.dev0"


def __getattr__(name: str) -> Any:
    # `replicate.benchmark` is a function; it is loaded when it is first asked for.
    if name == "benchmark":
        from replicate.benchmarking import benchmark

        return benchmark
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
