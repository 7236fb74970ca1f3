"""Memory, disk and limits of the machine."""

import os
import pathlib
import resource
import shutil
from collections.abc import Iterator

import psutil

from replicate.doctor.finding import FAIL, OK, WARN, DoctorFinding

_GB = 1e9
# COCO 2017's images (20 GB) and the records made of them (20 GB), and checkpoints.
COCO_GB = 45
_LEAST_GB = 2
# The zoo's configs read up to 64 shards at once; libraries, logs and pipes come to as many again.
_FILES = 1024
_LEAST_FILES = 256


def findings(folder: str | os.PathLike[str]) -> Iterator[DoctorFinding]:
    """The findings of the machine.

    Args:
      folder: where runs go; it need not exist yet.
    """
    yield memory()
    yield disk(folder)
    yield open_files()


def memory() -> DoctorFinding:
    total, cores = psutil.virtual_memory().total / 2**30, psutil.cpu_count()
    seen = f"{total:.0f} GiB, {cores} processor cores"
    if total < 8:
        return DoctorFinding(
            "Memory",
            WARN,
            seen,
            "lower train_input_reader.shuffle_buffer_size and num_readers where training is killed",
        )
    return DoctorFinding("Memory", OK, seen)


def disk(folder: str | os.PathLike[str]) -> DoctorFinding:
    folder = existing(folder)
    free = shutil.disk_usage(folder).free / _GB
    seen = f"{free:.0f} GB free in {folder}"
    if free < _LEAST_GB:
        return DoctorFinding(
            "Disk", FAIL, seen, "free some space, or name another --folder for runs"
        )
    if free < COCO_GB:
        return DoctorFinding(
            "Disk",
            WARN,
            f"{seen}; COCO's images, records and a run's checkpoints take about {COCO_GB} GB",
            "enough for small data; for COCO free some space",
        )
    return DoctorFinding("Disk", OK, seen)


def open_files() -> DoctorFinding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    seen = f"{shown} at once"
    if soft == resource.RLIM_INFINITY or soft >= _FILES:
        return DoctorFinding("Open files", OK, seen)
    raised = _FILES if hard == resource.RLIM_INFINITY else min(_FILES * 4, hard)
    return DoctorFinding(
        "Open files",
        FAIL if soft < _LEAST_FILES else WARN,
        f"{seen}: reading many shards ends in 'Too many open files'",
        f"`ulimit -n {raised}` in the shell that starts the run",
    )


def existing(folder: str | os.PathLike[str]) -> pathlib.Path:
    """The nearest folder above that is there, `folder` itself where it is."""
    folder = pathlib.Path(folder).absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder
