"""What a JSON file looks like is said once, as a type; by it this module tells what is read.

Such a type is a TypedDict, or a list of them, of str, int, float, bool, None, Any, Literal, list,
dict and further TypedDicts; `msgspec.Meta` holds ranges. A writer fills every field that is not
`NotRequired` (`replicate.contracts` holds it to that). Who reads meets files of earlier kits as
well, which lack fields: what no reader can do without is `Needed`. The range of what is `Held` is
that of every version: a figure outside it is damage, whichever kit wrote the file.
"""

import functools
import operator
import re
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
_HELD = "held"
#: A value whose range holds in files of every version.
Held = Annotated[_T, _HELD]
_ANY_KEY = "[...]"
_STEP = re.compile(r"\.([^.\[`]+)|\[(\d+)\]|(\[\.\.\.\])")
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0)]


def fault(value: Any, shape: Any, *, as_written_now: bool = False) -> str | None:
    """What of a file's content is not as its shape says.

    Args:
      value: the content as `json.load` gives it.
      shape: the file's type.
      as_written_now: whether the file says that it is of the shape's present version. Then every
        value that is there is held against it. Of others its own fields are, and what is
        needed or held.

    Returns:
      a sentence such as "Expected `int`, got `str` - at `$.step`", or None.
    """
    read = _as_read(shape, as_written_now)
    if wrong := _refused(value, read):
        return _with_keys(wrong, value, read)
    if typing.is_typeddict(shape) and not value.keys() & _fields(shape).keys():
        return f"Object has none of its fields ({', '.join(list(_fields(shape))[:4])}, …)"
    return None


def _refused(value: Any, read: Any) -> str | None:
    try:
        msgspec.convert(value, read)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def _with_keys(wrong: str, value: Any, read: Any) -> str:
    """The sentence with the keys of mappings, which msgspec leaves out of `$.metrics[...]`."""
    sentence, _, path = wrong.rpartition(" - at `$")
    if _ANY_KEY not in path:
        return wrong
    named, inside = "", value
    for name, index, _ in _STEP.findall(path):
        if name or index:
            inside = inside[name or int(index)]
            named += f".{name}" if name else f"[{index}]"
            continue
        for key in list(inside):  # which of them is it? With that one alone it is the same
            others = {other: inside.pop(other) for other in list(inside) if other != key}
            same = _refused(value, read) == wrong
            inside.update(others)
            if same:
                break
        else:
            return wrong
        inside, named = inside[key], f"{named}.{key}"
    return f"{sentence} - at `${named}`"


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
        whole = whole or _HELD in arguments
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
    """A TypedDict of the fields that any of these has, or of those with what is needed or held."""
    fields: dict[str, Any] = {}
    needed = set()
    for shape in shapes:
        for name, field in _fields(shape).items():
            if needed_alone and not _holds(field, _NEEDED) and not _holds(field, _HELD):
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
def _holds(shape: Any, mark: str) -> bool:
    """Whether a type has a mark, or a field that has it, at any depth."""
    if typing.is_typeddict(shape):
        return any(_holds(field, mark) for field in _fields(shape).values())
    marked = typing.get_origin(shape) is Annotated and mark in typing.get_args(shape)
    return marked or any(_holds(inside, mark) for inside in typing.get_args(shape))
