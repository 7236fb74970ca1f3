"""Twenty training steps of a model with XLA and without, and one in bfloat16, at tiny inputs.

    python -m tests.train.compiled "SSD MobileNet v2 FPNLite" OUTPUT.json
    python -m tests.train.compiled --all build/compiled    # docs/engine.md's table, kept by file

Models are those of `replicate.parity.models`; weights, data and updates those of
`replicate.gpu_check.small`. `--all` prints the table's rows.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from replicate import odapi
from replicate.execution import Execution

STEPS = 20
TOTAL = "Loss/total_loss"


def measure(label, images=5):
    """What the table has of a model: dict. With so many images in the records.

    Five in batches of two: an epoch does not end with a batch.
    """
    from replicate.gpu_check import small
    from replicate.odapi import xla
    from replicate.train import compilations

    with tempfile.TemporaryDirectory() as folder:
        if label == "CenterNet MobileNet v2 FPN":
            _write_imagenet_weights(folder)
        records = pathlib.Path(folder) / "records"
        small.write_records(records, images)
        config = small.config_of(label, records, STEPS)
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
            found["of_same_weights"] = _beside_each_other(small.filled(trainer))
            found["compilations"] = [after_first, _kept(compilations)]
    return found


def _beside_each_other(trainer):
    """[(losses with XLA, without)] of twenty steps, each of both with the same weights."""
    import tensorflow as tf

    replica, stream = trainer._replica, trainer._input()
    op_by_op = tf.function(lambda *batch: replica.on_each(replica.losses, *batch))
    found = []
    for _ in range(STEPS):
        features, labels, _ = stream.next()
        without = op_by_op(features, labels)
        with_xla = trainer._one_step._update(features, labels)
        found.append([{name: float(v) for name, v in each.items()} for each in (with_xla, without)])
    return found


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


def of_totals(found):
    """The relative difference of the total loss with XLA in each of twenty steps, same weights."""
    return [
        abs(ours[TOTAL] - theirs[TOTAL]) / abs(theirs[TOTAL])
        for ours, theirs in found["of_same_weights"]
    ]


def row(found):
    """A model's line of docs/engine.md."""
    from replicate.gpu_check import small

    plain, bfloat16 = found["losses"][0][TOTAL], found["bfloat16"][TOTAL]
    reduced = f"{bfloat16:.5g}, {plain:.5g} ({abs(bfloat16 - plain) / plain:.1%})"
    if "compiled" not in found:
        return f"| {found['label']} | refused | – | – | – | {reduced} |"
    compiled = found["compiled"]
    same = statistics.median(of_totals(found))
    worst = small.difference(*zip(*found["of_same_weights"], strict=True))
    whole = small.difference(compiled, found["losses"])
    seconds = found["compile_s"] - found["plain_first_s"]
    differences = f"{same:.0e}, {worst:.0e} | {whole:.0e}"
    return f"| {found['label']} | runs | {differences} | {seconds:.0f} s | {reduced} |"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("label", nargs="?")
    parser.add_argument("output", nargs="?", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--all", metavar="FOLDER", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.all:
        return _all(arguments.all)
    odapi.load()
    from replicate.train import compilations

    compilations.keep()
    found = measure(arguments.label, arguments.images)
    arguments.output.write_text(json.dumps(found), encoding="utf-8")
    print(row(found))


def _all(folder):
    """Every model in a process of its own; what is there is not measured again."""
    from replicate.parity import models

    folder.mkdir(parents=True, exist_ok=True)
    for number, label in enumerate(models.MODELS):
        kept = folder / f"{number:02d}.json"
        if not kept.exists():
            command = [sys.executable, "-m", "tests.train.compiled", label, str(kept)]
            with open(kept.with_suffix(".log"), "wb") as log:
                status = subprocess.run(command, stdout=log, stderr=log).returncode
            if status:
                print(f"| {label} | failed, see {log.name} | | | | |", flush=True)
                continue
        print(row(json.loads(kept.read_text(encoding="utf-8"))), flush=True)


if __name__ == "__main__":
    main()
