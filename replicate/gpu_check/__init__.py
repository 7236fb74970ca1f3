"""What a machine with NVIDIA GPUs is asked to show, in one command (`tools/gpu_check.py`).

    from replicate import gpu_check
    gpu_check.check("build/gpu_check", "docs/gpu", rehearse=False, minutes=10)

`stages.py` lists what is measured, each in a process of its own (`measuring.py`) and kept in a
file, so that the command goes on where it was stopped; `judging.py` holds it to stated tolerances
and writes the page. `export_step.py` and `run_step.py` are for a machine without TensorFlow;
`small.py` has the models on which losses are compared, `ties.py` the matches that rounding decides.
Importing this room loads no TensorFlow.
"""

from replicate.gpu_check.stages import check

__all__ = ["check"]
