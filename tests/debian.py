"""Debian packages that tests need, installed where that may be done; one test run at a time."""

import fcntl
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

_LOCK = pathlib.Path(tempfile.gettempdir()) / "replicate-tests-apt.lock"


@functools.cache
def need(commands, packages):
    """Sees to it that `commands` are there, or skips the test with the reason.

    apt-get installs `packages` where this process is root.

    Args:
      commands: tuple of names.
      packages: tuple of names.
    """
    with open(_LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # apt-get does not wait for another one's lists
        if not _missing(commands):
            return
        advice = f"apt-get install {' '.join(packages)} (as root)"
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.skip(f"no {', '.join(_missing(commands))}: {advice}")
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "-o", "DPkg::Lock::Timeout=600", *command],
                capture_output=True,
                text=True,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                timeout=1200,
            )
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:] or ["no message"]
                pytest.skip(f"apt-get {' '.join(command)} failed: {last[0]}")
        if missing := _missing(commands):
            pytest.skip(f"{', '.join(packages)} came without {', '.join(missing)}")


def _missing(commands):
    return [name for name in commands if not shutil.which(name)]
