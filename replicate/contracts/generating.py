"""JSON Schemas (2020-12) from the types in this room: `python -m replicate.contracts` writes them.

Objects of a TypedDict are closed: a field that the type does not name is a mistake of the writer,
or of who changed the file.
"""

import inspect
import types
import typing
from typing import Any, Literal

import msgspec

_PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_CONSTRAINTS = {
    "pattern": "pattern",
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minItems",
    "max_length": "maxItems",
}


def schema_of(shape: Any) -> dict[str, Any]:
    """The JSON Schema of a type.

    Args:
      shape: a TypedDict, list, dict with str or Literal keys, union, Literal, str, int, float,
        bool, None, Any, or one of these annotated with msgspec.Meta.

    Returns:
      dict, with "$defs" for the TypedDicts that it holds.

    Raises:
      TypeError: another type.
    """
    definitions: dict[str, dict] = {}
    root = _of(shape, definitions)
    return root | ({"$defs": dict(sorted(definitions.items()))} if definitions else {})


def _of(shape: Any, definitions: dict[str, dict]) -> dict[str, Any]:
    if shape is Any:
        return {}
    if shape in _PRIMITIVES:
        return {"type": _PRIMITIVES[shape]}
    if typing.is_typeddict(shape):
        if shape.__name__ not in definitions:
            definitions[shape.__name__] = {}  # holds its place, should it hold itself
            definitions[shape.__name__] = _object(shape, definitions)
        return {"$ref": f"#/$defs/{shape.__name__}"}
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin is typing.Annotated:
        return _of(arguments[0], definitions) | _constraints(arguments[1:])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is dict:
        return _map(*arguments, definitions)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, definitions)
    raise TypeError(f"no JSON Schema of {shape}")


def _object(shape: Any, definitions: dict[str, dict]) -> dict[str, Any]:
    fields = typing.get_type_hints(shape, include_extras=True)
    properties = {name: _of(_without_marks(field), definitions) for name, field in fields.items()}
    described = {"description": inspect.cleandoc(shape.__doc__)} if shape.__doc__ else {}
    return described | {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name in shape.__required_keys__],
        "additionalProperties": False,
    }


def _without_marks(field: Any) -> Any:
    marked = typing.get_origin(field) in (typing.NotRequired, typing.Required)
    return typing.get_args(field)[0] if marked else field


def _map(key: Any, value: Any, definitions: dict[str, dict]) -> dict[str, Any]:
    names = {"propertyNames": _of(key, definitions)} if key is not str else {}
    return {"type": "object", **names, "additionalProperties": _of(value, definitions)}


def _union(members: tuple, definitions: dict[str, dict]) -> dict[str, Any]:
    schemas = [_of(member, definitions) for member in members]
    plain = [schema["type"] for schema in schemas if list(schema) == ["type"]]
    if len(plain) == len(schemas):
        return {"type": plain}
    return {"anyOf": schemas}


def _constraints(marks: tuple[Any, ...]) -> dict[str, Any]:
    return {
        word: getattr(mark, name)
        for mark in marks
        if isinstance(mark, msgspec.Meta)
        for name, word in _CONSTRAINTS.items()
        if getattr(mark, name) is not None
    }
