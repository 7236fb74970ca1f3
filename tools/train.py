"""Trains a pipeline.config: the Object Detection API's model, losses and optimizer, through Orbit.

    python tools/train.py --pipeline_config_path=runs/a/pipeline.config --model_dir=runs/a

Writes MODEL_DIR/checkpoints/ckpt-STEP, MODEL_DIR/metrics.jsonl and TensorBoard events under
MODEL_DIR/train. The same command again continues after a stop or a kill. SIGTERM, Ctrl-C and
SIGUSR1 save a checkpoint first and exit with 128 + the signal's number. Preflight comes first
(docs/preflight.md); a fail stops the training.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from absl import flags

from tools import cli

_CONFIG = flags.DEFINE_string("pipeline_config_path", None, "the pipeline.config to train.")
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "where checkpoints, logs and events go.")
_STEPS = flags.DEFINE_integer(
    "num_train_steps", None, "stop at this global step; the config's num_steps otherwise."
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "initial weights, order of the data, augmentation and sampling follow from it."
)
_EVERY = flags.DEFINE_integer("checkpoint_every_n", 1000, "steps between two checkpoints.")
_KEEP = flags.DEFINE_integer("checkpoint_max_to_keep", 7, "how many of the last ones are kept.")
_PRECISION = flags.DEFINE_enum(
    "precision",
    None,
    ["float32", "bfloat16", "float16"],
    "number format; by default bfloat16 where the config has use_bfloat16 and the GPU computes it.",
)
_JIT = flags.DEFINE_bool("jit_compile", False, "compile each step with XLA (for GPUs).")
_MICRO = flags.DEFINE_integer(
    "gradient_accumulation_steps",
    1,
    "micro-batches the global batch is split into, where it does not fit the device.",
    lower_bound=1,
)
_SERVICE = flags.DEFINE_string(
    "input_service",
    "",
    "who decodes and augments: a number of processes to start here, or host:port,... of running "
    "ones (python -m replicate.train.input_service); this process where empty.",
)
_MODEL = flags.DEFINE_string(
    "model", "", "the zoo model that is to be replicated, for preflight to compare with."
)
_REHEARSAL = flags.DEFINE_bool(
    "rehearsal", False, "not meant to be the published experiment: differences are warnings."
)
_FORCE = flags.DEFINE_bool("force", False, "train although preflight fails; the report says so.")
_TRIAL = flags.DEFINE_bool("trial", True, "preflight trains two steps before anything else.")
_LOG = flags.DEFINE_integer("log_every_n", 10, "steps between two lines of metrics.jsonl.")


def main(_):
    from replicate import config, preflight

    message = config.read(_CONFIG.value)
    intent = preflight.Intent(
        message=message,
        run_dir=_MODEL_DIR.value,
        model=_MODEL.value,
        num_steps=_STEPS.value,
        checkpoint_every_n=_EVERY.value,
        checkpoint_max_to_keep=_KEEP.value,
        seed=_SEED.value,
        precision=_PRECISION.value,
        jit_compile=_JIT.value,
        gradient_accumulation_steps=_MICRO.value,
    )
    preflight.first_act(intent, preflight.Terms(_REHEARSAL.value, _FORCE.value, _TRIAL.value))
    from replicate.train import loop

    settings = loop.Settings(
        num_steps=_STEPS.value,
        seed=_SEED.value,
        checkpoint_every_n=_EVERY.value,
        checkpoint_max_to_keep=_KEEP.value,
        log_every_n=_LOG.value,
        precision=_PRECISION.value,
        jit_compile=_JIT.value,
        gradient_accumulation_steps=_MICRO.value,
        input_service=_SERVICE.value,
    )
    print(loop.train(message, _MODEL_DIR.value, settings))


if __name__ == "__main__":
    cli.run(main, required=["pipeline_config_path", "model_dir"])
