"""`pipeline.config`: load, compose, render, diff, classify. Imports no TensorFlow.

from replicate import config
message = config.render("ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8",
                        overrides=[("train_config.num_steps", "1000")])
for operation in config.deviations(message, "ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8"):
    print(operation.cls, operation.path, operation.a, operation.b, operation.why)
"""

from replicate.config.deviations import deviations
from replicate.config.diff import diff, same
from replicate.config.facts import ConfigFacts, architecture_message, facts
from replicate.config.operations import Operation, apply
from replicate.config.operations import from_json as operations_from_json
from replicate.config.operations import to_json as operations_to_json
from replicate.config.paths import get_field, set_field
from replicate.config.placed import placed
from replicate.config.recipes import Recipe, recipe_of, text_of
from replicate.config.render import parse_override, render
from replicate.config.rules import CLASSES
from replicate.config.scaled import Scaling
from replicate.config.scaled import linear as linear_scaling
from replicate.config.scaling import SCHEDULES
from replicate.config.sources import read, read_with_text
from replicate.config.templates import name_of as template_name
from replicate.config.templates import names as template_names
from replicate.config.templates import template
from replicate.config.textproto import load, parse, sealed, to_text
from replicate.config.written import written_otherwise

__all__ = [
    "CLASSES",
    "ConfigFacts",
    "Operation",
    "Recipe",
    "SCHEDULES",
    "Scaling",
    "apply",
    "architecture_message",
    "deviations",
    "diff",
    "facts",
    "get_field",
    "linear_scaling",
    "load",
    "operations_from_json",
    "operations_to_json",
    "parse",
    "parse_override",
    "placed",
    "read",
    "read_with_text",
    "recipe_of",
    "render",
    "same",
    "sealed",
    "set_field",
    "template",
    "template_name",
    "template_names",
    "text_of",
    "to_text",
    "written_otherwise",
]
