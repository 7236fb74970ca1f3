"""The flags of every tool that judges: what a run's figure is held against."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from replicate.verdict import Asked

_REFERENCE = flags.DEFINE_multi_string(
    "reference",
    [],
    "what the figure is held against: a zoo model's name, a run directory or several (seeds of one "
    "run; comma separated, or repeated), a metrics.json, or figures: AP=0.412,AP50=0.655",
)
_ON = flags.DEFINE_enum(
    "reference_on",
    None,
    ["this", "val2017"],
    "of figures: which images they are on, those that are evaluated here or COCO's val2017.",
)
_MARGIN = flags.DEFINE_float(
    "margin",
    None,
    "points of AP that count as no difference, against a reference of your own; by default what "
    "follows from the spread (docs/scoring.md).",
)


def asked() -> "Asked | None":
    """What the flags name, None where they name nothing."""
    from replicate import verdict

    return verdict.Asked.of(_REFERENCE.value, _ON.value, _MARGIN.value)
