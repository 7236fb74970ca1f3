"""Text-format `pipeline.config` in and out, with errors that say where and what was meant."""

import codecs
import difflib
import functools
import os
import pathlib
import re
import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool, message_factory, text_format

from replicate.errors import UserError
from replicate.odapi import protos
from tfrecords.whole_files import refuse_special

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message


_SHOWN = 120  # characters of a line
_POSITION = re.compile(r"^(\d+):(\d+) : (?:'.*?': )?(.*)$", re.DOTALL)
_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')
_UNKNOWN_ENUM = re.compile(r'Enum type "([\w.]+)" has no value named (\w+)')
_ONEOF_TWICE = re.compile(r'Field "(\w+)" is specified along with field "(\w+)"')
_FIELD_TWICE = re.compile(r'Message type "[\w.]+" should not have multiple "(\w+)" fields')
_SEAL = re.compile(r"^# checksum: (\S*)\s*\Z", re.M)
LARGEST_BYTES = 10_000_000  # the zoo's largest has 8 kB


@functools.cache
def pipeline_class() -> "type[Message]":
    """The message class `TrainEvalPipelineConfig` of the Object Detection API."""
    return protos.load("pipeline").TrainEvalPipelineConfig


def load(path: str | os.PathLike) -> "Message":
    """Reads a `pipeline.config` file.

    Args:
      path: a text-format file.

    Returns:
      The `TrainEvalPipelineConfig` message.

    Raises:
      UserError: no such file, or a mistake in it; the message gives line and column, and for a
        misspelled field or enum value the nearest names.
    """
    return parse(read_text(path), origin=str(path))


def sealed(text: str) -> str:
    """A config's text with a last line by which `load` finds a damage."""
    return f"{text}# checksum: {_checksum(text)}\n"


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def read_text(path: str | os.PathLike) -> str:
    """The text of a UTF-8 file; a `UserError` where it cannot be read or `sealed` another text."""
    try:
        refuse_special(path)
        size = pathlib.Path(path).stat().st_size
        if size > LARGEST_BYTES:
            raise UserError(
                f"{path}: {size / 1e6:.0f} MB; a pipeline.config or label map has some kilobytes, "
                f"and more than {LARGEST_BYTES / 1e6:.0f} MB are not read"
            )
        _refuse_encoding(path)
        text = pathlib.Path(path).read_text(encoding="utf-8")
        if not text.strip():
            raise UserError(f"{path}: is empty; restore it, or make it anew")
        seal = _SEAL.search(text)
        if seal and seal[1] != _checksum(text[: seal.start()]):
            raise UserError(
                f"{path}: not what was written: its checksum is of another text. Restore it; if "
                "it was changed on purpose, remove its last line"
            )
        return text
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder, not a pipeline.config file") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not a text file; a pipeline.config is protobuf text format"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _refuse_encoding(path: str | os.PathLike) -> None:
    """What the API's parser takes for a mistake in the first field: Windows editors write it."""
    with open(path, "rb") as file:
        head = file.read(3)
    if head == codecs.BOM_UTF8:
        raise UserError(
            f"{path}: begins with a byte-order mark, which the API's parser does not take. Remove "
            f"it: sed -i '1s/^\\xEF\\xBB\\xBF//' {path}"
        )
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise UserError(
            f"{path}: is UTF-16, and text format is UTF-8. Convert it: "
            f"iconv -f UTF-16 -t UTF-8 {path} > converted{pathlib.Path(path).suffix}"
        )


def parse(
    text: str,
    origin: str = "pipeline.config",
    message: "Message | None" = None,
    *,
    hint: bool = True,
) -> "Message":
    """Parses text format into `message` (a new `TrainEvalPipelineConfig` when None).

    Args:
      text: protobuf text format.
      origin: what the text came from; the error names it.
      message: the message to parse into, of any type.
      hint: whether an error names the tool that lists all mistakes; not where that tool asks.

    Raises:
      UserError: the text does not parse.
    """
    is_config = message is None
    try:
        return text_format.Parse(text, pipeline_class()() if is_config else message)
    except RecursionError:
        raise UserError(f"{origin}: nested too deeply to be a pipeline.config") from None
    except text_format.ParseError as error:
        description = describe_parse_error(error, text, origin)
        if is_config and hint:
            description += f"\n  all of its mistakes: python tools/lint_config.py {origin}"
        raise UserError(description) from error


def to_text(message: "Message") -> str:
    """The complete message as text format: fields in the order of their numbers, floats with the
    fewest digits that give the same float32."""
    return text_format.MessageToString(message, use_short_repeated_primitives=True)


def describe_parse_error(error: text_format.ParseError, text: str, origin: str) -> str:
    """A `ParseError` as "FILE:LINE:COLUMN: what is wrong; what was meant", with the line shown."""
    match = _POSITION.match(str(error))
    if match is None:
        return f"{origin}: {error}"
    line, column, problem = int(match.group(1)), int(match.group(2)), match.group(3)
    lines = text.splitlines()
    shown = lines[line - 1].expandtabs(1) if 0 < line <= len(lines) else ""
    first = max(0, column - 1 - _SHOWN // 2)  # a long line in part
    caret = " " * (column - 1 - first) + "^"
    what = ". It is JSON, no config" if text.lstrip()[:1] in ("{", "[") else ""
    return (
        f"{origin}:{line}:{column}: {explain(problem)}{what}\n    {shown[first : first + _SHOWN]}\n"
        f"    {caret}"
    )


def problem_of(error: text_format.ParseError) -> str:
    """A `ParseError`'s complaint without the position and the quoted line before it."""
    match = _POSITION.match(str(error))
    return match.group(3) if match else str(error)


def message_class(descriptor: "Descriptor") -> "type[Message]":
    """The message class of a descriptor."""
    return message_factory.GetMessageClass(descriptor)


def explain(problem: str) -> str:
    """What a parser's complaint means, with the nearest valid names."""
    if match := _UNKNOWN_FIELD.search(problem):
        descriptor = descriptor_pool.Default().FindMessageTypeByName(match.group(1))
        return unknown_field(descriptor, match.group(2))
    if match := _UNKNOWN_ENUM.search(problem):
        enum = descriptor_pool.Default().FindEnumTypeByName(match.group(1))
        names = [value.name for value in enum.values]
        return f"no value '{match.group(2)}' in {enum.name}; {choices(match.group(2), names)}"
    if match := _ONEOF_TWICE.search(problem):
        return f"'{match.group(1)}' and '{match.group(2)}' exclude each other; keep one of them"
    if match := _FIELD_TWICE.search(problem):
        return f"'{match.group(1)}' is given twice; it takes one value"
    return problem


def unknown_field(descriptor: "Descriptor", name: str) -> str:
    """The message about a field that a message type does not have, with the nearest names."""
    names = [field.name for field in descriptor.fields]
    return f"no field '{name}' in {descriptor.name}; {choices(name, names)}"


def choices(name: str, names: Collection[str]) -> str:
    """ "did you mean …?", or all there is where nothing is near."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "it has " + ", ".join(sorted(names)) if names else "it has none"
