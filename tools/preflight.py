"""Checks every documented reason why a replication fails, before the first training step.

    python tools/preflight.py --model=ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8 \\
        --train_annotations=annotations/instances_train2017.json --train_images=train2017 \\
        --val_annotations=annotations/instances_val2017.json --val_images=val2017 \\
        --fine_tune_checkpoint=mobilenet_v2.ckpt-1 --run_dir=runs/fpnlite320
    python tools/preflight.py --pipeline_config_path=pipeline.config --run_dir=runs/a --model=MODEL

Seventeen reasons, each with pass, warn or fail, what was seen, and the fix. Then two real training
steps and an evaluation of two images, and from them a forecast of time, memory and space for the
whole run (--notrial leaves that out). tools/replicate.py and tools/train.py do the same as their
first act: a fail stops them. It takes every flag of tools/replicate.py, so that a command can be
checked before it is launched. docs/preflight.md lists the reasons.

Exit status: 0 nothing fails, 1 something does, 2 usage.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import json
from typing import TYPE_CHECKING, Any

from absl import flags

from replicate.errors import UserError
from tools import cli, reference_flags, training_flags
from tools import replicate as tool

if TYPE_CHECKING:
    from replicate.preflight import Intent

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(tool)
_CONFIG = flags.DEFINE_string(
    "pipeline_config_path", None, "a config as it would be trained; without, --model's recipe."
)
_GPUS = flags.DEFINE_integer("num_gpus", None, "GPUs of each machine that must be there.")
_WORKERS = flags.DEFINE_integer("num_workers", 1, "machines that train together.", lower_bound=1)
_JSON = flags.DEFINE_bool("json", False, "the answer as JSON.")


def main(_: list[str]) -> int:
    from replicate import preflight

    terms = training_flags.terms()
    asked = {"num_gpus": _GPUS.value, "num_workers": _WORKERS.value, "rehearsal": terms.rehearsal}
    asked["purpose"] = terms.purpose
    intent = _of_config(asked) if _CONFIG.value else _of_request(asked)
    answer = preflight.check(intent, trial=terms.trial, progress=not _JSON.value)
    if _JSON.value:
        print(json.dumps(answer.to_json(), indent=1))
    else:
        print(answer.page(f"preflight of {FLAGS.model or _CONFIG.value}"))
    return cli.NEGATIVE if answer.failed else cli.DONE


def _of_config(asked: dict[str, Any]) -> "Intent":
    """The Intent of a config file, as tools/train.py would train it."""
    from replicate import best, config, engine, preflight, weights

    if FLAGS.keep_best:
        best.Metric.parse(FLAGS.keep_best)
    message = engine.read(_CONFIG.value)
    overrides = [config.parse_override(text) for text in FLAGS.set]
    for path, value in overrides:
        engine.set_field(message, path, value)
    if FLAGS.fine_tune_checkpoint:
        start = engine.START[engine.of(message)]
        engine.set_field(message, start, weights.start_of(FLAGS.fine_tune_checkpoint))
    return preflight.Intent(
        message=message,
        run_dir=FLAGS.run_dir,
        model=_recipe() or "",
        train_annotations=FLAGS.train_annotations or "",
        train_images=FLAGS.train_images or "",
        val_annotations=FLAGS.val_annotations or "",
        val_images=FLAGS.val_images or "",
        asked_for=tuple(path for path, _ in overrides),
        num_steps=FLAGS.num_steps,
        checkpoint_every_n=FLAGS.checkpoint_every_n,
        seed=FLAGS.seed,
        include_masks=FLAGS.include_masks,
        **training_flags.execution(),
        **asked,
    )


def _recipe() -> str | None:
    """What the config is compared with: --model, else what it can be told to be of."""
    from replicate import train_run

    return train_run.request_for(_CONFIG.value, FLAGS.model or "").model


def _of_request(asked: dict[str, Any]) -> "Intent":
    """The Intent of what tools/replicate.py would do with the same flags."""
    from replicate import replication
    from replicate.run import RunDir

    lacking = [f"--{name}" for name in tool.REQUIRED if not FLAGS[name].value]
    if lacking:
        raise UserError(
            f"without --pipeline_config_path, {', '.join(lacking)} must be given as to "
            "tools/replicate.py"
        )
    request = tool.request()
    reference_flags.asked()  # wrong ones are told here as there
    replication.refuse_another(RunDir.at(FLAGS.run_dir), replication.resolved(request))
    replication.check_inputs(request)
    return replication.intent(request, FLAGS.run_dir, **asked)


if __name__ == "__main__":
    cli.run(main, required=["run_dir"])
