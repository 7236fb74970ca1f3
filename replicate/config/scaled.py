"""Whether a config is its recipe under the linear scaling rule, told from the two by arithmetic."""

import dataclasses
from typing import TYPE_CHECKING

from replicate.config import scaling
from replicate.config.diff import diff
from replicate.config.operations import Operation
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message


# Hand-written rates and steps are rounded: 0.01 for 0.0098, 266 700 steps for 266 667.
_RATE_TOLERANCE = 0.02
_STEPS_TOLERANCE = 0.01
_RATE_FIELDS = {name for names in scaling.RATES.values() for name in names} | {"learning_rate"}
_STEP_FIELDS = {name for names in scaling.STEPS.values() for name in names} | {"step", "num_steps"}


@dataclasses.dataclass(frozen=True)
class Scaling:
    """The linear rule as a config follows it.

    Attributes:
      rule: "linear" (Goyal et al., https://arxiv.org/abs/1706.02677).
      factor: images a step here over those published.
      batch, published_batch: global batch sizes.
      optimizer: the recipe's: "momentum", "adam", "rms_prop".
      established: whether the rule is established for it; Goyal et al. do it for SGD with momentum.
      follows: config paths of the differences that the rule explains.
      rest: differences from the scaled recipe, `tuple[Operation, ...]`; `a` is then the scaled
        recipe's value.
    """

    rule: str
    factor: float
    batch: int
    published_batch: int
    optimizer: str
    established: bool
    follows: tuple[str, ...]
    rest: tuple[Operation, ...]


def linear(published: "Message", message: "Message") -> Scaling | None:
    """The linear scaling by which `message` differs from `published`, or None.

    The rule holds where the batch size differs and every learning rate is the published one times
    the factor; a schedule that does not follow is among `rest`.

    Args:
      published, message: `TrainEvalPipelineConfig`s.
    """
    batch, theirs = message.train_config.batch_size, published.train_config.batch_size
    if batch == theirs or not batch or not theirs:
        return None
    expected = type(published).FromString(published.SerializeToString())
    try:
        scaling.scale_batch(expected, batch)
    except UserError:  # a recipe without a schedule
        return None
    rest = tuple(operation for operation in diff(expected, message) if not _as_rounded(operation))
    if any(_field(operation) in _RATE_FIELDS or _other_schedule(operation) for operation in rest):
        return None
    rest_paths = {operation.path for operation in rest}
    optimizer = published.train_config.optimizer.WhichOneof("optimizer") or ""
    return Scaling(
        rule="linear",
        factor=batch / theirs,
        batch=batch,
        published_batch=theirs,
        optimizer=optimizer.removesuffix("_optimizer"),
        established=optimizer != "adam_optimizer",
        follows=tuple(
            operation.path
            for operation in diff(published, message)
            if _scaled(operation) and operation.path not in rest_paths
        ),
        rest=rest,
    )


def _field(operation: Operation) -> str:
    return operation.path.rsplit(".", 1)[-1]


def _scaled(operation: Operation) -> bool:
    return operation.path == "train_config.batch_size" or _field(operation) in (
        _RATE_FIELDS | _STEP_FIELDS
    )


def _other_schedule(operation: Operation) -> bool:
    """Whether a whole schedule was taken out or put in."""
    return operation.path.endswith("_learning_rate") or ".schedule[" in operation.path


def _as_rounded(operation: Operation) -> bool:
    a, b, field = operation.a, operation.b, _field(operation)
    if not all(isinstance(value, (int, float)) for value in (a, b)):
        return False
    if field in _RATE_FIELDS:
        return abs(b - a) <= _RATE_TOLERANCE * abs(a)
    return field in _STEP_FIELDS and abs(b - a) <= max(1, _STEPS_TOLERANCE * abs(a))
