"""Another batch size, another schedule: what must change with it.

The linear scaling rule (Goyal et al., https://arxiv.org/abs/1706.02677): with k times the images a
step, k times the learning rate and a k-th of the steps, so the images seen stay equal.
"""

import re
from typing import TYPE_CHECKING

from google.protobuf.internal import type_checkers

from replicate.config.facts import learning_rate as learning_rate_message
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message


SCHEDULES = ("cosine", "piecewise_1x", "piecewise_3x")
RULES = ("linear", "none")

# Images seen at each tenfold drop of the rate and at the end. detectron2's schedules of 16 images
# a step: 1x is 90 000 steps with drops at 60 000 and 80 000; 3x is 270 000 steps with drops at
# 210 000 and 250 000 (detectron2/configs/common/coco_schedule.py).
PIECEWISE_IMAGES = {
    "piecewise_1x": (16 * 60_000, 16 * 80_000, 16 * 90_000),
    "piecewise_3x": (16 * 210_000, 16 * 250_000, 16 * 270_000),
}

RATES = {
    "constant_learning_rate": ("learning_rate",),
    "exponential_decay_learning_rate": (
        "initial_learning_rate",
        "burnin_learning_rate",
        "min_learning_rate",
    ),
    "manual_step_learning_rate": ("initial_learning_rate",),
    "cosine_decay_learning_rate": ("learning_rate_base", "warmup_learning_rate"),
}
STEPS = {
    "constant_learning_rate": (),
    "exponential_decay_learning_rate": ("decay_steps", "burnin_steps"),
    "manual_step_learning_rate": (),
    "cosine_decay_learning_rate": ("total_steps", "warmup_steps", "hold_base_rate_steps"),
}
_DEVICES = re.compile(r"_[tg]pu-(\d+)$")


def scale_batch(message: "Message", global_batch_size: int, rule: str = "linear") -> None:
    """Sets the batch size, and what follows from it.

    Args:
      message: a `TrainEvalPipelineConfig`; changed in place.
      global_batch_size: images a step over all devices.
      rule: "linear" scales rates, warm-up, boundaries and steps so that the images seen stay
        equal (to the nearest step); "none" changes the batch size alone.

    Raises:
      UserError: "linear" on a config without a schedule; a batch of no images.
    """
    train = message.train_config
    if not train.batch_size or global_batch_size < 1:
        raise UserError(
            f"train_config.batch_size is {global_batch_size if train.batch_size else 0}; it is the "
            "number of images a step over all devices, 1 or more"
        )
    factor = global_batch_size / train.batch_size
    set_whole(train, "batch_size", global_batch_size, "global_batch_size")
    if rule == "none" or factor == 1:
        return
    kind, schedule = _schedule(message, "to scale with the batch size")
    for name in RATES[kind]:
        _scale_rate(schedule, name, factor)
    if kind == "manual_step_learning_rate":
        for entry in schedule.schedule:
            _scale_rate(entry, "learning_rate", factor)
    _scale_course(schedule, kind, factor)
    _scale_steps(train, "num_steps", factor)


def set_steps(message: "Message", num_steps: int) -> None:
    """Trains for another number of steps on the same course: the schedule is as much shorter.

    Warm-up, decay and boundaries are scaled with the steps (to the nearest step); the rates and
    the batch size stay. A run of 1 % of the steps so warms up, decays and ends as the whole does.

    Args:
      message: a `TrainEvalPipelineConfig`; changed in place.
      num_steps: steps to train.

    Raises:
      UserError: the config has no schedule, or so few steps are left that two of its boundaries
        fall together.
    """
    train = message.train_config
    kind, schedule = _schedule(message, "to shorten with the steps")
    factor = train.num_steps / num_steps if train.num_steps else 1
    set_whole(train, "num_steps", num_steps, "num_steps")
    _scale_course(schedule, kind, factor)
    if kind == "manual_step_learning_rate":
        steps = [entry.step for entry in schedule.schedule]
        if len(set(steps)) < len(steps):
            raise UserError(
                f"num_steps={num_steps}: too few for this schedule, whose changes would fall on "
                f"the steps {', '.join(map(str, steps))}; take more, or another schedule"
            )


def batch_for_gpus(message: "Message", model: str, num_gpus: int) -> int:
    """The global batch size that keeps the recipe's images a device on `num_gpus` devices.

    Args:
      message: the recipe.
      model: the training config's name; its end tells the recipe's devices (`…_tpu-8`).
      num_gpus: devices of this run.

    Raises:
      UserError: the name does not tell the recipe's devices.
    """
    match = _DEVICES.search(model)
    if match is None:
        raise UserError(
            f"--num_gpus: the name '{model}' does not tell how many devices its recipe used; "
            "give --global_batch_size as well"
        )
    return max(1, message.train_config.batch_size * num_gpus // int(match.group(1)))


def set_schedule(message: "Message", name: str) -> None:
    """Replaces the learning rate schedule, keeping the base rate and the warm-up.

    "cosine" decays to 0 over `num_steps`. "piecewise_1x" and "piecewise_3x" drop the rate tenfold
    twice, at numbers of images seen (`PIECEWISE_IMAGES`), and set `num_steps`; so they hold for
    any batch size, which must be set before.

    Args:
      message: a `TrainEvalPipelineConfig`; changed in place.
      name: one of `SCHEDULES`.

    Raises:
      UserError: the config has no schedule to take the base rate from.
    """
    holder = learning_rate_message(message)
    base, warmup_rate, warmup_steps = _base_and_warmup(holder)
    assert holder is not None  # or there was no rate to take
    train = message.train_config
    if name == "cosine":
        schedule = holder.cosine_decay_learning_rate
        schedule.learning_rate_base = base
        schedule.total_steps = train.num_steps
        schedule.warmup_learning_rate = warmup_rate
        schedule.warmup_steps = warmup_steps
        return
    *drops, end = [_nearest(images / train.batch_size) for images in PIECEWISE_IMAGES[name]]
    holder.ClearField(holder.WhichOneof("learning_rate"))
    schedule = holder.manual_step_learning_rate
    schedule.warmup = warmup_steps > 0
    schedule.initial_learning_rate = warmup_rate if schedule.warmup else base
    if schedule.warmup:
        schedule.schedule.add(step=warmup_steps, learning_rate=base)
    for power, drop in enumerate(drops, 1):
        if warmup_steps >= drop:
            raise UserError(
                f"--schedule={name}: the warm-up of {warmup_steps} steps is not shorter than the "
                f"{drop} steps before a drop at batch {train.batch_size}; take another schedule"
            )
        schedule.schedule.add(step=drop, learning_rate=base / 10**power)
    set_whole(train, "num_steps", end, "num_steps")


def _base_and_warmup(holder: "Message | None") -> tuple[float, float, int]:
    """(base rate, rate that the warm-up starts at, warm-up steps) of any schedule."""
    kind = holder.WhichOneof("learning_rate") if holder is not None else None
    if kind is None:
        raise UserError("the config has no learning rate to take the base rate from")
    schedule = getattr(holder, kind)
    if kind == "cosine_decay_learning_rate":
        warmup = _shortest(schedule.warmup_learning_rate), schedule.warmup_steps
        return (_shortest(schedule.learning_rate_base), *warmup)
    if kind == "manual_step_learning_rate" and schedule.warmup and schedule.schedule:
        first = schedule.schedule[0]
        warmup = _shortest(schedule.initial_learning_rate), first.step
        return (_shortest(first.learning_rate), *warmup)
    rate = schedule.learning_rate if kind.startswith("constant") else schedule.initial_learning_rate
    return _shortest(rate), 0.0, 0


def _schedule(message: "Message", what_for: str) -> "tuple[str, Message]":
    """(field name, message) of the learning-rate schedule."""
    holder = learning_rate_message(message)
    kind = holder.WhichOneof("learning_rate") if holder is not None else None
    if kind is None:
        raise UserError(f"the config has no learning rate {what_for}")
    return kind, getattr(holder, kind)


def _scale_course(schedule: "Message", kind: str, factor: float) -> None:
    """Divides every step at which the schedule changes by `factor`."""
    for name in STEPS[kind]:
        _scale_steps(schedule, name, factor)
    if kind == "manual_step_learning_rate":
        for entry in schedule.schedule:
            _scale_steps(entry, "step", factor)


def _scale_rate(message: "Message", name: str, factor: float) -> None:
    value = getattr(message, name)
    if value:
        setattr(message, name, _shortest(value) * factor)


def _scale_steps(message: "Message", name: str, factor: float) -> None:
    value = getattr(message, name)
    if value:
        set_whole(message, name, max(1, _nearest(value / factor)), name)


def set_whole(message: "Message", field: str, value: int, called: str) -> None:
    """Sets a field that takes whole numbers, of 32 bits most of them.

    Args:
      message: changed in place.
      field: of the message.
      value: for it.
      called: what the user knows the value by.

    Raises:
      UserError: the field does not hold so large a number.
    """
    try:
        setattr(message, field, value)
    except ValueError as error:
        raise UserError(f"{called}={value}: {error} (the config's field {field})") from None


def _nearest(steps: float) -> int:
    return int(steps + 0.5)


def _shortest(value: float) -> float:
    """A float32 as the shortest decimal that means it: 0.08, not 0.07999999821186066."""
    return float(type_checkers.ToShortestFloat(value))
