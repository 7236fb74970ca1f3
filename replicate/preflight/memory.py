"""Memory that this process may have, and what a run's buffers take of it."""

import os

from replicate.devices import available_bytes
from replicate.preflight.launch_facts import LaunchFacts

__all__ = ["available_bytes", "num_records", "record_bytes", "shuffle_bytes"]


def record_bytes(facts: LaunchFacts) -> float:
    """The mean size of a training record; of an image file where there are no records yet."""
    held = facts.train_records
    if held.manifest is not None:
        shards = held.manifest["shards"]
        count = sum(shard["records"] for shard in shards)
        return sum(shard["bytes"] for shard in shards) / max(count, 1)
    if held.paths:
        from tfrecords import framing

        try:
            return os.path.getsize(held.paths[0]) / max(framing.count(held.paths[0]), 1)
        except (framing.CorruptRecord, OSError):
            return 0
    sizes = _image_sizes(facts)
    return sum(sizes) / max(len(sizes), 1)


def num_records(facts: LaunchFacts) -> int:
    """How many training records there are or will be; 0 where nothing tells."""
    held = facts.train_records
    if held.manifest is not None:
        return sum(shard["records"] for shard in held.manifest["shards"])
    source = facts.train_source
    return len(source.images) if source is not None else 0


def shuffle_bytes(facts: LaunchFacts) -> float:
    """What the shuffle buffer holds when it is full: serialized records."""
    records = facts.described.shuffle_buffer
    there = num_records(facts)
    return min(records, there or records) * record_bytes(facts)


def _image_sizes(facts: LaunchFacts, most: int = 200) -> list[int]:
    """Sizes of some of the training images, evenly spread."""
    source, folder = facts.train_source, facts.intent.train_images
    if source is None or not folder:
        return []
    step = max(1, len(source.images) // most)
    sizes = []
    for image in source.images[::step]:
        try:
            sizes.append(os.path.getsize(os.path.join(folder, image.file_name or "")))
        except OSError:
            continue
    return sizes
