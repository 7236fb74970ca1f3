"""Trains a pipeline.config: the Object Detection API's model, losses and optimizer, through Orbit.

    python tools/train.py --pipeline_config_path=pipeline.config --model_dir=runs/a \\
        --val_annotations=annotations/instances_val2017.json --val_images=val2017

MODEL_DIR becomes a run directory, which tools/evaluate.py --model_dir, tools/report.py,
tools/verdict.py and tools/compare_runs.py read: spec.json (what was asked for), pipeline.config,
deviations.json (how it differs from the published recipe; null where none is known),
environment.json, checkpoints/ckpt-STEP, metrics.jsonl and TensorBoard events under train/. Which
recipe the config is of, it says itself where tools/render_config.py wrote it; --model names it.

The same command again continues after a stop or a kill. SIGTERM, Ctrl-C and SIGUSR1 save a
checkpoint first and exit with 128 + the signal's number. Preflight comes first
(docs/preflight.md); a fail stops the training. --num_train_steps stops early and leaves the
schedule as it is; tools/render_config.py --num_steps shortens both.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import shlex

from absl import flags

from replicate.execution import MOST_SEED, MOST_STEPS
from tools import cli, training_flags

_CONFIG = flags.DEFINE_string(
    "pipeline_config_path",
    None,
    "the config to train: a pipeline.config or params.yaml, an archive, a run directory or a "
    "model's name.",
)
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "the run directory.")
_STEPS = flags.DEFINE_integer(
    "num_train_steps",
    None,
    "stop at this global step; the config's num_steps otherwise.",
    lower_bound=1,
    upper_bound=MOST_STEPS,
)
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "initial weights, order of the data, augmentation and sampling follow from it.",
    lower_bound=0,
    upper_bound=MOST_SEED,
)
_EVERY = flags.DEFINE_integer(
    "checkpoint_every_n",
    1000,
    "steps between two checkpoints.",
    lower_bound=1,
    upper_bound=MOST_STEPS,
)
_MODEL = flags.DEFINE_string(
    "model",
    "",
    "the zoo model that is to be replicated, to compare with: its name, archive, config or a run "
    "of it; by default what the config says, or the one whose architecture it has.",
)
_VAL_ANNOTATIONS = flags.DEFINE_string(
    "val_annotations",
    "",
    "COCO JSON to evaluate on: preflight checks it, tools/evaluate.py takes it.",
)
_VAL_IMAGES = flags.DEFINE_string("val_images", "", "the folder of its images.")
_LOG = flags.DEFINE_integer(
    "log_every_n", 10, "steps between two lines of metrics.jsonl.", lower_bound=1
)
flags.adopt_module_key_flags(training_flags)


def main(_: list[str]) -> None:
    from replicate import train_run

    request = train_run.request_for(
        _CONFIG.value,
        _MODEL.value,
        val_annotations=_VAL_ANNOTATIONS.value,
        val_images=_VAL_IMAGES.value,
        num_steps=_STEPS.value,
        seed=_SEED.value,
        checkpoint_every_n=_EVERY.value,
        log_every_n=_LOG.value,
        **training_flags.execution(),
    )
    command = shlex.join(["python", "tools/train.py", *sys.argv[1:]])
    print(train_run.train(request, _MODEL_DIR.value, command, training_flags.terms()))


if __name__ == "__main__":
    cli.run(main, required=["pipeline_config_path", "model_dir"])
