"""Which class a difference belongs to, and why it matters: the table `diff_rules.toml`."""

import dataclasses
import functools
import pathlib
import re
import tomllib
from typing import Any

from replicate.config import no_effect, paths

NO_EFFECT = "no effect in TensorFlow 2"
CLASSES = (
    *("architecture", "training", "evaluation", "speed only"),
    *(NO_EFFECT, "paths", "cosmetic"),
)
SAME = (NO_EFFECT, "paths", "cosmetic")

_TABLE = pathlib.Path(__file__).resolve().parent / "diff_rules.toml"


@dataclasses.dataclass(frozen=True)
class Rule:
    """One row of the table.

    Attributes:
      path: field names without indices; `*` stands for one name, `**` for any number of them.
      cls: one of `CLASSES`.
      why: one line on why such a difference matters, or why not.
      source: where that is documented or read off, or "".
      emptied: the rule holds only where one side is empty or absent.
      presence: the API asks whether the field is set, so writing its default out is no cosmetic
        change.
    """

    path: str
    cls: str
    why: str
    source: str = ""
    emptied: bool = False
    presence: bool = False


UNREAD = Rule(
    "(unread)",
    NO_EFFECT,
    "no TensorFlow 2 code of the API reads the field",
    "the API's source, tests/odapi/fields_read.py",
)
WRITTEN_DEFAULT = Rule("**", "cosmetic", "the field's default, written out on one side")


@functools.cache
def table() -> tuple[Rule, ...]:
    """The rules in the file's order; the first that fits holds."""
    return read(_TABLE)


def read(path: pathlib.Path) -> tuple[Rule, ...]:
    """The rules of a table such as `diff_rules.toml`."""
    with open(path, "rb") as file:
        rows = tomllib.load(file)["rule"]
    return tuple(Rule(cls=row.pop("class"), **row) for row in rows)


def rule_for(path: str, a: Any, b: Any) -> Rule:
    """The first rule that fits a difference at `path` between the values `a` and `b`."""
    names = paths.without_indices(path)
    for rule in table():
        if not (rule.emptied and a and b) and matches(rule, names):
            affects = rule.cls in ("architecture", "training", "evaluation")
            return UNREAD if affects and no_effect.of(names) else rule
    raise LookupError(f"{_TABLE}: no rule for {path}")


def matches(rule: Rule, names: str) -> bool:
    """Whether a rule's path fits dotted field names."""
    return _pattern(rule.path).fullmatch(names + ".") is not None


@functools.cache
def _pattern(path: str) -> re.Pattern[str]:
    """`a.*_b` or `a.**` as a regular expression over names that each end in a dot."""
    names = [
        r"(?:[^.]+\.)*" if name == "**" else name.replace("*", "[^.]*") + r"\."
        for name in path.split(".")
    ]
    return re.compile("".join(names))
