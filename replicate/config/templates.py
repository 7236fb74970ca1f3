"""Templates: one short file a zoo model, merged over shared fragments.

A template `configs/MODEL.config` is a text-format `pipeline.config` whose first lines may name
fragments of `configs/fragments/`:

    # merge: ssd
    # merge: schedule_50k_batch128
    model { ssd { … } }

The fragments are merged in that order, the template's own text last. A later piece wins: a
scalar replaces, a message is merged field by field, another member of a oneof takes over, and a
list that a piece mentions replaces the whole list. A fragment merges no others.
"""

import functools
import pathlib
import re
from typing import TYPE_CHECKING

from replicate import zoo
from replicate.config import paths, textproto
from replicate.errors import UserError
from replicate.installation import CONFIGS

if TYPE_CHECKING:
    from google.protobuf.message import Message


_MERGE = re.compile(r"^#\s*merge:\s*(\S+)\s*$", re.MULTILINE)


def names() -> list[str]:
    """The names of all templates, sorted."""
    return sorted(path.stem for path in CONFIGS.glob("*.config"))


def name_of(model: str) -> str | None:
    """The template's name for a zoo model (archive, config or display name), or None.

    Some training configs were published without a row in the zoo; they answer to their own name.
    """
    row = zoo.get(model)
    name = row.template if row else model.strip().removesuffix(".config")
    return name if name in names() else None


def template(model: str) -> "Message":
    """The published training config of a zoo model, composed from `configs/`.

    Args:
      model: an archive's name, a training config's name, or a display name.

    Returns:
      A complete `TrainEvalPipelineConfig`.

    Raises:
      UserError: no such model, or one whose training config was never published.
    """
    name = name_of(model)
    if name is None:
        row = zoo.get(model)
        if row is None:
            raise zoo.unknown(model, names())
        raise UserError(
            f"{row.archive}: its training config was never published; only the released archive "
            f"has one\n  fetch it:  python tools/download.py zoo {row.archive}\n"
            f"  then give the archive instead of the name:  {row.archive}.tar.gz"
        )
    return _message(name)


def fragments(text: str) -> list[str]:
    """The fragments that a template's text names, in the order they are merged."""
    return _MERGE.findall(text)


def compose(path: pathlib.Path) -> "Message":
    """The message of a template file: its fragments and its own text, merged.

    Raises:
      UserError: a fragment that does not exist, or text that does not parse.
    """
    text = textproto.read_text(path)
    message = textproto.pipeline_class()()
    for fragment in fragments(text):
        fragment_path = path.parent / "fragments" / f"{fragment}.config"
        fragment_text = textproto.read_text(fragment_path)
        if fragments(fragment_text):
            raise UserError(f"{fragment_path}: a fragment merges no other fragments")
        merge(message, textproto.parse(fragment_text, origin=str(fragment_path)))
    merge(message, textproto.parse(text, origin=str(path)))
    return message


def merge(message: "Message", later: "Message") -> None:
    """Merges `later` into `message` (same type); its lists replace instead of being appended."""
    for field, value in later.ListFields():
        if paths.is_map(field):
            getattr(message, field.name).update(value)
        elif field.is_repeated:
            message.ClearField(field.name)
            getattr(message, field.name).extend(value)
        elif field.type == field.TYPE_MESSAGE:
            target = getattr(message, field.name)
            target.SetInParent()
            merge(target, value)
        else:
            setattr(message, field.name, value)


@functools.cache
def _serialized(name: str) -> bytes:
    return compose(CONFIGS / f"{name}.config").SerializeToString()


def _message(name: str) -> "Message":
    return textproto.pipeline_class().FromString(_serialized(name))
