"""What a JSON file looks like is said once, as a type; by it this module tells what is read.

Such a type is a TypedDict, or a list of them, of str, int, float, bool, None, Any, Literal, list,
dict and further TypedDicts; `msgspec.Meta` holds ranges. A writer fills every field that is not
`NotRequired` (`replicate.contracts` holds it to that). Who reads meets files of earlier kits as
well, which lack fields: what no reader can do without is `Needed`.
"""

import functools
import operator
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypedDict, TypeVar

import msgspec
from msgspec import Meta

_T = TypeVar("_T")
_NEEDED = "needed"
#: A field that has to be there whenever the file is read.
Needed = Annotated[_T, _NEEDED]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0)]


def fault(value: Any, shape: Any, *, as_written_now: bool = False) -> str | None:
    """What of a file's content is not as its shape says.

    Args:
      value: the content as `json.load` gives it.
      shape: the file's type.
      as_written_now: whether the file says that it is of the shape's present version. Then every
        value that is there is held against it. Of others its own fields are, and what is needed.

    Returns:
      a sentence such as "Expected `int`, got `str` - at `$.step`", or None.
    """
    try:
        msgspec.convert(value, _as_read(shape, as_written_now))
    except msgspec.ValidationError as error:
        return str(error)
    if typing.is_typeddict(shape) and not value.keys() & _fields(shape).keys():
        return f"Object has none of its fields ({', '.join(list(_fields(shape))[:4])}, …)"
    return None


@functools.cache
def _as_read(shape: Any, whole: bool) -> Any:
    """The type of what is accepted: a TypedDict's fields may be missing, but for the needed.

    Args:
      shape: a file's type.
      whole: whether values keep their ranges and words, and objects inside all their fields.
    """
    return _object((shape,), whole) if typing.is_typeddict(shape) else _inside(shape, whole)


def _inside(shape: Any, whole: bool) -> Any:
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if typing.is_typeddict(shape):
        return _object((shape,), whole, needed_alone=not whole)
    if origin is Annotated:
        inner = _inside(arguments[0], whole)
        ranges = [mark for mark in arguments[1:] if isinstance(mark, Meta)]
        return Annotated[(inner, *ranges)] if whole and ranges else inner
    if origin is Literal:
        return shape if whole else _union({type(word) for word in arguments})
    if origin in (list, dict):
        return origin[tuple(_inside(argument, whole) for argument in arguments)]
    if origin in (typing.Union, types.UnionType):
        objects = tuple(member for member in arguments if typing.is_typeddict(member))
        members = [_inside(member, whole) for member in arguments if member not in objects]
        if objects:  # of several forms, one that has what any has
            members.append(_object(objects, whole, needed_alone=not whole))
        return _union(members)
    return shape


def _union(members: Iterable[Any]) -> Any:
    return functools.reduce(operator.or_, members)


@functools.cache
def _object(shapes: tuple[Any, ...], whole: bool, needed_alone: bool = False) -> Any:
    """A TypedDict of the fields that any of these has, or of those that hold what is needed."""
    fields: dict[str, Any] = {}
    needed = set()
    for shape in shapes:
        for name, field in _fields(shape).items():
            if needed_alone and not _holds_needed(field):
                continue
            inside = _inside(field, whole)
            fields[name] = fields[name] | inside if name in fields else inside
            needed |= {name} if _is_needed(field) else set()
    for name in fields.keys() - needed:
        fields[name] = typing.NotRequired[fields[name]]
    made: Any = TypedDict  # of fields that are known at run time alone
    return made(shapes[0].__name__, fields)


def _fields(shape: Any) -> dict[str, Any]:
    """A TypedDict's fields, without the mark of those that a writer may leave out."""
    marks = (typing.NotRequired, typing.Required)
    return {
        name: typing.get_args(field)[0] if typing.get_origin(field) in marks else field
        for name, field in typing.get_type_hints(shape, include_extras=True).items()
    }


def _is_needed(field: Any) -> bool:
    return typing.get_origin(field) is Annotated and _NEEDED in typing.get_args(field)


@functools.cache
def _holds_needed(shape: Any) -> bool:
    """Whether a field is needed, or its type has such a field, at any depth."""
    if typing.is_typeddict(shape):
        return any(_holds_needed(field) for field in _fields(shape).values())
    return _is_needed(shape) or any(map(_holds_needed, typing.get_args(shape)))
