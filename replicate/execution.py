"""How a training run is executed, said once for every tool, check and trainer that takes part.

A new option is a field here, a flag in `tools/training_flags.py`, and what `replicate.train` does
with it.
"""

import dataclasses
import re
from typing import Any

from replicate.errors import UserError

ALL_BUT_CLASS_HEADS = "all_but_class_heads"
BACKBONE = "backbone"
MOST_SEED = 2**32 - 1  # NumPy takes no more, whom Keras seeds with it
MOST_STEPS = 2**32 - 1  # train_config.num_steps and the schedules' steps are uint32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is executed; none of it is the recipe, which stands in the pipeline.config.

    Attributes:
      seed: initial weights, data order, augmentation and sampling follow from it.
      precision: "float32", "bfloat16" or "float16"; None decides, see `train.precision.choose`.
      jit_compile: compile each step with XLA.
      tf32: let a GPU that can compute float32 convolutions and products in TensorFloat-32, with 10
        bits of mantissa, as TensorFlow does by default.
      gradient_accumulation_steps: micro-batches that a global batch is split into. Batch-norm
        statistics and loss normalizers are then those of a micro-batch, a deviation.
      input_service: processes to start for the input, or addresses of running ones, see
        `train.input_service.addresses`; the batches are the same with it.
      cache: "decoded" decodes each training image once, not once an epoch, see `train.decoded`; ""
        for none. The batches are the same with it.
      cache_dir: a folder of a local disk for these images; "" takes memory.
      profile: steps of which a TensorBoard profile is written, see `train.profile`; 0 for none.
      freeze: "backbone", or a regular expression: the layers with a variable whose name it is found
        in keep their weights and batch-norm statistics, see `train.freezing`; "" freezes none.
      restore: what of fine_tune_checkpoint is loaded: "" goes by fine_tune_checkpoint_type, or
        "all_but_class_heads", see `train.detector_weights`.
      checkpoint_every_n: steps between checkpoints; of a replication, each one kept is evaluated.
      checkpoint_max_to_keep: how many of the last ones stay.
      accept: fields of the run's identity in which it may be continued as another run, see
        `replicate.identity`.

    Raises:
      UserError: a seed that is none, or a `freeze` that is no regular expression.
    """

    seed: int = 0
    precision: str | None = None
    jit_compile: bool = False
    tf32: bool = True
    gradient_accumulation_steps: int = 1
    input_service: str = ""
    cache: str = ""
    cache_dir: str = ""
    profile: int = 0
    freeze: str = ""
    restore: str = ""
    checkpoint_every_n: int = 1000
    checkpoint_max_to_keep: int = 7
    accept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MOST_SEED:
            raise UserError(f"--seed={self.seed}: a seed is 0 to {MOST_SEED}")
        if self.freeze != BACKBONE:
            try:
                re.compile(self.freeze)
            except re.error as error:
                raise UserError(f"--freeze={self.freeze}: no regular expression: {error}") from None

    def execution(self) -> dict[str, Any]:
        """These fields alone, of a request or an intent that has others beside them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(Execution)}

    def of_steps(self) -> dict[str, Any]:
        """Those that the computation of a step depends on."""
        others = (
            *("checkpoint_every_n", "checkpoint_max_to_keep", "accept", "profile"),
            *("cache", "cache_dir"),  # which make the same batches
        )
        return {k: value for k, value in self.execution().items() if k not in others}
