"""The journal of an unfinished conversion: which shards are done, with their counts and ledger.

progress-NAME.jsonl: a header that says what is converted and how, then one line a shard,
written after the shard has its final name. It is removed when the manifest stands. One of before,
NAME-progress.jsonl, is taken over.
"""

import contextlib
import dataclasses
import hashlib
import json
import os

from tfrecords import checked_json, manifest, shards
from tfrecords.whole_files import written_whole


class ConversionJournal:
    """Opened with the header of the conversion to do; `done` holds the shards that need not be."""

    def __init__(self, output_path: str, header: dict) -> None:
        """Reads the journal of an interrupted run, or starts one.

        Args:
          output_path: of the conversion.
          header: dict with "num_shards"; an unfinished conversion with another header is
            abandoned and its shards removed.
        """
        self.path = manifest.beside(output_path, "progress", ".jsonl")
        older = f"{output_path}-progress.jsonl"
        if os.path.exists(older) and not os.path.exists(self.path):
            os.replace(older, self.path)
        self.done = {}
        before, results = _read(self.path)
        if before == header:
            for index, result in results.items():
                path = shards.path_of(output_path, index, header["num_shards"])
                if _is_whole(path, result):
                    self.done[index] = result
        elif before is not None:
            for index in range(before["num_shards"]):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(shards.path_of(output_path, index, before["num_shards"]))
        entries = [{"index": index} | dataclasses.asdict(r) for index, r in self.done.items()]
        with written_whole(self.path, "wb") as file:  # a kill here must not forget what is done
            file.writelines(map(_line, [header, *entries]))
        self._file = open(self.path, "ab")  # noqa: SIM115 (closed by close)

    def add(self, index: int, result: shards.WrittenShard) -> None:
        self.done[index] = result
        self._file.write(_line({"index": index} | dataclasses.asdict(result)))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        self.close()
        os.remove(self.path)


def _is_whole(path: str, result: shards.WrittenShard) -> bool:
    """Whether a shard is there, byte for byte: a crash of the machine may have left another."""
    try:
        if os.path.getsize(path) != result.bytes:
            return False
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == result.sha256
    except OSError:
        return False


def _line(entry: dict) -> bytes:
    return (json.dumps(checked_json.sealed(entry), ensure_ascii=False) + "\n").encode()


def _read(path: str) -> tuple[dict | None, dict[int, shards.WrittenShard]]:
    """(header or None, results by index); a damaged line is left out, its shard made again."""
    header, results = None, {}
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None, {}
    for number, line in enumerate(lines):
        try:
            entry = checked_json.loads(line)
            if number:
                index = entry.pop("index")
                results[index] = shards.WrittenShard(**entry)
            elif isinstance(entry.get("num_shards"), int):
                header = entry | {"settings": manifest.settings_of(entry)}
        except (ValueError, TypeError, AttributeError, KeyError):
            continue
    return header, results
