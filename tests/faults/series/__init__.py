"""The faults, in series: each function injects some and returns the Figures.

The tests run short series; `python -m tests.faults.long_run` the long ones.
"""

from tests.faults.series.commands import readers, writers
from tests.faults.series.damaging import damages, damages_continued
from tests.faults.series.no_room import full_disks, no_room
from tests.faults.series.stopping import (
    conversions_stopped,
    evaluations_stopped,
    half_done,
    replications_stopped,
    reports_stopped,
    undisturbed,
)
from tests.faults.series.two_at_once import two_at_once

__all__ = [
    "conversions_stopped",
    "damages",
    "damages_continued",
    "evaluations_stopped",
    "full_disks",
    "half_done",
    "no_room",
    "readers",
    "replications_stopped",
    "reports_stopped",
    "two_at_once",
    "undisturbed",
    "writers",
]
