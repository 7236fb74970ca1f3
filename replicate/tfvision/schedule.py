"""The learning rate of a TF-Vision config at any step, in float64 and without TensorFlow.

The formulas are those of official.modeling.optimization.lr_schedule (Keras's with an offset), which
computes them in float32.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from replicate.errors import UserError
from replicate.tfvision.configs import VisionConfig

_RATE = "trainer.optimizer_config.learning_rate"
_WARMUP = "trainer.optimizer_config.warmup"


def planned(
    config: VisionConfig, steps: npt.ArrayLike
) -> tuple[list[float], list[list], str | None]:
    """See `replicate.engine.schedule`.

    Raises:
      UserError: a kind of schedule that is not computed here.
    """
    params = config.params
    kind = params.at(f"{_RATE}.type")
    if kind not in _FORMULAS:
        raise UserError(f"{config.origin}: {_RATE}.type {kind} is not computed by the kit")
    values = params.at(f"{_RATE}.{kind}")
    at = np.asarray(steps, np.float64)
    rates = _FORMULAS[kind](values, at - values.get("offset", 0))
    marks = {0: "start"}
    if (warmup := params.at(f"{_WARMUP}.type")) is not None:
        warm = params.at(f"{_WARMUP}.{warmup}")
        length = warm["warmup_steps"]
        final = _FORMULAS[kind](values, np.asarray([length - values.get("offset", 0)]))[0]
        rates = np.where(at < length, _WARMUPS[warmup](warm, at, length, final, rates), rates)
        marks[length] = "end of warm-up"
    # A boundary is the last step of the rate before it.
    marks |= {step + 1: "step" for step in values.get("boundaries") or ()}
    marks[params.at("trainer.train_steps")] = "end of training"
    return rates.tolist(), [list(mark) for mark in sorted(marks.items())], kind


def _constant(values: dict, steps: np.ndarray) -> np.ndarray:
    return np.full(steps.shape, values["learning_rate"])


def _stepwise(values: dict, steps: np.ndarray) -> np.ndarray:
    # A boundary is the last step of the rate before it.
    return np.asarray(values["values"])[np.searchsorted(values["boundaries"], steps, side="left")]


def _cosine(values: dict, steps: np.ndarray) -> np.ndarray:
    done = np.minimum(steps, values["decay_steps"]) / values["decay_steps"]
    share = (1 - values["alpha"]) * 0.5 * (1 + np.cos(np.pi * done)) + values["alpha"]
    return values["initial_learning_rate"] * share


def _exponential(values: dict, steps: np.ndarray) -> np.ndarray:
    power = steps / values["decay_steps"]
    power = np.floor(power) if values["staircase"] else power
    return values["initial_learning_rate"] * values["decay_rate"] ** power


def _polynomial(values: dict, steps: np.ndarray) -> np.ndarray:
    length = np.asarray(float(values["decay_steps"]))
    if values["cycle"]:
        length = length * np.maximum(1, np.ceil(steps / length))
    else:
        steps = np.minimum(steps, length)
    first, last = values["initial_learning_rate"], values["end_learning_rate"]
    return (first - last) * (1 - steps / length) ** values["power"] + last


def _linear_warmup(
    values: dict, steps: np.ndarray, length: int, final: float, rates: np.ndarray
) -> np.ndarray:
    start = values["warmup_learning_rate"]
    return start + steps / max(length, 1) * (final - start)


def _polynomial_warmup(
    values: dict, steps: np.ndarray, length: int, final: float, rates: np.ndarray
) -> np.ndarray:
    return final * (np.maximum(steps, 1) / max(length, 1)) ** values["power"]


_FORMULAS: dict[Any, Callable[[dict, np.ndarray], np.ndarray]] = {
    "constant": _constant,
    "stepwise": _stepwise,
    "cosine": _cosine,
    "exponential": _exponential,
    "polynomial": _polynomial,
}
_WARMUPS = {"linear": _linear_warmup, "polynomial": _polynomial_warmup}
