"""TF-Vision's experiment configs, composed as the package composes them, without TensorFlow.

    params = experiments.factory("retinanet_mobile_coco")
    problems = params.override({"task": {"model": {"input_size": [256, 256, 3]}}})
    params.as_dict()

The factories' values and the classes' defaults are data (`generate`); the rules of an override are
those of official.modeling.hyperparams.base_config.Config, which changes only fields that exist,
makes the config that an empty field's type names, and takes over every other value as it is.
"""

import copy
import dataclasses
import difflib
import functools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from replicate.errors import UserError

_PATH = pathlib.Path(__file__).with_name("experiments.json")
_FREE = "modeling.hyperparams.base_config.Config"  # takes any field
_EXPERIMENT = "core.config_definitions.ExperimentConfig"
_SCALARS = {"int": int, "float": float, "str": str, "bool": bool, "none": type(None)}
_SHOWN = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
_SHOWN |= {"none": "null"}


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something in an override that the package refuses or that cannot be meant.

    Attributes:
      path: the field, such as "task.model.input_size[0]".
      message: what is wrong and what to do.
    """

    path: str
    message: str


@dataclasses.dataclass
class Params:
    """A config: its class, and its fields' values (scalars, lists, Params, lists of Params)."""

    cls: str
    values: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The values as plain dicts and lists, as the package's own `as_dict` gives them.

        Of alternatives (`is_one_of`) the chosen one alone.
        """
        values = self.values
        if self.is_one_of():
            kind = self.values["type"]
            values = {key: value for key, value in values.items() if key in ("type", kind)}
        return {key: _exported(value) for key, value in values.items()}

    def is_one_of(self) -> bool:
        """Whether the fields beside `type` are alternatives, of which `type` names one."""
        return _data()["classes"][self.cls]["one_of"]

    def at(self, path: str) -> Any:
        """The plain value at a dotted path, None where a field on the way is absent or empty."""
        value: Any = self
        for name in path.split("."):
            if not isinstance(value, Params):
                return None
            value = value.values.get(name)
        return _exported(value)

    def fields(self) -> dict[str, str]:
        """The types of this config's fields (`type_of`)."""
        return _data()["classes"][self.cls]["fields"]

    def override(
        self, values: Mapping[str, Any], path: str = "", strict: bool = True
    ) -> list[Problem]:
        """Changes fields.

        Args:
          values: what a params YAML holds: nested dicts, lists, scalars.
          path: of this config in the whole, for the problems.
          strict: whether an unknown field is a problem in a config that takes any, too.

        Returns:
          the problems; fields that have one are left as they were where they do not exist, and
          take the value where its type is wrong, as the package does.
        """
        return list(self._override(values, path, strict))

    def _override(self, values: Mapping[str, Any], path: str, strict: bool) -> Iterator[Problem]:
        for key, value in values.items():
            where = f"{path}.{key}" if path else str(key)
            if key not in self.values and (strict or self.cls != _FREE):
                yield Problem(where, _unknown(str(key), self.values, self.cls))
                continue
            here = self.values.get(key)
            if isinstance(value, Mapping) and isinstance(here, Params):
                yield from here._override(value, where, strict)
            else:
                yield from self._set(key, value, where)

    def _set(self, key: str, value: Any, path: str) -> Iterator[Problem]:
        here, kind = self.values.get(key), self.fields().get(key, "any")
        inner = _config_of(kind)
        if isinstance(value, Mapping):
            if inner == _FREE and not _takes(kind, f"config:{_FREE}"):
                yield Problem(path, f"takes {in_words(kind)}, not fields of its own")
            self.values[key] = made = _default(inner)
            yield from made._override(value, path, False)
            return
        if (
            isinstance(value, list)
            and value
            and all(isinstance(element, Mapping) for element in value)
        ):
            if isinstance(here, list) and len(here) == len(value) and isinstance(here[0], Params):
                for index, (old, new) in enumerate(zip(here, value, strict=True)):
                    yield from old._override(new, f"{path}[{index}]", True)
                return
            made_list = [_default(inner) for _ in value]
            for index, (new_params, new) in enumerate(zip(made_list, value, strict=True)):
                yield from new_params._override(new, f"{path}[{index}]", False)
            self.values[key] = made_list
            return
        if _exported(here) != value:  # some factories hold what the field's type does not say
            yield from type_problems(value, kind, path)
        self.values[key] = copy.deepcopy(value)


def names() -> list[str]:
    """The factories that configs can be composed of."""
    return list(_data()["experiments"])


def missing() -> dict[str, str]:
    """Factories that a published config names and the package cannot build: {name: why}."""
    return dict(_data()["missing"])


def package() -> str:
    """The package and version that the data is of, such as "tf-models-official 2.20.0"."""
    ((name, version),) = _data()["package"].items()
    return f"{name} {version}"


def factory(name: str) -> Params:
    """The config that a factory gives.

    Raises:
      UserError: there is no such factory; the message lists the nearest names.
    """
    if name in _data()["missing"]:
        raise UserError(f"experiment '{name}' cannot be composed: {_data()['missing'][name]}")
    if name not in _data()["experiments"]:
        close = difflib.get_close_matches(name, names(), 3, 0.4) or names()
        raise UserError(f"unknown experiment '{name}'; did you mean {', '.join(close)}?")
    return _built(_data()["experiments"][name])


def type_at(params: Params, path: str) -> str:
    """The type of the field at a dotted path (indices dropped); "any" where it is not known."""
    value: Any = params
    kind = "any"
    for name in path.split("."):
        name = name.partition("[")[0]
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, Params):
            return "any"
        kind = value.fields().get(name, "any")
        value = value.values.get(name)
    return kind


def type_problems(value: Any, kind: str, path: str) -> Iterator[Problem]:
    """What a value has against a field's type; the package itself does not look.

    Args:
      value: scalar or list.
      kind: as in experiments.json: alternatives between bars, `list[…]`, `config:CLASS`, `any`.
      path: of the field.
    """
    if value is None and _config_of(kind) != _FREE and not _takes(kind, "none"):
        yield Problem(
            path, "is empty (null), which takes the whole block away; give its fields, or the line"
        )
        return
    if _takes(kind, "any") or _fits(value, kind):
        return
    inner = [
        alternative[5:-1] for alternative in _alternatives(kind) if alternative.startswith("list[")
    ]
    if isinstance(value, list) and inner:
        for index, element in enumerate(value):
            if not _fits(element, inner[0]):
                yield Problem(f"{path}[{index}]", _wrong(element, inner[0]))
        return
    yield Problem(path, _wrong(value, kind))


def in_words(kind: str) -> str:
    """A type for a message: "a whole number", "a list of numbers or null"."""
    words = []
    for alternative in _alternatives(kind):
        if alternative.startswith("list["):
            inner = " or ".join(_alternatives(alternative[5:-1]))
            words.append(f"a list of {inner}")
        elif alternative.startswith("config:"):
            words.append(f"the fields of {alternative.rpartition('.')[2]}")
        else:
            words.append(_SHOWN.get(alternative, alternative))
    return " or ".join(words)


def _wrong(value: Any, kind: str) -> str:
    sentence = f"takes {in_words(kind)}, not {json.dumps(value)}"
    if isinstance(value, str) and {"int", "float"} & set(_alternatives(kind)):
        try:
            float(value)
        except ValueError:
            return sentence
        return f"{sentence}, a text in YAML: write it with a point and a sign, as 1.0e-05"
    return sentence


def _fits(value: Any, kind: str) -> bool:
    for alternative in _alternatives(kind):
        if alternative == "any":
            return True
        if alternative.startswith("list["):
            if isinstance(value, list) and all(_fits(item, alternative[5:-1]) for item in value):
                return True
        elif alternative == "float":
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return True
        elif alternative == "int":
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value % 1 == 0:
                return True
        elif alternative in _SCALARS and isinstance(value, _SCALARS[alternative]):
            return True
    return False


def _alternatives(kind: str) -> list[str]:
    """`a|list[b|c]` as ["a", "list[b|c]"]."""
    alternatives, depth = [""], 0
    for letter in kind:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and not depth:
            alternatives.append("")
        else:
            alternatives[-1] += letter
    return alternatives


def _takes(kind: str, alternative: str) -> bool:
    return alternative in _alternatives(kind)


def _config_of(kind: str) -> str:
    """The class of the config that a field takes, as the package finds it; else the free one."""
    alternatives = [alternative for alternative in _alternatives(kind) if alternative != "none"]
    if len(alternatives) == 1:
        only = alternatives[0]
        if only.startswith("list["):
            return _config_of(only[5:-1])
        if only.startswith("config:"):
            return only.removeprefix("config:")
    return _FREE


def _unknown(key: str, fields: Mapping[str, Any], cls: str) -> str:
    close = difflib.get_close_matches(key, fields, 3, 0.5)
    near = f"; did you mean {' or '.join(close)}?" if close else f"; it has {', '.join(fields)}"
    return f"{cls.rpartition('.')[2]} has no field '{key}'{near}"


def _exported(value: Any) -> Any:
    if isinstance(value, Params):
        return value.as_dict()
    if isinstance(value, list):
        return [_exported(element) for element in value]
    return value


def _built(value: Any) -> Any:
    """A value of experiments.json."""
    if isinstance(value, dict):
        params = _default(value["@"])
        for key, inner in value.items():
            if key != "@":
                params.values[key] = _built(inner)
        return params
    if isinstance(value, list):
        return [_built(element) for element in value]
    return value


def _default(cls: str) -> Params:
    """A config of a class with its defaults."""
    defaults = _data()["classes"].get(cls, {"defaults": {}})["defaults"]
    return Params(cls, {key: _built(value) for key, value in defaults.items()})


@functools.cache
def _data() -> dict:
    with open(_PATH, encoding="utf-8") as file:
        data = json.load(file)
    data["classes"].setdefault(_FREE, {"one_of": False, "fields": {}, "defaults": {}})
    return data
