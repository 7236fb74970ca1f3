"""Replicates a zoo model: records, config, training, evaluation, score, verdict, report.

    python tools/replicate.py --model=ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 \\
        --train_annotations=annotations/instances_train2017.json --train_images=train2017 \\
        --val_annotations=annotations/instances_val2017.json --val_images=val2017 \\
        --fine_tune_checkpoint=mobilenet_v2.ckpt-1 --run_dir=runs/fpnlite320

Preflight comes first: seventeen documented reasons of failed replications, two real steps, and a
forecast (docs/preflight.md); a fail stops the run. Everything lands in --run_dir. The same command
again continues a run that was stopped or killed and passes over what is done.

--rehearsal is for a run that is not meant to be the published experiment: what differs is told as
a warning, and with --num_steps warm-up and decay are shortened like the training (--set wins over
that; without --rehearsal, --num_steps cuts the published schedule off).

--purpose=finetune trains on data of one's own from a detector's weights: other classes, images,
lengths and batches are as expected, the feature extractor of --fine_tune_checkpoint is loaded,
and the figure is not judged by the zoo's (docs/how-to-fine-tune.md) but by what you name:

    python tools/replicate.py --purpose=finetune … --reference=runs/shipped

--reference is an earlier run (several are its seeds), a metrics.json, figures (AP=0.412 with
--reference_on=this) or a zoo model's name; without --purpose=finetune it is the model's.

--keep_best=AP evaluates each checkpoint as soon as it is saved and keeps the best in RUN/best
beside the last ones; --patience=N ends the training after N evaluations without gain. The verdict
is of the last checkpoint all the same, as published figures are.

Exit status: 0 the figure was reached (REPLICATED, NEAR), the run was declared a --rehearsal, or a
fine-tuning has no --reference; 1 not reached or inconclusive; 3 not comparable (each reason is
named).
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import shlex
from typing import TYPE_CHECKING

from absl import flags

from replicate.execution import MOST_SEED, MOST_STEPS
from tools import cli, reference_flags, training_flags

if TYPE_CHECKING:
    from replicate.replication import ReplicationRequest

REQUIRED = (
    "model",
    "train_annotations",
    "train_images",
    "val_annotations",
    "val_images",
    "run_dir",
)
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "the name of a zoo model or of a TF-Vision row, a released MODEL.tar.gz, a pipeline.config or "
    "params.yaml, or a run of one.",
)
_TRAIN_ANNOTATIONS = flags.DEFINE_string("train_annotations", None, "COCO JSON to train on.")
_TRAIN_IMAGES = flags.DEFINE_string("train_images", None, "the folder of its images.")
_VAL_ANNOTATIONS = flags.DEFINE_string("val_annotations", None, "COCO JSON to evaluate on.")
_VAL_IMAGES = flags.DEFINE_string("val_images", None, "the folder of its images.")
_RUN_DIR = flags.DEFINE_string("run_dir", None, "the run directory.")
_STEPS = flags.DEFINE_integer(
    "num_steps",
    None,
    "training steps; the recipe's otherwise. With --rehearsal the schedule is shortened with them.",
    lower_bound=1,
    upper_bound=MOST_STEPS,
)
_SET = flags.DEFINE_multi_string(
    "set", [], "PATH=VALUE: another value for a field of the recipe; may be repeated."
)
_START = flags.DEFINE_string(
    "fine_tune_checkpoint",
    "",
    "the starting checkpoint: its prefix, or a run, a released archive or a zoo model's name, of "
    "which it is the last; empty trains from random weights.",
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "seed of the training run.", lower_bound=0, upper_bound=MOST_SEED
)
_EVERY = flags.DEFINE_integer(
    "checkpoint_every_n",
    1000,
    "steps between checkpoints; each one kept is evaluated.",
    lower_bound=1,
    upper_bound=MOST_STEPS,
)
_FIX = flags.DEFINE_list(
    "fix",
    [],
    "what to mend in the annotation files first, as the error messages offer "
    "(tools/create_coco_tf_record.py --help lists it); the mended ones lie in RUN_DIR/data.",
)
_KEEP_BEST = flags.DEFINE_string(
    "keep_best",
    "",
    "keep the best checkpoint by this metric (AP, AP50, …, segm/AP) in RUN_DIR/best.",
)
_PATIENCE = flags.DEFINE_integer(
    "patience",
    None,
    "end the training after so many evaluations without gain in --keep_best (AP by default); "
    "0, or leaving it out, trains to the last step.",
    lower_bound=0,
)
_MASKS = flags.DEFINE_bool("include_masks", False, "keep instance masks in the records.")
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(reference_flags)


def request() -> "ReplicationRequest":
    """What the flags ask for."""
    from replicate import config, replication, weights

    terms = training_flags.terms()
    return replication.ReplicationRequest(
        model=_MODEL.value,
        train_annotations=_TRAIN_ANNOTATIONS.value,
        train_images=_TRAIN_IMAGES.value,
        val_annotations=_VAL_ANNOTATIONS.value,
        val_images=_VAL_IMAGES.value,
        num_steps=_STEPS.value,
        overrides=tuple(config.parse_override(text) for text in _SET.value),
        fine_tune_checkpoint=weights.start_of(_START.value),
        seed=_SEED.value,
        checkpoint_every_n=_EVERY.value,
        include_masks=_MASKS.value,
        fix=tuple(_FIX.value),
        shorten_schedule=_STEPS.value is not None
        and (terms.rehearsal or terms.purpose == "finetune"),
        purpose=terms.purpose,
        keep_best=_KEEP_BEST.value or ("AP" if _PATIENCE.value else ""),
        patience=_PATIENCE.value or None,
        **training_flags.execution(),
    )


def main(_: list[str]) -> int:
    from replicate import replication, verdict

    command = " ".join(map(shlex.quote, ["python", "tools/replicate.py", *sys.argv[1:]]))
    terms = training_flags.terms()
    asked = reference_flags.asked()
    decided = replication.replicate(request(), _RUN_DIR.value, command, terms, asked)
    if decided is None:  # one worker of several; the first one tells
        return cli.DONE
    print(replication.summary(_RUN_DIR.value))
    if terms.rehearsal or decided["verdict"] == verdict.NO_REFERENCE:
        return cli.DONE
    return verdict.exit_status(decided["verdict"])


if __name__ == "__main__":
    cli.run(main, required=REQUIRED)
