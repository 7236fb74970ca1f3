"""Which published recipe a config is of: told by a name, a run, a line in it, or its architecture.

A config knows its own values alone. Whether they are the published ones needs the recipe that
they are held against, and a wrong one would be worse than none: what cannot be told is not known.
"""

import dataclasses
import os
import pathlib
import re
from typing import TYPE_CHECKING

from replicate import archive, zoo
from replicate.config import templates, textproto
from replicate.config.diff import diff
from replicate.config.facts import architecture_message
from replicate.config.sources import CONFIG_NAME, read
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from replicate.run import RunDir


_LINE = re.compile(r"^#\s*recipe:\s*(\S.*?)\s*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a config is a version of.

    Attributes:
      model: a zoo model's name, or the path of a released archive or its folder, as `read` takes
        it; None where it is not known.
      how: a sentence: how it was told, or that it is not known.
    """

    model: str | None
    how: str

    @property
    def row(self) -> zoo.Row | None:
        """The zoo's row of it, or None."""
        return zoo.get(self.model) if self.model else None


def recipe_of(source: str | os.PathLike, message: "Message | None" = None) -> Recipe:
    """The published recipe that a config is of.

    In this order: the name of a zoo model, of a released archive or of its folder; what the run
    says that the config lies in; the line `# recipe: MODEL`, which tools/render_config.py writes;
    the config's file name; and at last its architecture, where one public config alone has it
    (class count aside).

    Args:
      source: what `read` takes.
      message: the config where it has been read already.

    Raises:
      UserError: as `read`.
    """
    path = pathlib.Path(source)
    if not path.exists():
        message = message or read(source)  # raises where there is no such model
        return Recipe(str(source), "named")
    if archive.is_archive(path):
        if zoo.get(path.name):
            return Recipe(str(source), "a released archive of that name")
        return _of_content(message or read(source), path)
    from replicate.run import RunDir  # not needed by a diff, which must answer at once

    folder = path if path.is_dir() else path.parent
    run = RunDir.at(folder)
    if run.spec.is_file() and path in (folder, run.pipeline_config):
        return _of_run(run, message)
    if path.is_dir() or path.name == CONFIG_NAME:
        released = (folder / "saved_model").is_dir()  # which a training's folder has not
        if released and zoo.get(folder.resolve().name):
            return Recipe(str(folder), "the folder of a released archive")
        path = folder / CONFIG_NAME
    return _of_line(textproto.read_text(path)) or _of_file(path, message)


def text_of(message: "Message", recipe: str | None) -> str:
    """`to_text` with the line that says which recipe the config is of.

    Args:
      message: TrainEvalPipelineConfig.
      recipe: a zoo model's name or an archive's path; None or "" where it is not known.
    """
    if not recipe:
        return textproto.to_text(message)
    path = pathlib.Path(recipe)
    return f"# recipe: {path.absolute() if path.exists() else recipe}\n{textproto.to_text(message)}"


def _of_run(run: "RunDir", message: "Message | None") -> Recipe:
    from replicate.run import read_json

    model = read_json(run.spec).get("request", {}).get("model")
    if model and _is_known(model):
        return Recipe(model, f"{run.spec} says so")
    return _of_content(message or read(run.root), run.root)


def _of_line(text: str) -> Recipe | None:
    match = _LINE.search(text)
    if match is None or not _is_known(match[1]):
        return None
    return Recipe(match[1], "its line '# recipe:' says so")


def _is_known(name: str) -> bool:
    """Whether a name or path still leads to a published config."""
    if pathlib.Path(name).exists():
        return zoo.get(name) is not None or templates.name_of(name) is not None
    return templates.name_of(name) is not None


def _of_file(path: pathlib.Path, message: "Message | None") -> Recipe:
    named = path.resolve().parent if path.name == CONFIG_NAME else path
    name = templates.name_of(named.name)
    if name is not None:
        return Recipe(name, "its file's or folder's name")
    return _of_content(message or read(path), path)


def _of_content(message: "Message", source: str | os.PathLike) -> Recipe:
    """The one public config of this architecture; of several, the one that differs least."""
    differing = {}
    for name in templates.names():
        template = templates.template(name)
        if _kind(template) != _kind(message):
            continue
        operations = diff(template, _with_classes_of(message, template))
        if not any(operation.cls == "architecture" for operation in operations):
            differing[name] = sum(
                operation.cls in ("training", "evaluation") for operation in operations
            )
    least = [name for name in differing if differing[name] == min(differing.values())]
    if len(least) == 1:
        return Recipe(least[0], "the public config whose architecture it has")
    return Recipe(None, f"{source}: not known of which zoo model (name it with --model)")


def _kind(message: "Message") -> tuple | None:
    """What tells most architectures apart without a whole diff."""
    try:
        model = architecture_message(message)
    except UserError:
        return None
    extractor = getattr(model, "feature_extractor", None)
    return type(model), getattr(extractor, "type", None)


def _with_classes_of(message: "Message", template: "Message") -> "Message":
    """A copy of `message` with the class count of `template`."""
    copy = type(message).FromString(message.SerializeToString())
    architecture_message(copy).num_classes = architecture_message(template).num_classes
    return copy
