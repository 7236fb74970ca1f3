"""What the kit offers of a training and TF-Vision's own step does not have. No TensorFlow."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replicate.execution import Execution
    from replicate.tfvision.configs import VisionConfig


def obstacles(config: "VisionConfig", execution: "Execution") -> Iterator[str]:
    """See `replicate.engine.obstacles`; of every config the same."""
    for flag, asked, why in (
        ("jit_compile", execution.jit_compile, "XLA has not been tried with its step"),
        (
            "gradient_accumulation_steps",
            execution.gradient_accumulation_steps > 1,
            "its own step applies what it computes; a smaller batch with the rate scaled down "
            "(tools/render_config.py --global_batch_size) is the linear rule",
        ),
        ("freeze", execution.freeze, "task.freeze_backbone holds the backbone"),
        ("restore", execution.restore, "task.init_checkpoint_modules says what is loaded"),
        ("cache", execution.cache, "its own parser decodes the images"),
    ):
        if asked:
            yield f"--{flag}: not for a TF-Vision config: {why}"
