"""The learning rate of a config at any step, as the API's `learning_schedules` gives it.

In float64 with numpy, so that all steps of a run take milliseconds and no TensorFlow is imported.
"""

from typing import TYPE_CHECKING

import numpy as np

from replicate.config.facts import learning_rate as learning_rate_message
from replicate.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt
    from google.protobuf.message import Message


def learning_rates(message: "Message", steps: "npt.ArrayLike") -> np.ndarray:
    """The learning rate at each of `steps`.

    Args:
      message: a `TrainEvalPipelineConfig`.
      steps: global steps, integers >= 0, array-like [n].

    Returns:
      float64 [n]. The API computes the same formulas in float32.

    Raises:
      UserError: no schedule, or one that the API refuses.
    """
    kind, schedule = _schedule(message)
    return _FORMULAS[kind](schedule, np.asarray(steps, np.float64))


def boundaries(message: "Message") -> list[tuple[int, str]]:
    """The steps at which the schedule changes course and what happens there, in order.

    From step 0 to `train_config.num_steps`, which may be before the schedule's end.
    """
    kind, schedule = _schedule(message)
    marks = {0: "start", message.train_config.num_steps: "end of training"}
    if kind == "cosine_decay_learning_rate":
        hold = schedule.warmup_steps + schedule.hold_base_rate_steps
        marks |= {schedule.total_steps: "end of the schedule"}
        marks |= {hold: "decay begins", schedule.warmup_steps: "end of warm-up"}
        marks |= {message.train_config.num_steps: "end of training"}
    elif kind == "manual_step_learning_rate":
        for index, entry in enumerate(schedule.schedule):
            warm = schedule.warmup and index == 0
            marks[entry.step] = "end of warm-up" if warm else "step"
    elif kind == "exponential_decay_learning_rate" and schedule.burnin_steps:
        marks[schedule.burnin_steps] = "end of burn-in"
    marks[0] = "start"
    return sorted(marks.items())


def planned(
    message: "Message", steps: "npt.ArrayLike"
) -> tuple[list[float], list[list], str | None]:
    """See `replicate.engine.schedule`."""
    marks = [list(mark) for mark in boundaries(message)]
    return learning_rates(message, steps).tolist(), marks, kind_of(message)


def kind_of(message: "Message") -> str:
    """The schedule's field name, e.g. "cosine_decay_learning_rate"."""
    return _schedule(message)[0]


def _schedule(message: "Message") -> "tuple[str, Message]":
    holder = learning_rate_message(message)
    kind = holder.WhichOneof("learning_rate") if holder is not None else None
    if kind is None:
        raise UserError(
            "the config has no learning rate: train_config.optimizer needs an optimizer with a "
            "learning_rate { cosine_decay_learning_rate { … } } or another schedule"
        )
    return kind, getattr(holder, kind)


def _constant(schedule: "Message", steps: np.ndarray) -> np.ndarray:
    return np.full(steps.shape, schedule.learning_rate)


def _exponential(schedule: "Message", steps: np.ndarray) -> np.ndarray:
    periods = (steps - schedule.burnin_steps) / schedule.decay_steps
    periods = np.floor(periods) if schedule.staircase else periods
    rates = schedule.initial_learning_rate * schedule.decay_factor**periods
    burnin = schedule.burnin_learning_rate or schedule.initial_learning_rate
    return np.maximum(
        np.where(steps < schedule.burnin_steps, burnin, rates), schedule.min_learning_rate
    )


def _manual(schedule: "Message", steps: np.ndarray) -> np.ndarray:
    bounds = [entry.step for entry in schedule.schedule]
    rates = [schedule.initial_learning_rate, *(entry.learning_rate for entry in schedule.schedule)]
    if not bounds:
        raise UserError("manual_step_learning_rate: it needs at least one schedule { step … }")
    if bounds[0] == 0 or any(b <= a for a, b in zip(bounds, bounds[1:], strict=False)):
        raise UserError(
            f"manual_step_learning_rate: its steps {bounds} must be above 0 and ascending"
        )
    result = np.asarray(rates)[np.searchsorted(bounds, steps, side="right")]
    if schedule.warmup:
        slope = (rates[1] - rates[0]) / bounds[0]
        result = np.where(steps < bounds[0], rates[0] + slope * steps, result)
    return result


def _cosine(schedule: "Message", steps: np.ndarray) -> np.ndarray:
    base, warm = schedule.learning_rate_base, schedule.warmup_steps
    start = warm + schedule.hold_base_rate_steps
    if schedule.total_steps < warm:
        raise UserError(
            f"cosine_decay_learning_rate: total_steps ({schedule.total_steps}) must not be below "
            f"warmup_steps ({warm})"
        )
    if warm and base < schedule.warmup_learning_rate:
        raise UserError(
            f"cosine_decay_learning_rate: learning_rate_base ({base:g}) must not be below "
            f"warmup_learning_rate ({schedule.warmup_learning_rate:g})"
        )
    rates = 0.5 * base * (1 + np.cos(np.pi * (steps - start) / (schedule.total_steps - start)))
    if schedule.hold_base_rate_steps:
        rates = np.where(steps > start, rates, base)
    if warm:
        slope = (base - schedule.warmup_learning_rate) / warm
        rates = np.where(steps < warm, slope * steps + schedule.warmup_learning_rate, rates)
    return np.where(steps > schedule.total_steps, 0.0, rates)


_FORMULAS = {
    "constant_learning_rate": _constant,
    "exponential_decay_learning_rate": _exponential,
    "manual_step_learning_rate": _manual,
    "cosine_decay_learning_rate": _cosine,
}
