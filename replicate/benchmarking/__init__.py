"""Any detector over COCO images: its metrics beside the published ones, and its speed.

    from replicate import benchmark
    record = benchmark("detect.tflite", ("instances_val2017.json", "val2017"))
    print(record.text())

`replicate.benchmark` is the function of this package; docs/scoring.md shows the hooks.
"""

from replicate.benchmarking.benchmark import BenchmarkRecord, benchmark
from replicate.benchmarking.dataset import Dataset
from replicate.benchmarking.model import Model, ModelDetections

Found = ModelDetections  # its earlier name, for scripts that have it

__all__ = ["BenchmarkRecord", "Dataset", "Found", "Model", "ModelDetections", "benchmark"]
