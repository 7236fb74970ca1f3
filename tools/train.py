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

from tools import cli, training_flags

_CONFIG = flags.DEFINE_string("pipeline_config_path", None, "the pipeline.config to train.")
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "where checkpoints, logs and events go.")
_STEPS = flags.DEFINE_integer(
    "num_train_steps", None, "stop at this global step; the config's num_steps otherwise."
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "initial weights, order of the data, augmentation and sampling follow from it."
)
_EVERY = flags.DEFINE_integer("checkpoint_every_n", 1000, "steps between two checkpoints.")
_MODEL = flags.DEFINE_string(
    "model", "", "the zoo model that is to be replicated, for preflight to compare with."
)
_LOG = flags.DEFINE_integer("log_every_n", 10, "steps between two lines of metrics.jsonl.")
flags.adopt_module_key_flags(training_flags)


def main(_):
    from replicate import config, preflight

    message = config.read(_CONFIG.value)
    execution = training_flags.execution()
    intent = preflight.Intent(
        message=message,
        run_dir=_MODEL_DIR.value,
        model=_MODEL.value,
        num_steps=_STEPS.value,
        checkpoint_every_n=_EVERY.value,
        seed=_SEED.value,
        **execution,
    )
    preflight.first_act(intent, training_flags.terms())
    from replicate.train import loop

    settings = loop.Settings(
        num_steps=_STEPS.value,
        seed=_SEED.value,
        checkpoint_every_n=_EVERY.value,
        log_every_n=_LOG.value,
        **execution,
    )
    print(loop.train(message, _MODEL_DIR.value, settings))


if __name__ == "__main__":
    cli.run(main, required=["pipeline_config_path", "model_dir"])
