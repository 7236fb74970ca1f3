"""The bytes of a JSON file of anyone's as UTF-8: the one place that knows of other encodings.

A byte-order mark of UTF-8 is passed over, as editors of some systems write it; UTF-16 and UTF-32
are refused by name, with the command that converts them.
"""

import codecs
import os

#: (how such a file begins, its encoding); without a mark, by where the first character has zeros.
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


class OtherEncoding(ValueError):
    """Not UTF-8: the message says what it is, and how to convert it."""


def utf8(data: bytes) -> bytes:
    """A JSON text without its byte-order mark.

    Args:
      data: the file's content, unpacked.

    Raises:
      OtherEncoding: UTF-16 or UTF-32.
    """
    codec = encoding(data)
    if codec:
        raise OtherEncoding(
            f"encoded in {codec}, and JSON is UTF-8: iconv -f {codec} -t UTF-8 OLD.json > NEW.json "
            "converts it"
        )
    return data.removeprefix(codecs.BOM_UTF8)


def is_plain(path: str | os.PathLike[str]) -> bool:
    """Whether a file can be given to a library that takes nothing but UTF-8: neither packed nor
    with a byte-order mark."""
    with open(path, "rb") as file:
        head = file.read(3)
    return head != codecs.BOM_UTF8 and head[:2] != b"\x1f\x8b"


def encoding(data: bytes) -> str | None:
    """The name of an encoding that is not UTF-8, as iconv has it, or None."""
    for mark, name in _ENCODINGS:
        if data.startswith(mark):
            return name
    zeros = "".join("0" if byte == 0 else "x" for byte in data[:4])
    return {"x0x0": "UTF-16LE", "0x0x": "UTF-16BE", "x000": "UTF-32LE", "000x": "UTF-32BE"}.get(
        zeros
    )
