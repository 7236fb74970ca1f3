"""Will training run on this machine as it is set up? One page, the gravest first, with what to do.

    python tools/doctor.py
    python tools/doctor.py --folder=/data/runs --json

Looks at Python, the pinned packages, Keras (2, through tf_keras), protobuf and its backend, the
Object Detection API's files against the release's hashes, GPUs with memory and compute capability,
the driver, the CUDA and cuDNN libraries that TensorFlow looks for (by file name), mixed precision,
NCCL, memory, disk and the open-file limit. It answers even where TensorFlow cannot be imported.

Exit status: 0 nothing will fail (there may be things to mind), 1 something will fail, 2 usage.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import dataclasses
import json

try:
    import psutil  # noqa: F401  (stands for the kit's packages, without which nothing runs)
    import pynvml  # noqa: F401
    import tqdm  # noqa: F401
    from absl import flags
except ImportError as error:
    print(
        f"FAIL  Packages   {sys.executable} (Python {sys.version.split()[0]}) does not have the "
        f"kit's packages ({error})\n      → `make venv`, then .venv/bin/python tools/doctor.py"
    )
    sys.exit(1)

from tools import cli

_FOLDER = flags.DEFINE_string("folder", "runs", "where runs go, for the free space there.")
_JSON = flags.DEFINE_bool("json", False, "the findings as JSON.")


def main(_: list[str]) -> int:
    from replicate import doctor

    findings = doctor.examine(_FOLDER.value, progress=not _JSON.value)
    if _JSON.value:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        print(doctor.page(findings))
    return cli.NEGATIVE if any(f.gravity == doctor.FAIL for f in findings) else cli.DONE


if __name__ == "__main__":
    cli.run(main)
