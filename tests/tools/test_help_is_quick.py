"""`--help` loads nothing that takes long and that it has no use for."""

import subprocess
import sys

import pytest

from tests.conftest import PROJECT

TOOLS = sorted(
    path.stem
    for path in (PROJECT / "tools").glob("*.py")
    if path.stem != "cli" and "cli.run(main" in path.read_text(encoding="utf-8")
)
_SLOW = ("tensorflow", "scipy.stats", "matplotlib.pyplot", "torch")
_HELP = """
import runpy, sys
sys.argv = [{path!r}, "--help"]
try:
    runpy.run_path({path!r}, run_name="__main__")
except SystemExit as end:
    status = end.code
print("\\nloaded:", *[name for name in {slow!r} if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""


def test_all_tools_are_there():
    assert {"replicate", "train", "verdict", "compare_runs", "explain"} <= set(TOOLS)


@pytest.mark.parametrize("tool", TOOLS)
def test_nothing_slow_is_loaded(tool):
    path = str(PROJECT / "tools" / f"{tool}.py")
    done = subprocess.run(
        [sys.executable, "-c", _HELP.format(path=path, slow=_SLOW)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and f"flags of {tool}.py:" in done.stdout, done.stderr
    assert done.stderr.splitlines()[-1].split() == ["loaded:"]
