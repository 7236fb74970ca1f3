"""What makes a training run the same run: kept at its start, compared whenever it is continued.

    identity.json
      seed, precision       of the training
      config                the text of the pipeline.config (params.yaml)
      label_map             {category id: name}
      train_records         SHA-256 over the records' manifest: source, settings, every shard's hash
      train_annotations     SHA-256 of the annotation file that the records were made of
      starting_checkpoint   SHA-256 over the files of fine_tune_checkpoint, null without one
      accepted              what --accept let by: [{field, was, now, step}], oldest first

A run in which something was accepted is not the run that its seed and config describe; spec.json
has the same list, verdict and report say it.
"""

import glob
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from replicate import checkpoint_files, engine
from replicate.errors import UserError
from replicate.run import read_json, write_json
from tfrecords import label_map, manifest, redaction
from tfrecords.errors import InputError

if TYPE_CHECKING:
    from replicate.run import RunDir


FIELDS = (
    *("seed", "precision", "config", "label_map", "train_records", "train_annotations"),
    "starting_checkpoint",
)
_CLASSES = ("architecture", "training")
_NOT_STATE = (
    *engine.STEPS.values(),
    *("train_config.fine_tune_checkpoint", "task.init_checkpoint"),
)
_HEAD_BYTES = 1 << 20
_SHOWN = 3


def of(config: Any, seed: int, precision: str | None) -> dict:
    """The identity of a training.

    Args:
      config: of either engine.
      seed: of the run.
      precision: the one it computes in, None where that is not known yet.

    Returns:
      dict of FIELDS; None stands for what cannot be told here.
    """
    held = engine.describe(config)
    records, annotations = _records(list(held.train_records))
    return {
        "seed": seed,
        "precision": precision,
        "config": redaction.without_secrets(engine.text(config)),
        "label_map": _label_map(held.train_label_map),
        "train_records": records,
        "train_annotations": annotations,
        "starting_checkpoint": _checkpoint(held.start),
    }


def differences(run: "RunDir", now: dict) -> dict[str, str]:
    """In what a training differs from the one that the run directory holds.

    Args:
      now: as `of` gives it.

    Returns:
      dict of field to a sentence; empty where all is the same or nothing was kept.
    """
    if not run.identity.is_file():
        return {}
    before = read_json(run.identity)
    return {
        field: sentence
        for field in FIELDS
        if before.get(field) is not None and now[field] is not None
        for sentence in [_sentence(field, before[field], now[field])]
        if sentence
    }


def refuse_another(run: "RunDir", now: dict, accept: Collection[str] = ()) -> dict[str, str]:
    """`differences`, all of them accepted.

    Raises:
      UserError: a difference that is not accepted, or an unknown field in `accept`.
    """
    refuse_unknown(accept)
    changes = differences(run, now)
    refused = [field for field in changes if field not in accept]
    if refused:
        raise UserError(
            f"{run.root} was begun as another run: {'; '.join(changes[name] for name in refused)}. "
            "Continue it as it began, or name another run directory; "
            + " ".join(f"--accept={name}" for name in refused)
            + " continues it all the same, and the verdict says so"
        )
    return changes


def refuse_unknown(accept: Collection[str]) -> None:
    """Raises UserError where a name is none of FIELDS."""
    unknown = sorted(set(accept) - set(FIELDS))
    if unknown:
        raise UserError(f"--accept={unknown[0]}: one of {', '.join(FIELDS)}")


def refuse_at_its_end(run: "RunDir", config: Any, seed: int, accept: Collection[str]) -> None:
    """Refuses to accept another seed or config of a run that is trained to its end: none of it
    would be trained with them.

    Args:
      config: that is asked for, of either engine.
      seed: likewise.
      accept: FIELDS.

    Raises:
      UserError: they differ from what was trained.
    """
    asked = [field for field in ("seed", "config") if field in accept]
    done, end = checkpoint_files.steps_of(run.checkpoints), engine.describe(config).num_steps
    if not asked or not done or not end or done[-1] < end:
        return
    changes = differences(run, of(config, seed, None))
    if told := [changes[field] for field in asked if field in changes]:
        raise UserError(
            f"{run.root} is trained to its end, step {done[-1]}, so --accept has nothing to "
            f"continue: {'; '.join(told)}. Ask for it as it was trained, for more steps, or name "
            "another run directory"
        )


def keep(
    run: "RunDir", now: dict, step: int, accept: Collection[str] = (), ended: bool = False
) -> None:
    """Keeps the identity of a run that begins, or refuses to continue another one.

    Args:
      now: as `of` gives it.
      step: that the run stands at; 0 begins it, whatever was kept before.
      accept: FIELDS whose difference is let by, and kept.
      ended: nothing is left to train, so an accepted difference is told and not kept.

    Raises:
      UserError: a difference that is not accepted, or an unknown field in `accept`.
    """
    refuse_unknown(accept)
    if not step:
        write_json(run.identity, now | {"accepted": []})
        return
    changes = refuse_another(run, now, accept)
    if ended and changes:
        print(
            f"{run.root}: nothing is left to train, so it stays what was trained: "
            + "; ".join(changes.values()),
            file=sys.stderr,
        )
        return
    before = read_json(run.identity) if run.identity.is_file() else {}
    identity = {
        field: now[field] if now[field] is not None else before.get(field) for field in FIELDS
    }
    accepted = before.get("accepted", []) + [
        {"field": field, "was": _brief(before[field]), "now": _brief(now[field]), "step": step}
        for field in changes
    ]
    if {**identity, "accepted": accepted} != before:
        write_json(run.identity, identity | {"accepted": accepted})
    if changes:
        note(run, accepted)


def note(run: "RunDir", accepted: list[dict]) -> None:
    """Puts what was accepted into spec.json ("accepted"), where the verdict finds it."""
    if run.spec.is_file():
        write_json(run.spec, read_json(run.spec) | {"accepted": accepted})


def accepted_notes(run: "RunDir") -> list[str]:
    """What was accepted, as sentences for a verdict or a report."""
    accepted = read_json(run.identity).get("accepted", []) if run.identity.is_file() else []
    return [
        f"continued after step {entry['step']} as another run (--accept={entry['field']}): "
        f"{entry['field']} was {entry['was']}, then {entry['now']}"
        for entry in accepted
    ]


def _sentence(field: str, was: Any, now: Any) -> str | None:
    """A difference as a sentence, None where there is none."""
    if field == "config":
        return _config_told(was, now)
    if field == "label_map":
        return _map_told(was, now)
    if was == now:
        return None
    if field in ("seed", "precision"):
        return f"{field} was {was}, is {now}"
    return f"{field.replace('_', ' ')} have other content (SHA-256 {was[:12]}…, now {now[:12]}…)"


def _config_told(was: str, now: str) -> str | None:
    changed = [
        operation
        for operation in engine.diff(
            engine.parse(was, "identity.json"), engine.parse(now, "config")
        )
        if operation.cls in _CLASSES and operation.path not in _NOT_STATE
    ]
    if not changed:
        return None
    shown = ", ".join(
        f"{operation.path} was {operation.a}, is {operation.b}" for operation in changed[:_SHOWN]
    )
    more = f" (and {len(changed) - _SHOWN} more)" if len(changed) > _SHOWN else ""
    return f"config: {shown}{more}"


def _map_told(was: dict[str, str], now: dict[str, str]) -> str | None:
    ids = sorted(set(was) | set(now), key=int)
    changed = [id_ for id_ in ids if was.get(id_) != now.get(id_)]
    if not changed:
        return None
    shown = ", ".join(f"{i} was {was.get(i)!r}, is {now.get(i)!r}" for i in changed[:_SHOWN])
    return f"label map: {shown}" + (", …" if len(changed) > _SHOWN else "")


def _brief(value: Any) -> Any:
    """A field's value where a whole config or label map would not fit."""
    if isinstance(value, (dict, str)) and len(str(value)) > 80:
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        return f"SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"
    return value


def _label_map(path: str | os.PathLike) -> dict[str, str] | None:
    try:
        return {str(key): name for key, name in sorted(label_map.read(path).items())}
    except InputError:
        return None


def _records(patterns: list[str]) -> tuple[str | None, str | None]:
    """(hash of the records, hash of their annotation file), None where they are not there."""
    paths = sorted(path for pattern in patterns for path in glob.glob(pattern))
    if not paths:
        return None, None
    output_path = paths[0].rsplit("-", 3)[0]
    try:
        held = manifest.read(output_path)
    except InputError:
        held = None
    if held is not None:
        content = {
            "settings": held["settings"],
            "shards": [(shard["sha256"], shard["records"]) for shard in held["shards"]],
        }
        return _hash(json.dumps(content, sort_keys=True).encode()), held["source"]["sha256"]
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(f"{os.path.basename(path)} {os.path.getsize(path)}".encode())
            digest.update(file.read(_HEAD_BYTES))
    return digest.hexdigest(), None


def _checkpoint(prefix: str) -> str | None:
    if not prefix:
        return None
    path = pathlib.Path(prefix)
    parts = sorted(path.parent.glob(f"{glob.escape(path.name)}.*"))
    digest = hashlib.sha256()
    for part in parts:
        with open(part, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest() if parts else None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
