"""Figures in the documents that the code has: counted again, so that they cannot drift apart."""

import json
import re

import pytest

from replicate import config, zoo
from replicate.parity import models
from replicate.preflight.checks import CHECKS
from replicate.report import gallery, training_section
from tests.conftest import PROJECT

WORDS = {10: "ten", 14: "fourteen", 17: "seventeen"}
_FAILS = json.loads((PROJECT / "tests" / "odapi" / "api_suite.json").read_text())["fails"]

FIGURES = [
    # what, its number, document, how it stands there
    ("reasons", len(CHECKS), "README.md", r"(\w+) documented reasons"),
    ("models of parity", len(models.MODELS), "README.md", r"backbone of the zoo \((\w+):"),
    ("tests that fail", sum(map(len, _FAILS.values())), "README.md", r"the (\d+) that do not are"),
    ("templates", len(config.template_names()), "docs/configs.md", r"The (\d+) templates equal"),
    ("rows", len(zoo.rows()), "docs/configs.md", r"knows the (\d+) published rows"),
    (
        "templates with a row",
        len({row.template for row in zoo.rows() if row.template}),
        "docs/configs.md",
        r"(\d+) of them belong to rows",
    ),
    (
        "points of a line",
        training_section.MAX_POINTS,
        "docs/report.md",
        r"of more than (\d+) steps is thinned",
    ),
    ("images of a group", gallery.PER_GROUP, "docs/report.md", r"holds up to (\w+) images of each"),
    (
        "starting weights",
        sum(bool(zoo.starting_point(name).archive) for name in config.template_names()),
        "README.md",
        r"published for (\d+) of the 36 recipes",
    ),
]


@pytest.mark.parametrize("what, number, document, pattern", FIGURES)
def test_a_figure(what, number, document, pattern):
    text = (PROJECT / document).read_text(encoding="utf-8")
    found = re.findall(pattern, text)
    assert found, f"{document} no longer says how many {what}: mend the pattern"
    assert set(found) <= {str(number), WORDS.get(number)}, f"{what}: {number}"
