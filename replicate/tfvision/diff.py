"""The difference between two TF-Vision configs, classified by `diff_rules.toml`.

The operations, their classes and what counts as the same are those of a pipeline.config's
(`replicate.config`); the rules are TF-Vision's own.
"""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

from replicate.config import align, rules
from replicate.config.operations import DELETE, MODIFY, SET, Operation
from replicate.tfvision import configs
from replicate.tfvision.configs import VisionConfig
from replicate.tfvision.experiments import Params

_TABLE = pathlib.Path(__file__).with_name("diff_rules.toml")


def diff(a: Params, b: Params) -> list[Operation]:
    """The differences from config `a` to config `b`, both complete.

    Lists are aligned, so that a boundary put into a schedule is one operation; numbers are compared
    as numbers (3 equals 3.0).

    Returns:
      list of `Operation` in the order of the fields; empty where the configs are equal.
    """
    return [_classified(*difference) for difference in _block(a.as_dict(), b.as_dict(), "")]


def rule_for(path: str, a: Any, b: Any) -> rules.Rule:
    """The first rule that fits a difference at `path`."""
    names = rules.paths.without_indices(path)
    for rule in _rules():
        if not (rule.emptied and a and b) and rules.matches(rule, names):
            return rule
    raise LookupError(f"{_TABLE}: no rule for {path}")


@functools.cache
def _rules() -> tuple[rules.Rule, ...]:
    return rules.read(_TABLE)


def _classified(op: str, path: str, a: Any, b: Any) -> Operation:
    rule = rule_for(path, a, b)
    return Operation(op, path, a, b, rule.cls, rule.why, rule.source)


def _block(a: dict, b: dict, prefix: str) -> Iterator[tuple[str, str, Any, Any]]:
    for key in [*a, *(key for key in b if key not in a)]:
        path = f"{prefix}{key}"
        if key not in b:
            yield DELETE, path, a[key], None
        elif key not in a:
            yield SET, path, None, b[key]
        else:
            yield from _values(a[key], b[key], path)


def _values(a: Any, b: Any, path: str) -> Iterator[tuple[str, str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        yield from _block(a, b, f"{path}.")
    elif isinstance(a, list) and isinstance(b, list):
        yield from _lists(a, b, path)
    elif a != b or isinstance(a, bool) != isinstance(b, bool):
        yield MODIFY, path, a, b


def _lists(a: list, b: list, path: str) -> Iterator[tuple[str, str, Any, Any]]:
    for i, j in align.align(a, b, _distance):
        if i is None and j is not None:
            yield SET, f"{path}[{j}]", None, b[j]
        elif i is not None and j is None:
            yield DELETE, f"{path}[{i}]", a[i], None
        elif i is not None and j is not None:
            yield from _values(a[i], b[j], f"{path}[{j}]")


def _distance(a: Any, b: Any) -> float:
    """0 for equal elements, up to 1.5 for two blocks or two scalars, 2.5 for one of each."""
    if a == b:
        return 0.0
    if isinstance(a, dict) != isinstance(b, dict):
        return 2.5
    if isinstance(a, dict):
        return min(1.5, 0.5 + 0.1 * sum(1 for _ in _block(a, b, "")))
    return 1.5


def of_configs(a: VisionConfig, b: VisionConfig) -> list[Operation]:
    """`diff` of two configs whole (`replicate.engine.diff`)."""
    return diff(a.params, b.params)


def deviations(config: VisionConfig, recipe: str) -> list[Operation]:
    """A config's differences from a published row's."""
    return diff(configs.read(recipe).params, config.params)


def no_scaling(recipe: VisionConfig, config: VisionConfig) -> None:
    """Whether a batch follows the linear rule is not looked at."""
    return None
