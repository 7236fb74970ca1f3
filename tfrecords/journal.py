"""The journal of an unfinished conversion: which shards are done, with their counts and ledger.

OUTPUT_PATH-progress.jsonl: a header that says what is converted and how, then one line a shard,
written after the shard has its final name. It is removed when the manifest stands.
"""

import contextlib
import dataclasses
import json
import os

from tfrecords import shards
from tfrecords.whole_files import written_whole


class Journal:
    """Opened with the header of the conversion to do; `done` holds the shards that need not be."""

    def __init__(self, output_path, header):
        """Reads the journal of an interrupted run, or starts one.

        Args:
          output_path: of the conversion.
          header: dict with "num_shards"; an unfinished conversion with another header is
            abandoned and its shards removed.
        """
        self.path = f"{output_path}-progress.jsonl"
        self.done = {}
        before, results = _read(self.path)
        if before == header:
            for index, result in results.items():
                path = shards.path_of(output_path, index, header["num_shards"])
                if os.path.exists(path) and os.path.getsize(path) == result.bytes:
                    self.done[index] = result
        elif before is not None:
            for index in range(before["num_shards"]):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(shards.path_of(output_path, index, before["num_shards"]))
        entries = [{"index": index} | dataclasses.asdict(r) for index, r in self.done.items()]
        with written_whole(self.path, "wb") as file:  # a kill here must not forget what is done
            file.writelines(map(_line, [header, *entries]))
        self._file = open(self.path, "ab")  # noqa: SIM115 (closed by close)

    def add(self, index, result):
        self.done[index] = result
        self._file.write(_line({"index": index} | dataclasses.asdict(result)))
        self._file.flush()

    def close(self):
        self._file.close()

    def remove(self):
        self.close()
        os.remove(self.path)


def _line(entry):
    return (json.dumps(entry, ensure_ascii=False) + "\n").encode()


def _read(path):
    """(header or None, results by index); a line that a kill cut off ends the reading."""
    header, results = None, {}
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if header is None:
                header = entry
            else:
                index = entry.pop("index")
                results[index] = shards.Result(**entry)
    return header, results
