"""Every documented reason why a replication fails, checked before the first training step.

    from replicate import preflight
    answer = preflight.check(preflight.Intent(message, "runs/a", model="ssd_mobilenet_v2_…"))
    print(answer.page("preflight"))

Imports no TensorFlow: what needs it happens in processes of their own (`trial.py`,
`replicate/doctor/asked.py`).
"""

from replicate.preflight.checks import CHECKS, Preflight, check
from replicate.preflight.launch_facts import Intent
from replicate.preflight.launching import (
    OF_RECORDS,
    Terms,
    gate,
)
from replicate.preflight.standby import Standby

__all__ = [
    "CHECKS",
    "Intent",
    "OF_RECORDS",
    "Preflight",
    "Standby",
    "Terms",
    "check",
    "gate",
]
