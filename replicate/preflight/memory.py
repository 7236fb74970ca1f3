"""Memory that this process may have, and what a run's buffers take of it."""

import os
import pathlib

import psutil

from replicate.preflight.launch_facts import LaunchFacts

_CGROUP = pathlib.Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Memory that is free for a run: of the machine, or of the container's limit if that is less.

    cgroup version 2: memory.max ("max" is none) and memory.current, of which the page cache can be
    had back (Linux, Documentation/admin-guide/cgroup-v2.rst).
    """
    free = psutil.virtual_memory().available
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return free
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
        cache = next((int(line.split()[1]) for line in lines if line.startswith("file ")), 0)
        return min(free, int(limit) - used + cache)
    except (OSError, ValueError):
        return free


def record_bytes(material: LaunchFacts) -> float:
    """The mean size of a training record; of an image file where there are no records yet."""
    held = material.train_records
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
    sizes = _image_sizes(material)
    return sum(sizes) / max(len(sizes), 1)


def num_records(material: LaunchFacts) -> int:
    """How many training records there are or will be; 0 where nothing tells."""
    held = material.train_records
    if held.manifest is not None:
        return sum(shard["records"] for shard in held.manifest["shards"])
    source = material.train_source
    return len(source.images) if source is not None else 0


def shuffle_bytes(material: LaunchFacts) -> float:
    """What the shuffle buffer holds when it is full: serialized records."""
    reader = material.message.train_input_reader
    records = reader.shuffle_buffer_size if reader.shuffle else 0
    there = num_records(material)
    return min(records, there or records) * record_bytes(material)


def _image_sizes(material: LaunchFacts, most: int = 200) -> list[int]:
    """Sizes of some of the training images, evenly spread."""
    source, folder = material.train_source, material.intent.train_images
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
