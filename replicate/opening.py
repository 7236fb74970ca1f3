"""What a run directory holds before its first step, whichever tool asked for the run.

spec.json (what was asked for), pipeline.config (what is trained), deviations.json (how that
differs from the published recipe). environment.json is the training's own (`train.loop`).
"""

import dataclasses
import os
import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from replicate import best, engine, environment
from replicate import config as configs
from replicate.config.operations import show
from replicate.errors import UserError
from replicate.execution import ALL_BUT_CLASS_HEADS
from replicate.run import read_json, read_json_or_none, write_json, write_text
from tfrecords import redaction

if TYPE_CHECKING:
    from replicate.run import RunDir


#: The path of a deviation that is no field of the config.
FREEZE = "--freeze"
RESTORE = "--restore"
_RESTORED = "a detector's weights but for its class heads; the API has no such type"
_FROZEN = "these layers keep the weights and batch-norm statistics that the run begins with"

# Fields of a request under the names that `identity` has for what they change.
_IDENTITY = {
    "overrides": "config",
    "config": "config",
    "fine_tune_checkpoint": "starting_checkpoint",
}
_PATHS = ("train_annotations", "train_images", "val_annotations", "val_images", "config")


def asked_for(request: Any) -> dict:
    """A request (a dataclass) as plain data: what spec.json keeps of it, its paths absolute."""
    asked = dataclasses.asdict(request)
    asked.pop("accept", None)  # a term of one start, not what is asked for
    for name, value in asked.items():
        if name in _PATHS and value:
            asked[name] = os.path.abspath(value)
        elif name == "overrides":
            asked[name] = [list(pair) for pair in value]
        elif isinstance(value, tuple):
            asked[name] = list(value)
    return redaction.everywhere(asked)


def refuse_another(run: "RunDir", request: Any, may_change: Iterable[str] = ()) -> None:
    """Raises UserError where the run directory holds a run that was asked for differently.

    Args:
      request: a dataclass; a field that an older run does not know had its default then. What its
        `accept` names may differ, and `identity` keeps it.
      may_change: names of fields that another start may set anew.
    """
    if not run.spec.is_file():
        return
    asked, before = asked_for(request), read_json(run.spec).get("request", {})
    defaults = {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in dataclasses.fields(request)
    }
    accepted = getattr(request, "accept", ())
    may_change = [*may_change, *(name for name in asked if _IDENTITY.get(name, name) in accepted)]
    changed = [
        f"{name} was {_told(before.get(name, defaults[name]))}, now {value!r}"
        for name, value in asked.items()
        if name not in may_change and value != before.get(name, defaults[name])
    ]
    if changed:
        kept = any(run.checkpoints.glob("*.index"))
        raise UserError(
            f"{run.root} holds a run that was asked for differently: {'; '.join(changed)}. "
            + ("Continue it" if kept else "No step of it was kept: remove it, continue it")
            + " with its own settings, or name another directory (--run_dir, --model_dir)"
        )


def _told(value: Any) -> str:
    return "not asked for" if value is dataclasses.MISSING else repr(value)


def refuse_another_config(run: "RunDir", message: Any, may_change: Collection[str] = ()) -> None:
    """Raises UserError where the run directory holds a training with another config.

    Args:
      message: the config that is to be trained.
      may_change: paths of fields that another start may set anew.
    """
    if not run.config.is_file() or not any(run.checkpoints.glob("*.index")):
        return
    changed = [
        f"{operation.path} was {_shown(operation.a)}, now {_shown(operation.b)}"
        for operation in engine.diff(engine.of_run(run.config), message)
        if operation.cls in ("architecture", "training") and operation.path not in may_change
    ]
    if changed:
        raise UserError(
            f"{run.root} holds a training with another config: {'; '.join(changed)}. Continue it "
            f"with its own ({run.config}), or name another directory (--run_dir, "
            "--model_dir)"
        )


def _shown(value: Any) -> str:
    return "not set" if value is None else show(value)


def write_spec(run: "RunDir", request: Any, command: str, forced: list[str], **more: Any) -> None:
    """Writes what was asked for; where the run is asked for the same again, its command stays.

    Args:
      request: a dataclass.
      command: the command line; what lets someone in is left out.
      forced: sentences: the fails of preflight that --force overrode.
      more: further fields of spec.json.
    """
    asked, extras = asked_for(request), {"forced": forced} if forced else {}
    before = read_json(run.spec) if run.spec.is_file() else {}
    if before.get("request") == asked and "command" in before:
        command = before["command"]
    if "accepted" in before:
        extras["accepted"] = before["accepted"]  # what `identity` has noted
    if "reference" in before and "reference" not in more:
        extras["reference"] = before["reference"]  # another start need not name it again
    command = environment.without_secrets(command)
    spec = {"format": 1, **more, "request": asked, "command": command} | extras
    if spec != before:
        write_json(run.spec, spec)


def write_config(run: "RunDir", message: Any, recipe: str | None) -> list[configs.Operation] | None:
    """Writes pipeline.config (params.yaml of TF-Vision), and deviations.json: how it differs from
    the recipe.

    Where no recipe is known deviations.json holds `null`: nothing was compared. An empty list
    says that nothing differs. What the config does not tell is among them: --freeze, --restore, and
    a training that ended early.

    Args:
      message: the config, of either engine.
      recipe: a zoo model's name or what else `config.read` takes; "" or None where it is not known.

    Returns:
      list of config.Operation, or None.
    """
    file = run.root / engine.FILES[engine.of(message)]
    text = engine.text(message, recipe)
    if not file.is_file() or engine.of_run(file) != engine.parse(text, str(file)):
        write_text(file, configs.sealed(text))
        tell_of_secrets(file, text)
    deviations = deviations_of(run, message, recipe) if recipe else None
    held = None if deviations is None else configs.operations_to_json(deviations)
    if not run.deviations.is_file() or read_json_or_none(run.deviations) != held:
        write_json(run.deviations, held, checksum=held is not None)
    return deviations


def deviations_of(run: "RunDir", message: Any, recipe: str) -> list[configs.Operation]:
    """How a run differs from its recipe: by its config, by --freeze and --restore, by an
    early end.

    Raises:
      UserError: no such recipe, or a file of the run that cannot be read.
    """
    operations = engine.deviations(message, recipe)
    spec = read_json(run.spec) if run.spec.is_file() else {}
    if freeze := (spec.get("request") or {}).get("freeze"):
        operations.append(configs.Operation("set", FREEZE, None, freeze, "training", _FROZEN))
    if restored := _restored(run, spec):
        operations.append(configs.Operation("set", RESTORE, None, restored, "training", _RESTORED))
    training = read_json_or_none(run.training) or {}
    if best.stopped_early(run) is None or training.get("state") != "done":
        return operations
    steps, planned = training["step"], engine.describe(message).num_steps
    path = engine.STEPS[engine.of(message)]
    if steps >= planned:
        return operations
    why = f"ended early by --patience, the config's end is {planned}"
    same = [operation for operation in operations if operation.path == path]
    published = same[0].a if same else planned
    return [operation for operation in operations if operation.path != path] + [
        configs.Operation("modify", path, published, steps, "training", why)
    ]


def _restored(run: "RunDir", spec: dict) -> str:
    """How the starting weights were loaded, as start.json has it, before that as it was asked; ""
    where by fine_tune_checkpoint_type."""
    asked: str = (spec.get("request") or {}).get("restore") or ""
    start = read_json_or_none(run.start)
    if start is None:
        return asked
    kind: str = start.get("type") or ""
    return kind if kind == ALL_BUT_CLASS_HEADS else ""


def tell_of_secrets(path: str | os.PathLike, text: str) -> None:
    """Says so where the text of a config, just written, holds a password or token."""
    if redaction.without_secrets(text) != text:
        print(
            f"{path} keeps what lets someone in (a password or token in an address): the training "
            "needs it. Do not publish that file",
            file=sys.stderr,
        )
