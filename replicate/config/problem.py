"""A finding of the linter's rules."""

import dataclasses

ERROR, WARNING = "error", "warning"


@dataclasses.dataclass(frozen=True)
class ConfigProblem:
    """A finding without its place in the text: level, field path, message."""

    level: str
    path: str
    message: str
