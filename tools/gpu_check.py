"""Does the kit train on this machine's GPUs as it does on a CPU, and how fast? One command.

    make gpu-check                                       # installs the CUDA libraries first
    python tools/gpu_check.py --minutes=10
    python tools/gpu_check.py --rehearse                 # tries the check itself, on a CPU
    python tools/gpu_check.py --export_step=FOLDER       # for a machine without TensorFlow

Measured, each in a process of its own: what the doctor says; the losses of ten steps of six models
on the GPU against the CPU (float32 with TensorFloat-32 and without, bfloat16, float16, with XLA and
without), held to stated tolerances; images a second by batch size up to memory's end, with memory,
input wait, time to the first step and share of the device's peak; several GPUs where there are: the
same losses, and what each adds; training and evaluation beside the Object Detection API's own loops
(tests/bench). Writes docs/gpu/DEVICE-DRIVER-TENSORFLOW.md and .json. What is measured is kept:
stopped, or out of --minutes, the same command goes on.

--export_step writes the whole training step (forward, losses, gradients, optimizer) as StableHLO,
with weights and batches, and run_step.py, which executes it with JAX alone and compares losses and
weights with TensorFlow's on the machine that wrote it.

Exit status: 0 all within its tolerance, 1 something outside it or not measured yet, 2 usage.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import pathlib

from absl import flags

from replicate.errors import UserError
from tools import cli

_REHEARSE = flags.DEFINE_bool("rehearse", False, "on a CPU, at tiny sizes; claims nothing.")
_MINUTES = flags.DEFINE_float(
    "minutes", 10, "no further measurement is begun after so many minutes.", lower_bound=0
)
_OUTPUT = flags.DEFINE_string("output", "docs/gpu", "folder of the page.")
_WORK = flags.DEFINE_string("work", "build/gpu_check", "folder of what is measured already.")
_EXPORT = flags.DEFINE_string("export_step", "", "folder to write a training step into.")
_MODEL = flags.DEFINE_string(
    "model",
    "SSD MobileNet v2 FPNLite",
    "--export_step: which model's, by its name in docs/engine.md's table, at a tiny input.",
)
_LOOK = flags.DEFINE_bool("look", False, "only say which GPUs the driver lists; measures nothing.")
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "--export_step: number format."
)


def main(_: list[str]) -> int:
    of_export, of_check = ("model", "precision"), ("rehearse", "minutes", "output", "work", "look")
    for name in of_check if _EXPORT.value else of_export:
        if flags.FLAGS[name].present:
            goes = "does not go" if _EXPORT.value else "goes"
            raise UserError(f"--{name} {goes} with --export_step")
    if _EXPORT.value:
        return _export()
    if _LOOK.value:
        from replicate.gpu_check import judging

        print(judging.name_of_machine(rehearse=False))
        return cli.DONE
    from replicate import gpu_check

    answer = gpu_check.check(
        _WORK.value, _OUTPUT.value, rehearse=_REHEARSE.value, minutes=_MINUTES.value
    )
    print(answer.page)
    for failure in answer.failed:
        print(f"FAIL  {failure}")
    if answer.left:
        print(f"not measured yet ({len(answer.left)}); the same command goes on:")
        print(*(f"  {name}" for name in answer.left), sep="\n")
    return cli.NEGATIVE if answer.failed or answer.left else cli.DONE


def _export() -> int:
    import tempfile

    from replicate import odapi
    from replicate.parity import models

    if _MODEL.value not in models.MODELS:
        raise UserError(f"--model={_MODEL.value}: one of {', '.join(models.MODELS)}")
    odapi.load()
    from replicate.gpu_check import export_step, small

    folder = pathlib.Path(_EXPORT.value)
    with tempfile.TemporaryDirectory() as records:
        small.write_records(pathlib.Path(records) / "records")
        config = small.config_of(_MODEL.value, pathlib.Path(records) / "records", steps=3)
        written = export_step.export(config, folder, precision=_PRECISION.value)
    calls = ", ".join(written.custom_calls) or "none"
    print(
        f"{folder}: {written.module_bytes / 2**20:.1f} MiB of StableHLO (custom calls: {calls}), "
        f"{written.arrays_bytes / 2**20:.1f} MiB of arrays. There, with JAX: "
        f"python {folder}/run_step.py {folder}"
    )
    return cli.DONE


if __name__ == "__main__":
    cli.run(main, always_folders=["output"])
