"""Configs composed without TensorFlow are those that the package composes."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from replicate.errors import UserError
from replicate.tfvision import configs, experiments, generate
from tests.conftest import PROJECT

# Asks the package: the factory's own values, and each YAML over it, as train.py lays it.
_PACKAGE = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from replicate import odapi
odapi.require_keras_2()
import importlib
from official.core import exp_factory
from official.modeling import hyperparams
from replicate.tfvision import generate
asked = json.load(sys.stdin)
for module in generate.MODULES:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        continue
answer = {"factories": {}, "yamls": {}, "generated": generate.generate()}
for name in asked["factories"]:
    answer["factories"][name] = exp_factory.get_exp_config(name).as_dict()
for path, (name, text) in asked["yamls"].items():
    import yaml
    params = exp_factory.get_exp_config(name)
    try:
        params = hyperparams.override_params_dict(params, yaml.safe_load(text), is_strict=True)
        answer["yamls"][path] = params.as_dict()
    except KeyError as error:
        answer["yamls"][path] = str(error)
print("ANSWER" + json.dumps(answer))
"""


@pytest.fixture(scope="module")
def package():
    """What the package says of every factory, of the shared YAMLs and of the data's content."""
    folder = PROJECT.parent / "shared" / "tfvision" / "configs"
    yamls = {}
    for path in sorted(folder.glob("*.yaml")):
        known = configs.published().get(path.name)
        if known:
            yamls[str(path)] = (known["experiment"], path.read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-c", _PACKAGE],
        input=json.dumps({"factories": experiments.names(), "yamls": yamls}),
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.partition("ANSWER")[2])


def test_the_data_is_the_installed_package(package):
    """`python -m replicate.tfvision.generate` would change nothing."""
    assert json.loads(generate.PATH.read_text(encoding="utf-8")) == package["generated"]


def test_factories(package):
    assert len(experiments.names()) == 15
    for name in experiments.names():
        assert experiments.factory(name).as_dict() == package["factories"][name], name


def test_published_yamls(package, shared):
    """Laid over their factory, with unknown fields where the package has them."""
    refused = 0
    for path, theirs in package["yamls"].items():
        config = configs.read(path)
        if isinstance(theirs, str):
            refused += 1
            unknown = {each.path.rpartition(".")[2] for each in config.problems}
            assert any(f"'{name}' does not exist" in theirs for name in unknown), path
        else:
            assert config.params.as_dict() == theirs, path
            assert all("has no field" not in each.message for each in config.problems)
    assert refused == 2 and len(package["yamls"]) == 41


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("task: {modle: {num_classes: 3}}", "task.modle", "did you mean model"),
        ("task: {model: {num_classes: many}}", "task.model.num_classes", "a whole number"),
        ("task: {losses: {l2_weight_decay: 1e-4}}", "task.losses.l2_weight_decay", "1.0e-05"),
        ("task: {model: {input_size: [a, 2, 3]}}", "task.model.input_size[0]", "whole number"),
        ("task: {model: }", "task.model", "takes the whole block away"),
        ("trainer: {train_steps: true}", "trainer.train_steps", "not true"),
        (
            "trainer: {optimizer_config: {ema: {avrage_decay: 0.9}}}",
            "trainer.optimizer_config.ema.avrage_decay",
            "did you mean average_decay",
        ),
    ],
)
def test_problems(text, path, said):
    params = experiments.factory("retinanet_mobile_coco")
    (problem,) = params.override(yaml.safe_load(text))
    assert problem.path == path and said in problem.message


def test_an_unknown_factory_is_told_with_the_nearest():
    with pytest.raises(UserError, match="retinanet_mobile_coco"):
        experiments.factory("retinanet_mobil_coco")
    with pytest.raises(UserError, match="official.projects.uvit"):
        experiments.factory("panoptic_fpn_coco")
