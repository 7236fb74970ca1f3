"""A document held against its schema, by the library `jsonschema`."""

import functools
import sys
from typing import Any

from replicate.contracts import shipped

_LONGEST = 120
_WRITERS = ("contracts", "contracts.checking", "run")


def violations(kind: str, value: Any) -> list[str]:
    """See `contracts.violations`; in the order of their paths."""
    errors = [deep for error in _validator(kind).iter_errors(value) for deep in _deepest(error)]
    errors.sort(key=lambda error: (error.json_path, error.message))
    return [_sentence(error) for error in errors]


def by_the_kit() -> bool:
    """Whether the kit writes, rather than a test what it needs (half a file, a damaged one)."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals["__name__"].partition(".")[2] in _WRITERS:
        frame = frame.f_back
    return frame is None or not frame.f_globals["__name__"].startswith("tests.")


@functools.cache
def _validator(kind: str) -> Any:
    import jsonschema

    schema = shipped.schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _deepest(error: Any) -> list[Any]:
    """What an error comes from: of alternatives, what is wrong with the one that fits best."""
    if not error.context:
        return [error]
    branches: dict[Any, list] = {}
    for cause in error.context:
        branches.setdefault(cause.schema_path[0], []).append(cause)

    def misfit(errors: list[Any]) -> tuple[bool, int]:
        return any(not error.relative_path for error in errors), len(errors)

    best = min(branches.values(), key=misfit)
    return [deep for error in best for deep in _deepest(error)]


def _sentence(error: Any) -> str:
    """ "$.metrics.AP: '0.2' is not of type 'number', 'null'"."""
    message = error.message
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
    return f"{error.json_path}: {message}"
