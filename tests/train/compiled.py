"""Twenty training steps of a model with XLA and without, and one in bfloat16, at tiny inputs.

    python -m tests.train.compiled "SSD MobileNet v2 FPNLite" OUTPUT.json
    python -m tests.train.compiled "SSD MobileNet v2 FPNLite" OUTPUT.json --float64
    python -m tests.train.compiled --all build/compiled    # docs/engine.md's table, kept by file

Models are those of `replicate.parity.models`; weights, data and updates those of
`replicate.gpu_check.small`. `--float64` measures layers that compute in float64, where rounding has
no part in which score is the larger, and XLA's program alone could differ. `--all` prints the
table's rows.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from replicate import odapi
from replicate.execution import Execution

STEPS = 20
TOTAL = "Loss/total_loss"
# Those of which the float64 measurement has been made.
IN_FLOAT64 = (
    "SSD MobileNet v2 FPNLite",
    "EfficientDet-D0",
    "Faster R-CNN ResNet-50 v1",
    "Faster R-CNN ResNet-50 v1 FPN",
    "CenterNet ResNet-50 v1 FPN keypoints",
    "CenterNet ResNet-101 v1 FPN",
    "CenterNet MobileNet v2 FPN",
)
PROPOSALS = "proposals"
# What rounding does to a sum of some thousand terms, relative: 16 units in the last place.
NUDGE = np.float32(16 * 2**-23)
# Further apart, two boxes are two proposals and not one that was rounded otherwise.
_SAME_BOX_PX = 0.02


def measure(label, images=5):
    """What the table has of a model: dict. With so many images in the records.

    Five in batches of two: an epoch does not end with a batch.
    """
    from replicate.gpu_check import small
    from replicate.odapi import xla
    from replicate.train import compilations

    with _tiny(label, images) as config:
        plain, plain_s = small.losses_of(small.trainer_of(config, Execution(seed=3)), STEPS)
        found = {
            "label": label,
            "losses": plain,
            "bfloat16": _losses_in(config, "bfloat16"),
            "plain_first_s": plain_s,
            "obstacle": xla.obstacle(config.model),
        }
        if not found["obstacle"]:
            trainer = small.trainer_of(config, Execution(seed=3, jit_compile=True))
            (first,), seconds = small.losses_of(trainer, 1)
            after_first = _kept(compilations)
            rest, _ = small.losses_of(trainer, STEPS - 1)
            found |= {"compiled": [first, *rest], "compile_s": seconds}
            found["compilations"] = [after_first, _kept(compilations)]
            two_stages = config.model.HasField("faster_rcnn")
            if two_stages:
                trainer = small.made(config, Execution(seed=3, jit_compile=True))
                _tell_proposals(trainer)
                trainer.build_variables()
            steps = list(beside_each_other(small.filled(trainer), also_nudged=two_stages))
            found["moved"] = [_moved(step["xla"], step["plain"]) for step in steps]
            if two_stages:
                found["nudged_moved"] = [_moved(step["nudged"], step["plain"]) for step in steps]
                found["nudged"] = [_scalars(step["nudged"]) for step in steps]
            found["of_same_weights"] = [
                [_scalars(step["xla"]), _scalars(step["plain"])] for step in steps
            ]
    return found


def measure_in_float64(label, images=5):
    """What the table has of a model whose layers compute in float64 (`in_float64`): dict."""
    from replicate.gpu_check import small
    from tests.train import in_float64

    with _tiny(label, images) as config:
        trainer = in_float64.made(config, Execution(seed=3, jit_compile=True))
        if config.model.HasField("faster_rcnn"):
            _tell_proposals(trainer)
        trainer.build_variables()
        dtypes = sorted({variable.dtype.name for variable in trainer.model.trainable_variables})
        steps = list(in_float64.beside_each_other(small.filled(trainer), STEPS))
        del trainer
        trainer = in_float64.made(config, Execution(seed=3))
        trainer.build_variables()
        own_way, _ = small.losses_of(small.filled(trainer), STEPS)
    same = [[_scalars(step["xla"]), _scalars(step["plain"])] for step in steps]
    return {
        "label": label,
        "dtypes": dtypes,
        "moved": [_moved(step["xla"], step["plain"]) for step in steps],
        "gradients": [step["gradients"] for step in steps],
        "of_same_weights": same,
        "compiled": [with_xla for with_xla, _ in same],
        "losses": own_way,
    }


@contextlib.contextmanager
def _tiny(label, images):
    """The config of a model at tiny inputs, over records that are there until the end."""
    from replicate.gpu_check import small

    with tempfile.TemporaryDirectory() as folder:
        if label == "CenterNet MobileNet v2 FPN":
            _write_imagenet_weights(folder)
        records = pathlib.Path(folder) / "records"
        small.write_records(records, images)
        yield small.config_of(label, records, STEPS)


def _scalars(losses):
    return {name: value for name, value in losses.items() if name != PROPOSALS}


def _tell_proposals(trainer):
    """Among the losses of an untraced trainer are the proposals that were sampled, from here on."""

    class Telling:
        def __init__(self, model_lib):
            self._model_lib = model_lib

        def __getattr__(self, name):
            return getattr(self._model_lib, name)

        def _compute_losses_and_predictions_dicts(self, *arguments, **options):
            losses, predictions = self._model_lib._compute_losses_and_predictions_dicts(
                *arguments, **options
            )
            return losses | {PROPOSALS: predictions["proposal_boxes"]}, predictions

    trainer._replica._model_lib_v2 = Telling(trainer._replica._model_lib_v2)


def _moved(ours, theirs):
    """How many of a step's sampled proposals are others on the one side than on the other."""
    boxes = [np.array(side.get(PROPOSALS, np.zeros([0, 4]))) for side in (ours, theirs)]
    return int((np.abs(boxes[0] - boxes[1]).max(axis=-1, initial=0) > _SAME_BOX_PX).sum())


def beside_each_other(trainer, also_nudged):
    """Yields {"xla", "plain": losses} of twenty steps, each of both with the same weights.

    And "nudged": without XLA, each weight moved a little (`NUDGE`).
    """
    import tensorflow as tf

    replica, stream = trainer._replica, trainer._input()
    op_by_op = tf.function(lambda *batch: replica.on_each(replica.losses, *batch))
    for _ in range(STEPS):
        features, labels, _ = stream.next()
        sides = {"plain": op_by_op(features, labels)}
        if also_nudged:
            with _nudged(trainer.model.trainable_variables):
                sides["nudged"] = op_by_op(features, labels)
        sides["xla"] = trainer._one_step._update(features, labels)
        yield {
            side: {name: value.numpy().tolist() for name, value in losses.items()}
            for side, losses in sides.items()
        }


@contextlib.contextmanager
def _nudged(variables):
    """Inside, each weight is moved by up to `NUDGE` of its own size, up or down."""
    rng = np.random.default_rng(0)
    before = [variable.numpy() for variable in variables]
    for variable, value in zip(variables, before, strict=True):
        draws = rng.random(value.shape, np.float32)
        variable.assign(value * (1 + NUDGE * (2 * draws - 1)))
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def _kept(compilations):
    """How often XLA has compiled: each time TensorFlow keeps a file."""
    folder = compilations.folder()
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _losses_in(config, precision):
    """The losses of the first batch in that precision, nothing updated."""
    import tensorflow as tf

    from replicate.parity import fixed
    from replicate.train.trainer import Trainer

    trainer = Trainer(config, Execution(seed=3, precision=precision))
    replica = trainer._replica
    features, labels, _ = trainer._input().next()
    function = tf.function(lambda *batch: replica.on_each(replica.losses, *batch))
    function.get_concrete_function(features, labels)
    fixed.fill_weights(trainer.model)
    return {name: float(value) for name, value in function(features, labels).items()}


def _write_imagenet_weights(home):
    """Where Keras finds the weights that one extractor fetches when it is built."""
    import tensorflow as tf

    folder = pathlib.Path(home) / ".keras" / "models"
    folder.mkdir(parents=True)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    model = tf.keras.applications.MobileNetV2(weights=None, include_top=False)
    model.save_weights(folder / name)
    os.environ["HOME"] = str(home)


def of_totals(found, side="xla"):
    """The relative difference of the total loss in each of twenty steps with the same weights.

    With XLA from without; or of "nudged" weights from those that are not.
    """
    with_xla, plain = zip(*found["of_same_weights"], strict=True)
    ours = with_xla if side == "xla" else found["nudged"]
    return [
        abs(one[TOTAL] - other[TOTAL]) / abs(other[TOTAL])
        for one, other in zip(ours, plain, strict=True)
    ]


def of_equal_proposals(found, side="xla"):
    """`of_totals` of those steps in which the same proposals were sampled."""
    moved = found["moved" if side == "xla" else "nudged_moved"]
    return [each for each, other in zip(of_totals(found, side), moved, strict=True) if not other]


def cell(in_float64):
    """Of a model whose layers compute in float64: the worst term and the worst gradients with the
    same weights, and the worst term of twenty steps, each its own way."""
    from replicate.gpu_check import small

    same = small.difference(*zip(*in_float64["of_same_weights"], strict=True))
    whole = small.difference(in_float64["compiled"], in_float64["losses"])
    moved = sum(map(bool, in_float64["moved"]))
    others = f" ({moved} steps sample other proposals)" if moved else ""
    return f"{same:.0e}{others}, {max(in_float64['gradients']):.0e}, {whole:.0e}"


def row(found, in_float64):
    """A model's line of docs/engine.md, of what `measure` and `measure_in_float64` found."""
    from replicate.gpu_check import small

    plain, bfloat16 = found["losses"][0][TOTAL], found["bfloat16"][TOTAL]
    reduced = f"{bfloat16:.5g}, {plain:.5g} ({abs(bfloat16 - plain) / plain:.1%})"
    if "compiled" not in found:
        return f"| {found['label']} | refused | – | – | – | – | {reduced} |"
    compiled = found["compiled"]
    totals, moved = of_totals(found), found["moved"]
    same = statistics.median(totals)
    worst = f"{small.difference(*zip(*found['of_same_weights'], strict=True)):.0e}"
    if "nudged" in found:
        here = sum(map(bool, moved)), max(of_equal_proposals(found))
        last = sum(map(bool, found["nudged_moved"])), max(of_equal_proposals(found, "nudged"))
        worst += (
            f" ({here[0]} steps sample other proposals, the total of the rest {here[1]:.0e}; "
            f"by weights moved by 2e-6 {last[0]}, {last[1]:.0e})"
        )
    whole = small.difference(compiled, found["losses"])
    seconds = found["compile_s"] - found["plain_first_s"]
    differences = f"{same:.0e}, {worst} | {whole:.0e}"
    strict = cell(in_float64) if in_float64 else "not measured"
    return f"| {found['label']} | runs | {differences} | {strict} | {seconds:.0f} s | {reduced} |"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("label", nargs="?")
    parser.add_argument("output", nargs="?", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--float64", action="store_true")
    parser.add_argument("--all", metavar="FOLDER", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.all:
        return _all(arguments.all)
    odapi.load()
    from replicate.train import compilations

    compilations.keep()
    measured = measure_in_float64 if arguments.float64 else measure
    found = measured(arguments.label, arguments.images)
    arguments.output.write_text(json.dumps(found), encoding="utf-8")
    print(cell(found) if arguments.float64 else row(found, None))


def _all(folder):
    """Every model in a process of its own; what is there is not measured again."""
    from replicate.parity import models

    folder.mkdir(parents=True, exist_ok=True)
    for number, label in enumerate(models.MODELS):
        found = _kept_or_measured(label, folder / f"{number:02d}.json")
        if found is None:
            print(f"| {label} | failed, see {number:02d}.log | | | | | |", flush=True)
            continue
        in_float64 = None
        if label in IN_FLOAT64:
            in_float64 = _kept_or_measured(
                label, folder / f"{number:02d}.float64.json", "--float64"
            )
        print(row(found, in_float64), flush=True)


def _kept_or_measured(label, kept, *options):
    """What is in the file, measured where it is not there; None where that fails."""
    if not kept.exists():
        command = [sys.executable, "-m", "tests.train.compiled", label, str(kept), *options]
        with open(kept.with_suffix(".log"), "wb") as log:
            if subprocess.run(command, stdout=log, stderr=log).returncode:
                return None
    return json.loads(kept.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
