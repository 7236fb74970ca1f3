"""The flags of every tool that trains: how steps are executed, and what preflight lets by."""

import re
from typing import TYPE_CHECKING, Any

from absl import flags

from replicate.errors import UserError

if TYPE_CHECKING:
    from replicate.preflight import Terms

_KEEP = flags.DEFINE_integer(
    "checkpoint_max_to_keep", 7, "how many of the last ones are kept.", lower_bound=1
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    None,
    ["float32", "bfloat16", "float16"],
    "number format; by default bfloat16 where the config asks for it and the GPU computes it.",
)
_JIT = flags.DEFINE_bool("jit_compile", False, "compile each step with XLA (for GPUs).")
_TF32 = flags.DEFINE_bool(
    "tf32",
    True,
    "let a GPU compute float32 in TensorFloat-32 (10 bits of mantissa), as TensorFlow does by "
    "default; --notf32 keeps all 23. A CPU has no TensorFloat-32.",
)
_PROFILE = flags.DEFINE_integer(
    "profile",
    0,
    "write a TensorBoard profile of so many steps, after those that are traced and compiled: "
    "MODEL_DIR/train/plugins/profile, and profile.json, which says where a step's time goes.",
    lower_bound=0,
)
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
_CACHE = flags.DEFINE_enum(
    "cache",
    "",
    ["", "decoded"],
    "decoded: each training image is decoded once, not once an epoch, and kept while the training "
    "runs; how much room that takes is told first. The batches are the same.",
)
_CACHE_DIR = flags.DEFINE_string(
    "cache_dir",
    "",
    "of --cache: a folder of a local disk, whose files go when the training ends; in memory where "
    "empty.",
)
_FREEZE = flags.DEFINE_string(
    "freeze",
    "",
    "what is not trained: backbone, or a regular expression found in variables' names. The layers' "
    "weights and batch-norm statistics stay as the run begins with them (train_config."
    "freeze_variables has no effect in TensorFlow 2).",
)
_RESTORE = flags.DEFINE_enum(
    "restore",
    "by_type",
    ["by_type", "all_but_class_heads"],
    "what of fine_tune_checkpoint is loaded: by_type goes by train_config."
    "fine_tune_checkpoint_type, of which detection is the feature extractor; all_but_class_heads "
    "is a detector's every variable of the same name and shape, box heads and towers among them, "
    "and leaves what depends on the classes fresh.",
)
_REHEARSAL = flags.DEFINE_bool(
    "rehearsal",
    False,
    "not meant to be the published experiment: what preflight finds different is a warning.",
)
_PURPOSE = flags.DEFINE_enum(
    "purpose",
    "replicate",
    ["replicate", "finetune"],
    "what the run is for: finetune takes the recipe as a starting point for data of one's own, so "
    "that other classes, images, lengths and batches are as expected.",
)
_FORCE = flags.DEFINE_bool(
    "force", False, "go on although preflight fails; spec, verdict and report say so."
)
_ACCEPT = flags.DEFINE_multi_string(
    "accept",
    [],
    "continue a run although this differs from its beginning (seed, precision, config, label_map, "
    "train_records, …: the message that refuses it names the field); the verdict says so.",
)
_TRIAL = flags.DEFINE_bool(
    "trial", True, "preflight trains two steps and evaluates two images before anything else."
)


# What --input_service takes: a number of processes, or the addresses of running ones.
_SERVERS = re.compile(r"[1-9]\d*|[^\s,]+:\d+(,[^\s,]+:\d+)*")


def execution() -> dict[str, Any]:
    """The flags that are fields of `replicate.execution.Execution`."""
    if _CACHE_DIR.value and not _CACHE.value:
        raise UserError("--cache_dir says where images are kept: give --cache=decoded too")
    accept = tuple(field for value in _ACCEPT.value for field in value.split(","))
    if accept:
        from replicate import identity

        identity.refuse_unknown(accept)
    if _SERVICE.value and not _SERVERS.fullmatch(_SERVICE.value):
        raise UserError(
            f"--input_service={_SERVICE.value}: a number of processes above 0, or host:port,…"
        )
    return {
        "checkpoint_max_to_keep": _KEEP.value,
        "precision": _PRECISION.value,
        "jit_compile": _JIT.value,
        "tf32": _TF32.value,
        "profile": _PROFILE.value,
        "gradient_accumulation_steps": _MICRO.value,
        "input_service": _SERVICE.value,
        "cache": _CACHE.value,
        "cache_dir": _CACHE_DIR.value,
        "freeze": _FREEZE.value,
        "restore": "" if _RESTORE.value == "by_type" else _RESTORE.value,
        "accept": accept,
    }


def terms() -> "Terms":
    """What preflight lets by, as a `replicate.preflight.Terms`."""
    from replicate import preflight

    return preflight.Terms(_REHEARSAL.value, _FORCE.value, _TRIAL.value, _PURPOSE.value)
