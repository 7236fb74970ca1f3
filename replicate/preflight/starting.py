"""Reasons that lie in the weights a run begins with: the recipe's starting point, its own past."""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

from replicate import engine, identity, zoo
from replicate.config import Operation
from replicate.config.lint_rules import PLACEHOLDER
from replicate.errors import UserError
from replicate.preflight import recipe_checks, vision_checks
from replicate.preflight.forecast import Forecast
from replicate.preflight.launch_facts import LaunchFacts
from replicate.preflight.result import CheckFinding, Note, breaks, differs, mind
from replicate.run import read_metrics
from replicate.verdict import comparable

# Of the variables that the type loads, those that the checkpoint gave another value.
_FEW, _MOST = 0.5, 0.95
_OF_A_DETECTOR = (
    "--fine_tune_checkpoint=CHECKPOINT of a detector of this model: its prefix, or its run (python "
    "tools/download.py zoo MODEL fetches the zoo's)"
)
# Kinds (`engine.START_KIND`) that take more of a checkpoint than a classifier has.
_OF_DETECTORS = ("detection", "full", "all", "decoder", "backbone, decoder")


def checkpoint(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """1: the classification checkpoint of the recipe is not loaded."""
    here = facts.train
    published = facts.recipe.train_config if facts.recipe is not None else None
    if not here.fine_tune_checkpoint:
        yield from _from_random(facts, published)
        return
    yield from recipe_checks.start(facts)
    path = here.fine_tune_checkpoint
    if any(mark in path for mark in PLACEHOLDER):
        yield breaks(f"'{path}' is still to be configured", _where(facts, published))
    elif not os.path.isfile(f"{path}.index"):
        yield breaks(
            f"no checkpoint at {path} ({path}.index is missing)",
            f"name its prefix, without .index; {_where(facts, published)}",
        )
    else:
        yield Note(f"{path} ({_kind(facts)})")
    if published is not None and published.fine_tune_checkpoint and not facts.intent.restore:
        ours, theirs = here.fine_tune_checkpoint_type, published.fine_tune_checkpoint_type
        if ours != theirs and not (facts.finetunes and ours in ("detection", "full")):
            field = "train_config.fine_tune_checkpoint_type"
            yield differs(
                f"type {ours!r}; the recipe's is {theirs!r}",
                f"--set {field}={theirs}",
                facts.meant(field),
            )


def _kind(facts: LaunchFacts) -> str:
    """What of the checkpoint is loaded, in a word or two."""
    kind: str = facts.train.fine_tune_checkpoint_type
    if facts.intent.restore:
        return "all but the class heads"
    if facts.finetunes and kind == "detection":
        return "detection: the feature extractor; --restore=all_but_class_heads takes more of it"
    return kind


def _from_random(facts: LaunchFacts, published: Any) -> Iterator[CheckFinding]:
    if facts.intent.restore and not facts.checkpoint_steps:
        yield breaks(
            f"--restore={facts.intent.restore} and no checkpoint to take them from",
            "--fine_tune_checkpoint=CHECKPOINT of a detector of this model, or leave --restore out",
        )
        return
    if facts.checkpoint_steps:
        yield Note("not needed: the run continues from its own checkpoint")
    elif facts.finetunes:
        yield mind("random weights: there is nothing to fine-tune", _OF_A_DETECTOR)
    elif published is None:
        yield mind("random weights; no zoo recipe starts so", _where(facts, None))
    elif published.fine_tune_checkpoint:
        yield differs(
            f"random weights; the recipe starts from a {published.fine_tune_checkpoint_type} "
            "checkpoint (19 mAP instead of 22.2 where users missed it)",
            _where(facts, published),
        )
    else:
        yield Note("random weights, as in the recipe")


def _where(facts: LaunchFacts, published: Any) -> str:
    """What to do for the recipe's starting weights: the command that fetches them, if any does; a
    fine-tuning begins with a detector's."""
    if facts.finetunes:
        return _OF_A_DETECTOR
    if published is None or not published.fine_tune_checkpoint:
        return "--fine_tune_checkpoint=CHECKPOINT"
    name = published.fine_tune_checkpoint.rpartition("/")[2]
    name = "" if any(mark in name for mark in PLACEHOLDER) else name
    point = zoo.starting_point(facts.intent.model, name)
    if point is None:
        return f"--fine_tune_checkpoint=CHECKPOINT (the recipe's: {name or 'not named'})"
    if not point.archive:
        return f"--fine_tune_checkpoint=CHECKPOINT; {point.note}"
    model = zoo.get(facts.intent.model)
    wanted = model.archive if model is not None else point.templates[0]
    return (
        f"python tools/download.py starting {wanted} fetches the recipe's {point.checkpoint} and "
        "prints the --fine_tune_checkpoint to give"
    )


def matched(facts: LaunchFacts, trial: dict, forecast: Forecast) -> Iterator[CheckFinding]:
    """1, the other half: what of the checkpoint went into the model, counted by restoring it."""
    start = trial.get("start")
    if start is None:
        return
    if "error" in start:
        yield breaks(start["error"], _fitting_checkpoint(facts))
        return
    share = start["changed"] / max(start["total"], 1)
    seen = f"{start['changed']} of {start['total']} variables loaded"
    of_detector = facts.intent.restore or facts.described.start_kind in _OF_DETECTORS
    fix = f"is it this model's {'detector' if of_detector else 'backbone'}, and of this type?"
    if share < _FEW:
        yield differs(f"only {seen}", fix)
    elif share < _MOST:
        yield mind(seen, fix)
    else:
        yield Note(seen)


def _fitting_checkpoint(facts: LaunchFacts) -> str:
    kind = facts.described.start_kind
    if facts.engine == engine.TFVISION:
        return vision_checks.fitting_checkpoint(kind)
    if kind == "full" and not facts.intent.restore:
        return (
            "a detector's checkpoint of this model with as many classes; of any other, "
            "--restore=all_but_class_heads takes all else, fine_tune_checkpoint_type: detection "
            "the feature extractor"
        )
    if kind == "detection" or facts.intent.restore:
        return "the checkpoint of a detector of this model, of any number of classes"
    return "the backbone's checkpoint, with the recipe's type"


def resume(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """9: a resume keeps the step but not the optimizer, schedule or data position."""
    yield from _restart_in_disguise(facts)
    steps = facts.checkpoint_steps
    if not steps:
        if read_metrics(facts.run.metrics):
            yield mind(
                f"{facts.run.metrics} has steps, but no checkpoint is there: it begins anew",
                "put the checkpoints back, or name another run directory",
            )
        else:
            yield Note("a new run")
        return
    before = _config_before(facts)
    changed = [] if before is None else _changed(before, facts.message)
    if changed and "config" not in facts.intent.accept:
        first = changed[0]
        yield breaks(
            f"checkpoint {steps[-1]} was trained with another config: {first.path} was {first.a}, "
            f"is {first.b}" + (f" (and {len(changed) - 1} more)" * (len(changed) > 1)),
            "continue with the config it began with, or name another run directory",
        )
    intent = facts.intent
    now = identity.of(facts.message, intent.seed, intent.precision)
    differences = identity.differences(facts.run, now)
    for field, sentence in differences.items():
        if field not in intent.accept and not (field == "config" and changed):
            yield breaks(
                f"checkpoint {steps[-1]} is of another run: {sentence}",
                f"continue it as it began, name another run directory, or --accept={field}",
            )
    as_it_began = not changed and not differences
    logged = read_metrics(facts.run.metrics)
    if not logged or logged[-1]["step"] < steps[-1]:
        yield mind(
            f"the log ends at step {logged[-1]['step'] if logged else 0}, the checkpoint is of "
            f"step {steps[-1]}: the losses between are lost",
            "bring metrics.jsonl along with the checkpoints",
        )
    if as_it_began:
        known = "its config" if before is not None else "no record of its config"
        yield Note(f"continues after step {steps[-1]} with {known}")


def resumed(facts: LaunchFacts, trial: dict, forecast: Forecast) -> Iterator[CheckFinding]:
    """9, the other half: what the checkpoint holds, read by TensorFlow."""
    state = trial.get("resume")
    if state is None:
        return
    if state["damaged"]:
        yield mind(
            f"checkpoint {state['damaged'][0]} does not read back; the run continues from "
            f"{state['step'] if state['step'] is not None else 'its start'}",
            "check the disk",
        )
    needed = (engine.STEP[facts.engine], "model", "optimizer")
    lacking = [name for name in needed if name not in state["parts"]]
    if state["step"] is not None and lacking:
        yield breaks(
            f"checkpoint {state['step']} holds no {' and no '.join(lacking)}: the step would go on "
            "with fresh state",
            f"a checkpoint that the kit or the training loop of {engine.NAMES[facts.engine]} "
            "saved; exported ones hold weights alone",
        )
    elif state["step"] is not None:
        yield Note("step, weights and optimizer are in it")


def _restart_in_disguise(facts: LaunchFacts) -> Iterator[CheckFinding]:
    """A fine_tune_checkpoint that is a run's own: weights go on, everything else begins anew."""
    path = facts.described.start
    if not path:
        return
    name = "init_checkpoint" if facts.engine == engine.TFVISION else "fine_tune_checkpoint"
    folder = pathlib.Path(path).resolve().parent
    if folder in (facts.run.root.resolve(), facts.run.checkpoints.resolve()):
        yield breaks(
            f"{name} is this run's own checkpoint ({path}): that begins at step 0 "
            "with a new optimizer, schedule and order of data",
            f"to continue the run, leave {name} as it began; the run directory is "
            "all that is needed",
        )
    elif facts.finetunes:
        return  # from whose weights it starts, is what a fine-tuning is
    elif folder.name == "checkpoints" and (folder.parent / "metrics.jsonl").is_file():
        yield differs(
            f"{name} is of another run ({path}): weights alone, from step 0 with a "
            "new optimizer and schedule",
            "to continue that run, give its run directory; to train on other data from its "
            "weights, --purpose=finetune",
        )


def _config_before(facts: LaunchFacts) -> Any:
    """The config of the last launch into this run directory, or None."""
    text = facts.launched.get("config")
    try:
        if text:
            return engine.parse(text, "preflight.json")
        if facts.run.config.is_file():
            return engine.of_run(facts.run.config)
    except UserError:
        pass
    return None


def _changed(before: Any, now: Any) -> list[Operation]:
    """What changed that a checkpoint's state depends on; more steps alone are a longer run."""
    return [
        operation
        for operation in engine.diff(before, now)
        if operation.cls in comparable.AFFECTING["training"]
        and operation.path not in engine.STEPS.values()
    ]
