"""A config from wherever it may lie: a zoo model's name, a file, an archive, a run directory."""

import os
import pathlib
from typing import TYPE_CHECKING

from replicate import archive
from replicate.config import templates, textproto
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message


CONFIG_NAME = "pipeline.config"


def read(source: str | os.PathLike) -> "Message":
    """The config that `source` names.

    Args:
      source: a file of text format; a released archive (`MODEL.tar.gz`); a folder with a
        `pipeline.config` (a run directory, an unpacked archive); or a zoo model's name. What exists
        on disk goes before the name.

    Returns:
      A `TrainEvalPipelineConfig`.

    Raises:
      UserError: nothing of that name, or a config that does not parse.
    """
    return read_with_text(source)[0]


def read_with_text(source: str | os.PathLike) -> "tuple[Message, str]":
    """Like `read`, and the text it was read from: (message, text).

    A template's text is the rendered one.
    """
    text, origin = text_of(source)
    return textproto.parse(text, origin), text


def text_of(source: str | os.PathLike) -> tuple[str, str]:
    """The text of the config that `source` names, not parsed yet: (text, what to call it).

    Raises:
      UserError: as `read`, but for mistakes in the text.
    """
    path = pathlib.Path(source)
    if path.is_file() and path.resolve().parent == templates.CONFIGS:
        return textproto.to_text(templates.compose(path)), f"{source} (rendered)"
    if path.exists():
        return _text_at(path)
    if _looks_like_path(str(source)):
        raise UserError(f"{source}: no such file")
    return textproto.to_text(templates.template(str(source))), f"{source} (rendered)"


def _text_at(path: pathlib.Path) -> tuple[str, str]:
    """The text of a file, a folder's `pipeline.config` or an archive's, and what to call it."""
    if path.is_dir():
        if not (path / CONFIG_NAME).is_file() and (path / "best.json").is_file():
            path = path.parent  # RUN/best, whose config is the run's
        if not (path / CONFIG_NAME).is_file():
            raise UserError(
                f"{path}: no {CONFIG_NAME} in this folder; give a run directory, an unpacked "
                "archive, or the file itself"
            )
        path = path / CONFIG_NAME
    elif archive.is_archive(path):
        return archive.read_config(path), f"{path}:{CONFIG_NAME}"
    if path.suffix in (".yaml", ".yml"):
        raise UserError(
            f"{path}: a YAML is a config of TF-Vision, and this takes one of the Object Detection "
            "API; docs/tfvision.md says what the kit does with TF-Vision's"
        )
    return textproto.read_text(path), str(path)


def _looks_like_path(source: str) -> bool:
    return "/" in source or source.endswith((".config", ".pbtxt", ".tar.gz", ".tgz", ".tar"))
