"""The other side's own code, in an environment of its own (requirements-publish.txt)."""

import subprocess

from tests.other_pythons import python_with


def python():
    """That environment's Python, or a skip that says how it is made."""
    return python_with("the validators of other formats", "publish")


def run(code, *arguments):
    """Runs code there: (exit status, what it printed)."""
    command = [python(), "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr
