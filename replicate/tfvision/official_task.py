"""A TF-Vision config as the package's own experiment, task and model."""

import importlib
from typing import Any

from replicate import odapi
from replicate.errors import UserError
from replicate.tfvision import generate
from replicate.tfvision.configs import VisionConfig

#: Task classes that can be built, trained and evaluated here; others have parsers of their own.
SUPPORTED = ("vision.configs.retinanet.RetinaNetTask", "vision.configs.maskrcnn.MaskRCNNTask")


def experiment(config: VisionConfig) -> Any:
    """The package's ExperimentConfig of a config.

    Raises:
      UserError: the config has fields that the package does not have, or its task is none of those
        that the kit runs.
    """
    task = config.params.values["task"]
    if task.cls not in SUPPORTED:
        raise UserError(
            f"{config.origin}: a {task.cls.rpartition('.')[2]} is not run by the kit, which runs "
            "RetinaNet and Faster, Mask and Cascade R-CNN of official/vision"
        )
    if config.problems:
        first = config.problems[0]
        raise UserError(
            f"{config.origin}: {first.path}: {first.message}; tools/lint_config.py lists all"
        )
    odapi.require_keras_2()
    from official.core import exp_factory
    from official.vision.tasks import maskrcnn, retinanet  # noqa: F401  (they register themselves)

    for module, factories in generate.MODULES.items():
        if config.experiment in factories:
            importlib.import_module(module)
    params = exp_factory.get_exp_config(config.experiment)
    params.override(config.params.as_dict(), is_strict=True)
    params.validate()
    return params


def task_of(params: Any) -> Any:
    """The package's task of an ExperimentConfig."""
    from official.core import task_factory

    return task_factory.get_task(params.task)


def built(task: Any) -> Any:
    """The task's model. Raises UserError in the package's words where it refuses the config."""
    try:
        return task.build_model()
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"TF-Vision cannot build this config's model: {error}") from None
