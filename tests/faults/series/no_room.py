"""Disks and file sizes without room."""

import contextlib
import shutil
import subprocess

from tests.faults.series.comparing import equal, whole_output
from tests.faults.tools import MENDABLE, Figures, content, gone, partial_files, work


def no_room(tools, folder, commands, limits):
    """Every command with a limit on the size of files, then without: it ends as if undisturbed.

    Args:
      commands: dict name -> function of an output folder to (tool, *arguments).
      limits: bytes.
    """
    figures = Figures()
    for name, command in commands.items():
        whole_at = folder / f"{name}-whole"
        whole = whole_output(tools, whole_at, command)
        for limit in limits:
            out = folder / f"{name}-{limit}"
            out.mkdir()
            ended = tools.run(*command(out), file_bytes=limit)
            there = content(out, r"progress-[^/]*\.jsonl$")
            wrong = [each for each in there if not equal(out, whole_at, each)]
            finished = work(out)
            again = tools.run(*command(out))
            same = sorted(content(out)) == sorted(whole) and all(
                equal(out, whole_at, each) for each in whole
            )
            figures.fault(
                f"{name} in {limit} bytes: {ended.status} {ended.stderr[-400:]} {wrong}; then "
                f"{again.status} {again.stderr[-200:]}",
                traceback=ended.crashed or again.crashed or ended.status not in MENDABLE,
                kind=f"{limit} bytes",
                changed=not same,
                partial=len(wrong) + len(partial_files(out)),
                lost=gone(finished, work(out)),
            )
            shutil.rmtree(out)
    return figures


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """A file system of that size under `folder`; yields None where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disks(tools, folder, commands):
    """Every command on a disk with no room left, and on one that cannot be written."""
    figures = Figures()
    for name, command in commands.items():
        with small_disk(folder / f"disk-{name}", 2) as disk:
            if disk is None:
                return figures
            out = disk / "out"
            out.mkdir()
            asked = command(out)  # which may copy what it works on
            with contextlib.suppress(OSError), open(disk / "filler", "wb") as filler:
                while True:
                    filler.write(b"x" * 4096)
            before = content(out)
            ended = tools.run(*asked)
            left = {each: sha for each, sha in content(out).items() if before.get(each) != sha}
            figures.fault(
                f"{name} on a full disk: {ended.status} {ended.stderr[-400:]} {left}",
                traceback=ended.crashed or ended.status != 2,
                partial=len([each for each in left if left[each] != _EMPTY]),
            )
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            ended = tools.run(*asked)
            figures.fault(
                f"{name} on a read-only disk: {ended.status} {ended.stderr[-400:]}",
                traceback=ended.crashed or ended.status != 2,
            )
    return figures


_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
