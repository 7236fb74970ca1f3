"""The weights a run begins with: a classification or detection checkpoint."""

import dataclasses
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from replicate import checkpoint_files
from replicate.errors import UserError
from replicate.execution import ALL_BUT_CLASS_HEADS
from replicate.train import detector_weights

if TYPE_CHECKING:
    from google.protobuf.message import Message

_SHOWN = 4  # names in a sentence


@dataclasses.dataclass(frozen=True)
class Start:
    """The weights that a training began with, as start.json keeps them.

    Attributes:
      path: prefix of the checkpoint, "" of random weights.
      type: fine_tune_checkpoint_type.
      sha256: over the checkpoint's files; None of random weights.
      matched, variables: variables that got a value from it, of those that the type loads.
      others: the model's variables that are not of the type's part.
      fresh, missed: of --restore=all_but_class_heads, the names of the class heads' variables, and
        of those that the checkpoint does not hold or in another shape.
    """

    path: str = ""
    type: str = ""
    sha256: str | None = None
    matched: int = 0
    variables: int = 0
    others: int = 0
    fresh: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        if not self.path:
            return "training from random weights (the config names no checkpoint to start from)"
        if self.type == ALL_BUT_CLASS_HEADS:
            missed = f" ({_shown(self.missed)})" if self.missed else ""
            return (
                f"starting from {self.path} (all but the class heads): {self.matched} of "
                f"{self.variables} variables restored, {len(self.missed)} missed{missed}; "
                f"{self.others} of the class heads are fresh ({_shown(self.fresh)})"
            )
        return (
            f"starting from {self.path} ({self.type}): {self.matched} of {self.variables} "
            f"variables matched, {self.variables - self.matched} missed; {self.others} are not of "
            "this type's part"
        )

    def to_json(self) -> dict:
        """The fields as plain data; names where there are some."""
        content = dataclasses.asdict(self)
        names = {field: list(content.pop(field)) for field in ("fresh", "missed")}
        return content | {field: variables for field, variables in names.items() if variables}


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def of_config(model: Any, config: "Message", how: str = "") -> Start:
    """Gives a model, whose variables exist, the weights that its config starts from.

    Args:
      model: the API's DetectionModel.
      config: TrainEvalPipelineConfig.
      how: `execution.Execution.restore`.

    Raises:
      UserError: as `load`; a checkpoint of another kind than `how` takes.
    """
    train_config = config.train_config
    if how != ALL_BUT_CLASS_HEADS:
        return restore(model, train_config)
    path = train_config.fine_tune_checkpoint
    _object_based(path)
    weights = detector_weights.restore(model, config.model, path)
    if not weights.restored:
        count = len(detector_weights.weights(model))
        raise UserError(
            f"train_config.fine_tune_checkpoint: {path} has none of the model's {count} variables "
            "by name and shape; is it a detector of this model?"
        )
    return Start(
        path=path,
        type=how,
        sha256=checkpoint_files.sha256(path),
        matched=len(weights.restored),
        variables=len(weights.restored) + len(weights.missed),
        others=len(weights.fresh),
        fresh=weights.fresh,
        missed=weights.missed,
    )


def restore(model: Any, train_config: "Message") -> Start:
    """Loads the recipe's starting point, see `load`; returns the Start."""
    matched, total = load(model, train_config)
    return Start(
        path=train_config.fine_tune_checkpoint,
        type=train_config.fine_tune_checkpoint_type,
        sha256=checkpoint_files.sha256(train_config.fine_tune_checkpoint),
        matched=matched,
        variables=total,
        others=len(detector_weights.weights(model)) - total,
    )


def load(model: Any, train_config: "Message") -> tuple[int, int]:
    """Loads `train_config.fine_tune_checkpoint` into `model`, whose variables exist.

    What is restored follows from `fine_tune_checkpoint_type`, by the API's own
    `restore_from_objects`.

    Args:
      model: the API's DetectionModel.
      train_config: TrainConfig.

    Returns:
      (variables that the checkpoint holds, variables that the type loads).

    Raises:
      UserError: the checkpoint is not there, is not object-based (TF2), or matches nothing.
    """
    path = train_config.fine_tune_checkpoint
    _object_based(path)
    try:
        parts = model.restore_from_objects(
            fine_tune_checkpoint_type=train_config.fine_tune_checkpoint_type
        )
    except ValueError as error:
        raise UserError(
            f"train_config.fine_tune_checkpoint_type: {error}. classification loads a classifier's "
            "weights into the backbone; of a detection checkpoint, detection loads the feature "
            "extractor (to fine-tune on other classes), full everything, and --restore="
            "all_but_class_heads what is not of the classes"
        ) from None
    variables = {
        id(variable): variable
        for part in modules_of(parts)
        for variable in detector_weights.weights(part)
    }.values()
    before = [variable.numpy() for variable in variables]
    try:
        matched = _restore(tf.train.Checkpoint(**parts), path, variables, before)
    except ValueError as error:  # a variable of another shape
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        raise UserError(
            f"train_config.fine_tune_checkpoint: {path} does not fit this model: {error}"
        ) from None
    if not matched:
        raise UserError(
            f"train_config.fine_tune_checkpoint: {path} matches none of the model's "
            f"{len(variables)} variables with fine_tune_checkpoint_type "
            f"{train_config.fine_tune_checkpoint_type!r}; is it the right backbone and type?"
        )
    return matched, len(variables)


def _object_based(path: str) -> None:
    """Raises UserError where no object-based checkpoint has that prefix."""
    if not pathlib.Path(f"{path}.index").is_file():
        raise UserError(
            f"train_config.fine_tune_checkpoint: no checkpoint at {path} ({path}.index is missing);"
            ' name the prefix of a TF2 checkpoint, or set it to "" to train from random weights'
        )
    reader = tf.train.load_checkpoint(path)
    if "_CHECKPOINTABLE_OBJECT_GRAPH" not in reader.get_variable_to_shape_map():
        raise UserError(
            f"train_config.fine_tune_checkpoint: {path} is a TF1 name-based checkpoint; the TF2 "
            "zoo's recipes start from object-based ones (ckpt-N)"
        )


def _restore(
    checkpoint: tf.train.Checkpoint,
    path: str,
    variables: Collection[tf.Variable],
    before: list[np.ndarray],
) -> int:
    """Restores what `path` holds; the number of `variables` that it gave a value."""
    for variable in variables:
        variable.assign(tf.fill(variable.shape, tf.cast(variable.dtype.min, variable.dtype)))
    checkpoint.restore(path).expect_partial()
    matched = 0
    for variable, value in zip(variables, before, strict=True):
        if (variable.numpy() == variable.dtype.min).all():
            variable.assign(value)
        else:
            matched += 1
    return matched


def modules_of(parts: dict) -> Iterator[Any]:
    for part in parts.values():
        if isinstance(part, dict):
            yield from modules_of(part)
        elif hasattr(part, "variables"):
            yield part
        else:  # a tf.train.Checkpoint around modules
            yield from modules_of(dict(part._trackable_children()))
