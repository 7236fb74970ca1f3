"""Checks every documented reason why a replication fails, before the first training step.

    python tools/preflight.py --model=ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 \\
        --train_annotations=annotations/instances_train2017.json --train_images=train2017 \\
        --val_annotations=annotations/instances_val2017.json --val_images=val2017 \\
        --fine_tune_checkpoint=mobilenet_v2.ckpt-1 --run_dir=runs/fpnlite320
    python tools/preflight.py --pipeline_config_path=pipeline.config --run_dir=runs/a --model=MODEL

Sixteen reasons, each with pass, warn or fail, what was seen, and the fix. Then two real training
steps and an evaluation of two images, and from them a forecast of time, memory and space for the
whole run (--notrial leaves that out). tools/replicate.py and tools/train.py do the same as their
first act: a fail stops them. docs/preflight.md lists the reasons.

Exit status: 0 nothing fails, 1 something does, 2 usage.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import json

from absl import flags

from replicate.errors import UserError
from tools import cli

_CONFIG = flags.DEFINE_string(
    "pipeline_config_path", None, "a config as it would be trained; without, --model's recipe."
)
_MODEL = flags.DEFINE_string("model", "", "the zoo model that is to be replicated.")
_RUN_DIR = flags.DEFINE_string("run_dir", None, "the run directory; it need not exist yet.")
_TRAIN_ANNOTATIONS = flags.DEFINE_string("train_annotations", "", "COCO JSON to train on.")
_TRAIN_IMAGES = flags.DEFINE_string("train_images", "", "the folder of its images.")
_VAL_ANNOTATIONS = flags.DEFINE_string("val_annotations", "", "COCO JSON to evaluate on.")
_VAL_IMAGES = flags.DEFINE_string("val_images", "", "the folder of its images.")
_STEPS = flags.DEFINE_integer("num_steps", None, "training steps; the config's otherwise.")
_SET = flags.DEFINE_multi_string(
    "set", [], "PATH=VALUE: another value, on purpose; may be repeated."
)
_START = flags.DEFINE_string("fine_tune_checkpoint", "", "the recipe's starting checkpoint.")
_SEED = flags.DEFINE_integer("seed", 0, "seed of the training run.")
_EVERY = flags.DEFINE_integer("checkpoint_every_n", 1000, "steps between checkpoints.")
_KEEP = flags.DEFINE_integer("checkpoint_max_to_keep", 7, "how many of the last ones are kept.")
_PRECISION = flags.DEFINE_enum(
    "precision", None, ["float32", "bfloat16", "float16"], "number format of the run."
)
_JIT = flags.DEFINE_bool("jit_compile", False, "compile each step with XLA (for GPUs).")
_MICRO = flags.DEFINE_integer(
    "gradient_accumulation_steps", 1, "micro-batches of a global batch.", lower_bound=1
)
_MASKS = flags.DEFINE_bool("include_masks", False, "keep instance masks in the records.")
_GPUS = flags.DEFINE_integer("num_gpus", None, "GPUs of each machine that must be there.")
_WORKERS = flags.DEFINE_integer("num_workers", 1, "machines that train together.", lower_bound=1)
_REHEARSAL = flags.DEFINE_bool(
    "rehearsal", False, "not meant to be the published experiment: differences are warnings."
)
_TRIAL = flags.DEFINE_bool("trial", True, "train two steps and evaluate two images.")
_JSON = flags.DEFINE_bool("json", False, "the answer as JSON.")


def main(_):
    from replicate import preflight

    answer = preflight.check(_intent(), trial=_TRIAL.value, progress=not _JSON.value)
    if _JSON.value:
        print(json.dumps(answer.to_json(), indent=1))
    else:
        print(answer.page(f"preflight of {_MODEL.value or _CONFIG.value}"))
    return cli.NEGATIVE if answer.failed else cli.DONE


def _intent():
    """What would be launched, by the flags."""
    more = {
        "checkpoint_max_to_keep": _KEEP.value,
        "precision": _PRECISION.value,
        "jit_compile": _JIT.value,
        "gradient_accumulation_steps": _MICRO.value,
        "num_gpus": _GPUS.value,
        "num_workers": _WORKERS.value,
        "rehearsal": _REHEARSAL.value,
    }
    return _of_config(more) if _CONFIG.value else _of_request(more)


def _of_config(more):
    from replicate import config, preflight

    message = config.read(_CONFIG.value)
    overrides = [config.parse_override(each) for each in _SET.value]
    for path, value in overrides:
        config.set_field(message, path, value)
    if _START.value:
        message.train_config.fine_tune_checkpoint = _START.value
    return preflight.Intent(
        message=message,
        run_dir=_RUN_DIR.value,
        model=_MODEL.value,
        train_annotations=_TRAIN_ANNOTATIONS.value,
        train_images=_TRAIN_IMAGES.value,
        val_annotations=_VAL_ANNOTATIONS.value,
        val_images=_VAL_IMAGES.value,
        asked_for=tuple(path for path, _ in overrides),
        num_steps=_STEPS.value,
        checkpoint_every_n=_EVERY.value,
        seed=_SEED.value,
        include_masks=_MASKS.value,
        **more,
    )


def _of_request(more):
    from replicate import config, replication

    given = {
        "model": _MODEL.value,
        "train_annotations": _TRAIN_ANNOTATIONS.value,
        "train_images": _TRAIN_IMAGES.value,
        "val_annotations": _VAL_ANNOTATIONS.value,
        "val_images": _VAL_IMAGES.value,
    }
    lacking = [f"--{name}" for name, value in given.items() if not value]
    if lacking:
        raise UserError(
            f"without --pipeline_config_path, {', '.join(lacking)} must be given as to "
            "tools/replicate.py"
        )
    request = replication.Request(
        **given,
        num_steps=_STEPS.value,
        overrides=tuple(config.parse_override(each) for each in _SET.value),
        fine_tune_checkpoint=_START.value,
        seed=_SEED.value,
        checkpoint_every_n=_EVERY.value,
        include_masks=_MASKS.value,
    )
    replication.check_inputs(request)
    return replication.intent(request, _RUN_DIR.value, **more)


if __name__ == "__main__":
    cli.run(main, required=["run_dir"])
