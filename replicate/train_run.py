"""A `pipeline.config` trained in a run directory that the other tools can read.

One stage of `replication`, for records and a config that are there already: preflight, the files
of `opening`, the training.
"""

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any

from replicate import checkpoint_files, engine, identity, opening
from replicate import config as configs
from replicate.errors import UserError
from replicate.execution import Execution
from replicate.run import RunDir, read_json

if TYPE_CHECKING:
    from replicate import preflight


# What another start of the same run may ask for anew.
_MAY_CHANGE = (
    *("config", "model", "recipe_told_by", "num_steps", "val_annotations", "val_images"),
    *("checkpoint_every_n", "checkpoint_max_to_keep", "log_every_n", "input_service"),
    *("cache", "cache_dir"),
    *("precision", "jit_compile", "tf32", "profile", "gradient_accumulation_steps"),
)
_STEPS = tuple(engine.STEPS.values())


@dataclasses.dataclass(frozen=True)
class TrainingRequest(Execution):
    """What to train, and how it is executed; a run keeps it in spec.json.

    Attributes:
      config: where the config comes from: a pipeline.config, an archive, a run directory or a zoo
        model's name.
      model: the published recipe that it is held against, as `config.read` takes it; "" where none
        is known.
      recipe_told_by: how that recipe was told.
      val_annotations, val_images: COCO JSON and image folder to evaluate on; "" where none is
        named yet.
      num_steps, log_every_n: as of `train.loop.TrainingSettings`.
    """

    config: str
    model: str = ""
    recipe_told_by: str = ""
    val_annotations: str = ""
    val_images: str = ""
    num_steps: int | None = None
    log_every_n: int = 10


def request_for(config: str, model: str = "", **fields: Any) -> TrainingRequest:
    """The TrainingRequest of a config, its recipe found.

    Args:
      config: what `config.read` takes.
      model: the recipe where the user names it: a zoo model, or a config, archive or run directory
        of one; "" finds it, see `config.recipe_of`. A config that is of no zoo model stands for
        itself.
      fields: the other fields of the TrainingRequest.

    Raises:
      UserError: as `config.read`.
    """
    if model:
        recipe = configs.Recipe(engine.recipe_of(model).model or model, "named by --model")
    else:
        recipe = engine.recipe_of(config)
    return TrainingRequest(config, recipe.model or "", recipe.how, **fields)


def train(
    request: TrainingRequest,
    run_dir: str | os.PathLike,
    command: str,
    terms: "preflight.Terms | None" = None,
) -> str:
    """Trains until the last step; preflight is the first act, and a fail stops it.

    Of several workers (see `replicate.cluster`) the first does everything before the training.

    Args:
      run_dir: the run directory; may hold the same run, begun earlier.
      command: the command line, for the report.
      terms: preflight.Terms; None takes the strict ones.

    Returns:
      path (prefix) of the last checkpoint.

    Raises:
      UserError: bad input, a reason that preflight finds, or the directory holds a run of
        something else; and what else `train.loop.train` raises.
    """
    from replicate import cluster, preflight

    message = engine.read(request.config)
    if request.num_steps:
        message = engine.stopping_at(message, request.num_steps)  # the config says what ran
    run = RunDir.at(run_dir)
    request = _with_evaluation_of(run, request)
    workers = cluster.from_environment()
    writes = workers is None or workers.is_chief
    with run.writing() if writes else contextlib.nullcontext(), preflight.Standby() as waiting:
        with workers.chief_first() if workers else contextlib.nullcontext():
            if writes:
                num_workers = len(workers.workers) if workers else 1
                _open(run, request, message, command, num_workers, terms, waiting)
        last = waiting.train(
            message,
            run_dir,
            **request.execution(),
            num_steps=request.num_steps,
            log_every_n=request.log_every_n,
        )
        if writes:
            opening.write_config(run, message, request.model)  # it may have ended early
    return last


def _open(
    run: RunDir,
    request: TrainingRequest,
    message: Any,
    command: str,
    num_workers: int,
    terms: "preflight.Terms | None",
    waiting: "preflight.Standby",
) -> None:
    """Everything before the first step."""
    from replicate import preflight

    _refuse_other_kinds(run)
    opening.refuse_another(run, request, _MAY_CHANGE)
    if "config" not in request.accept:
        opening.refuse_another_config(run, message, _STEPS)
    done, steps = checkpoint_files.steps_of(run.checkpoints), engine.describe(message).num_steps
    if done and steps:
        checkpoint_files.refuse_fewer(run.root, done[-1], steps)
    identity.refuse_at_its_end(run, message, request.seed, request.accept)
    meant = preflight.Intent(
        message=message,
        run_dir=str(run.root),
        model=request.model,
        val_annotations=request.val_annotations,
        val_images=request.val_images,
        num_workers=num_workers,
        num_steps=request.num_steps,
        **request.execution(),
    )
    forced = preflight.gate(meant, terms or preflight.Terms(), waiting=waiting)
    if done:  # the training asks again, once it knows its precision; until here nothing is changed
        now = identity.of(message, request.seed, request.precision)
        identity.refuse_another(run, now, request.accept)
    opening.write_spec(run, request, command, forced, kind="training")
    opening.write_config(run, message, request.model)


def _with_evaluation_of(run: RunDir, request: TrainingRequest) -> TrainingRequest:
    """The request with the evaluation set that the run named before, where this one names none."""
    if request.val_annotations or not run.spec.is_file():
        return request
    before = read_json(run.spec).get("request", {})
    named = {name: before.get(name, "") for name in ("val_annotations", "val_images")}
    return dataclasses.replace(request, **named)


def _refuse_other_kinds(run: RunDir) -> None:
    if run.spec.is_file() and read_json(run.spec).get("kind") != "training":
        raise UserError(
            f"{run.root} holds a run of another tool; continue it with its own command, or name "
            "another --model_dir"
        )
