"""Layers that are not trained: their weights and batch-norm statistics stay as they begin.

The API's TensorFlow 2 code reads none of train_config's freeze_variables and
update_trainable_variables. Keras has what works: a layer whose `trainable` is False gives no
variable to the optimizer, and a batch norm among them computes with its kept statistics.
"""

import re
from collections.abc import Iterator
from typing import Any

from replicate.errors import UserError
from replicate.execution import BACKBONE
from replicate.train.starting_point import modules_of

_SHOWN = 5


def freeze(model: Any, what: str) -> list[str]:
    """Freezes layers of a model whose variables exist, before the optimizer's are made.

    Args:
      model: the API's DetectionModel.
      what: "backbone": what a classification checkpoint is restored into; or a regular expression.

    Returns:
      names of the variables that are not trained, statistics among them.

    Raises:
      UserError: the expression is found in no variable's name, or in all of them.
    """
    layers = _backbone(model) if what == BACKBONE else _matching(model, what)
    for layer in layers:
        layer.trainable = False
    if not model.trainable_variables:
        raise UserError(f"--freeze={what}: nothing is left to train")
    return [variable.name for layer in layers for variable in layer.variables]


def _backbone(model: Any) -> list[Any]:
    try:
        parts = model.restore_from_objects(fine_tune_checkpoint_type="classification")
    except ValueError as error:
        raise UserError(f"--freeze=backbone: this model names no backbone ({error})") from None
    # Once a batch norm is in a model that is frozen, Keras freezes what lies in it as well.
    layers = [layer for layer in modules_of(parts) if hasattr(layer, "trainable")]
    if not any(layer.variables for layer in layers):
        raise UserError("--freeze=backbone: this model's backbone has no variables")
    return layers


def _matching(model: Any, pattern: str) -> list[Any]:
    expression = re.compile(pattern)  # `Execution` has refused what is none
    matches = [
        layer
        for layer in _leaves(model)
        if any(expression.search(variable.name) for variable in layer.variables)
    ]
    if not matches:
        names = [variable.name for variable in model.variables]
        shown = ", ".join(names[:: max(1, len(names) // _SHOWN)][:_SHOWN])
        raise UserError(
            f"--freeze={pattern}: found in the name of none of the {len(names)} variables, "
            f"such as {shown}"
        )
    return matches


def _leaves(model: Any) -> Iterator[Any]:
    """The layers that own variables and no layers."""
    for module in model.submodules:
        own = hasattr(module, "trainable_weights") and module.variables
        inner = any(
            hasattr(inner_module, "trainable_weights") for inner_module in module.submodules
        )
        if own and not inner:
            yield module
