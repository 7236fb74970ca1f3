"""TF-Vision configs by what names them: a published row, a params YAML, a run directory.

    config = configs.read("retinanet_mobilenetv2_256")
    config.params.at("task.model.input_size")        # [256, 256, 3]

A published row's overrides are data, `published.json` (see `published`); R50-FPN's has none, its
config is the factory's.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re

from replicate.config import Recipe
from replicate.errors import UserError
from replicate.tfvision import experiments, yaml_text
from replicate.tfvision.experiments import Params, Problem
from replicate.zoo import vision

PUBLISHED = pathlib.Path(__file__).with_name("published.json")
#: Name of a run's config; TF-Vision's own trainer writes one of that name.
FILE = "params.yaml"
_MODEL_LINE = re.compile(r"^#\s*model:\s*(\S+)\s*$", re.MULTILINE)
ENDINGS = (".yaml", ".yml")


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """A config and what it came from.

    Attributes:
      params: complete, composed from the factory.
      experiment: the factory's name.
      origin: file or model, for messages.
      document: the YAML with places; None of a published row.
      problems: what the overrides have against the factory's fields.
    """

    params: Params
    experiment: str
    origin: str
    document: yaml_text.Document | None
    problems: tuple[Problem, ...]


def is_one(source: str) -> bool:
    """Whether `source` names a TF-Vision config: by its ending, its run directory, its row."""
    if pathlib.Path(source).suffix in ENDINGS or (pathlib.Path(source) / FILE).is_file():
        return True
    return vision.get(source) is not None and not os.path.exists(source)


def read(source: str, experiment: str = "") -> VisionConfig:
    """The config of a published row's name, a YAML file or a run directory.

    Args:
      source: one of those.
      experiment: the factory, where the YAML does not name it.

    Raises:
      UserError: there is none; it is no YAML; no factory is named; the row's factory or overrides
        cannot be had, and why.
    """
    path = pathlib.Path(source)
    if path.is_dir():
        path = path / FILE
    if path.suffix in ENDINGS:
        return of_text(text_of(path), str(path), experiment)
    row = vision.find(source)
    params = experiments.factory(row.experiment)
    if row.yaml:
        overrides = published()[row.yaml]["params"]
    elif row.name in _OF_FACTORY:
        overrides = _OF_FACTORY[row.name]
    else:
        raise UserError(
            f"{row.name}: no config of it was published as a YAML that is known here "
            f"({row.source}); start from {row.experiment} and give a YAML of your own"
        )
    problems = params.override(overrides)
    return VisionConfig(params, row.experiment, row.name, None, tuple(problems))


def recipe_of(source: str) -> Recipe:
    """The published row that a config is of: by its name, the run, or the line `# model: NAME`."""
    path = pathlib.Path(source)
    if vision.get(source) is not None and not path.exists():
        return Recipe(vision.find(source).name, "named")
    path = path / FILE if path.is_dir() else path
    match = _MODEL_LINE.search(text_of(path))
    if match and vision.get(match[1]) is not None:
        return Recipe(match[1], f"{path} says so")
    rows = [row for row in vision.rows() if row.yaml == path.name]
    if len(rows) == 1:
        return Recipe(rows[0].name, "by the file's name")
    return Recipe(None, f"{path} names no published row (`# model: NAME` at its head)")


def of_text(text: str, origin: str, experiment: str = "") -> VisionConfig:
    """The config of a YAML's text, as `read`."""
    document = yaml_text.parse(text, origin)
    name = experiment or document.experiment or _by_file(origin) or _by_content(document.values)
    if not name:
        raise UserError(
            f"{origin}: a params YAML of TF-Vision, which names no experiment and is not complete "
            "without one; add the line `# --experiment_type=NAME` at its head, "
            f"NAME one of {', '.join(experiments.names())}"
        )
    params = experiments.factory(name)
    problems = params.override(document.values)
    return VisionConfig(params, name, origin, document, tuple(problems))


def text_of(path: str | os.PathLike) -> str:
    """A file's text. Raises UserError where it cannot be read."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; a params YAML is") from None


@functools.cache
def published() -> dict:
    """The published overrides: {YAML's name: {"experiment", "params", "left_out", "mended"}}."""
    with open(PUBLISHED, encoding="utf-8") as file:
        return json.load(file)


def _by_file(origin: str) -> str:
    """The factory of a published YAML by its file name, or ""."""
    name = pathlib.Path(origin).name
    of_rows = {row.yaml: row.experiment for row in vision.rows() if row.yaml}
    return published().get(name, {}).get("experiment", "") or of_rows.get(name, "")


def _by_content(values: dict) -> str:
    """The factory of a complete config, such as TF-Vision's trainer writes beside its checkpoints.

    Complete means that the values are all there is: over whichever factory of that task they are
    laid, the config is they.
    """
    for name in experiments.names():
        params = experiments.factory(name)
        if not params.override(values) and params.as_dict() == values:
            return name
    return ""


# The R50-FPN rows have no YAML; the 72 epochs are the factory's, 462 steps of 256 images each.
_STEPS = 118287 // 256
_OF_FACTORY: dict[str, dict] = {"retinanet_resnet50fpn_640_72epochs": {}}
