"""TFRecord files: records framed by length and masked CRC-32C, read and written without TensorFlow.

Layout of a record (TensorFlow, tensorflow/core/lib/io/record_writer.h), little-endian:

    uint64 length | uint32 masked crc of the length | data | uint32 masked crc of the data
"""

import hashlib
import itertools
import os
import struct
from collections.abc import Iterator
from typing import IO

import google_crc32c

FRAME_BYTES = 16  # what a record takes beside its data
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


class CorruptRecord(ValueError):
    """A TFRecord file that is cut off or whose checksum does not fit."""


class Writer:
    """Writes records and keeps the file's SHA-256, size and number of records."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sha256 = file, hashlib.sha256()
        self.records = self.bytes = 0

    def write(self, record: bytes) -> None:
        length = _LENGTH.pack(len(record))
        for part in (length + _masked_crc(length), record, _masked_crc(record)):
            self._file.write(part)
            self._sha256.update(part)
            self.bytes += len(part)
        self.records += 1

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def read(path: str | os.PathLike) -> Iterator[bytes]:
    """Yields the records (bytes) of a TFRecord file, each with its checksums verified.

    Raises:
      CorruptRecord: naming the file and the record's number, from 0.
    """
    with open(path, "rb") as file:
        for number in itertools.count():
            head = file.read(12)
            if not head:
                return
            length = head[:8]
            if len(head) < 12 or _masked_crc(length) != head[8:]:
                raise CorruptRecord(f"{path}: record {number} has no valid length: cut or damaged")
            (size,) = _LENGTH.unpack(length)
            data, crc = file.read(size), file.read(4)
            if len(data) < size or len(crc) < 4:
                raise CorruptRecord(f"{path}: record {number} is cut off")
            if _masked_crc(data) != crc:
                raise CorruptRecord(f"{path}: record {number} is damaged: its checksum differs")
            yield data


def count(path: str | os.PathLike) -> int:
    """The number of records of a TFRecord file, from the lengths that frame them.

    Raises:
      CorruptRecord: a file that ends in the middle of a record.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        records = position = 0
        while position < size:
            head = os.pread(file.fileno(), 8, position)  # no buffer is filled for eight bytes
            if len(head) == 8:
                position += 16 + _LENGTH.unpack(head)[0]
            if len(head) < 8 or position > size:
                raise CorruptRecord(f"{path}: record {records} is cut off")
            records += 1
    return records


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _CRC.pack((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
