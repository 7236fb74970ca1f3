"""Holds the Object Detection API on the kit's TensorFlow against the same API on its native one.

Makes a virtual environment with TensorFlow 2.15 (Python 3.11, outside the checkout, about 2 GB),
gives both the same weights and inputs, one model of each family and backbone of the zoo, and
prints the largest relative differences: in preprocessing, predictions, decoded detections,
losses, gradients, the optimizer's updates, checkpoints restored across, and each augmentation
step of the zoo; predictions to gradients once more from layers that compute in float64, where
rounding decides nothing. Takes about an hour on 2 cores, and 20 GB of memory for Mask R-CNN.

    python tools/parity.py
    python tools/parity.py --models="SSD MobileNet v2,EfficientDet-D0" --output=parity.md

A difference over 1e-4 counts as explained when there is none in float64 and the native TensorFlow
differs from itself by as much when its kernels are exchanged (oneDNN's for its own), that is, by
rounding alone.
Interrupted, it goes on where it was when it is called again.
Exit status: 0 all within 1e-4 or explained, 1 something is not.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from replicate.errors import UserError
from replicate.parity import models, native
from replicate.run import write_text
from tools import cli

if TYPE_CHECKING:
    from replicate.parity.tables import ParityPlace

_MODELS = flags.DEFINE_list("models", [], "labels of models (default: all; see docs/engine.md)")
_DIRECTORY = flags.DEFINE_string(
    "native_dir", str(native.DIRECTORY), "where the native environment is kept"
)
_WORK = flags.DEFINE_string(
    "work_dir", str(native.DIRECTORY.parent / "parity"), "for configs, checkpoints and arrays"
)
_KEEP = flags.DEFINE_bool(
    "keep_arrays", False, "leave each run's arrays and checkpoints there (up to 10 GB a model)"
)
_OUTPUT = flags.DEFINE_string("output", "", "also write the tables to this Markdown file")


def main(_: list[str]) -> int:
    unknown = [label for label in _MODELS.value if label not in models.MODELS]
    if unknown:
        raise UserError(f"--models: no {unknown[0]!r}; choose from {', '.join(models.MODELS)}")
    from replicate.parity import tables

    work = pathlib.Path(_WORK.value).expanduser().absolute()
    work.mkdir(parents=True, exist_ok=True)
    try:
        native_python = native.python(pathlib.Path(_DIRECTORY.value).expanduser())
        place = tables.ParityPlace(native_python, work, _KEEP.value)
        unexplained: list[str] = []
        written: list[str] = []
        for table in (tables.of_augmentation, tables.of_input, _of_chosen_models):
            lines, not_explained = table(place)
            written.append("\n".join(lines))
            print(written[-1], end="\n\n", flush=True)
            unexplained += not_explained
    except native.NativeError as error:
        raise UserError(str(error)) from error
    if _OUTPUT.value:
        write_text(_OUTPUT.value, "\n\n".join(written) + "\n")
    for line in unexplained:
        print(f"not explained: {line}", file=sys.stderr)
    return cli.NEGATIVE if unexplained else cli.DONE


def _of_chosen_models(place: "ParityPlace") -> tuple[list[str], list[str]]:
    from replicate.parity import tables

    return tables.of_models(place, _MODELS.value)


if __name__ == "__main__":
    cli.run(main)
