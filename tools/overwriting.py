"""Whether what a tool is to write is what it is to read, or what its other flag writes."""

import os
from collections.abc import Collection, Iterator, Sequence

from absl import flags

# What makes a run of a folder: lost, its training cannot be continued, nor its figure be told.
_OF_A_RUN = {
    *("spec.json", "pipeline.config", "params.yaml", "identity.json", "start.json"),
    *("training.json", "environment.json", "deviations.json", "annotations.json", "metrics.jsonl"),
}


def refusal(
    outputs: Sequence[str], words: Sequence[str], keys: Sequence[flags.Flag], in_place: str
) -> str | None:
    """Why a tool must not begin, or None.

    Args:
      outputs: names of the flags that name a file to be written.
      words: the positional arguments.
      keys: all flags of the tool.
      in_place: name of the flag whose file may be written anew in its place, "" for none.
    """
    written: dict[str, str] = {}
    read = [*_named(keys, {*outputs, in_place}), *((word, word) for word in words)]
    for flag in keys:
        path = flag.value if flag.name in outputs else None
        if not isinstance(path, str) or not path:
            continue
        place = os.path.realpath(path)
        if place in written:
            return f"--{flag.name} and --{written[place]} are both {path}; one would be lost"
        written[place] = flag.name
        folder, name = os.path.split(place)
        if name in _OF_A_RUN and os.path.isfile(os.path.join(folder, "spec.json")):
            return f"--{flag.name}: {path} belongs to a run, which would lose it; name another file"
        if not os.path.isfile(path):
            continue
        for source, what in read:
            if os.path.isfile(source) and os.path.samefile(source, path):
                return f"--{flag.name}: {path} is read too ({what}); name another file"
    return None


def _named(keys: Sequence[flags.Flag], others: Collection[str]) -> Iterator[tuple[str, str]]:
    """(a text that may be a path, the flag that has it) of all flags but `others`."""
    for flag in keys:
        values = flag.value if isinstance(flag.value, list) else [flag.value]
        if flag.name not in others:
            yield from ((each, f"--{flag.name}") for each in values if isinstance(each, str))
