"""Reports from run directories: one file to read, the same as Markdown and as JSON.

from replicate import report
from replicate.run import RunDir
report.write(RunDir.existing("runs/first"))       # runs/first/report/index.html
report.write_comparison(["runs/first", "runs/second"], "comparison")
"""

from replicate.report.of_record import write as write_benchmark
from replicate.report.writing import not_whole, write, write_comparison

__all__ = ["not_whole", "write", "write_benchmark", "write_comparison"]
