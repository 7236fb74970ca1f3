"""A signal that asks to stop arrives: while a tool loads, at work, and where Python loses it."""

import ast
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[2]
_IMPORTS = (ast.Import, ast.ImportFrom)
# A tool that is sent a signal by itself, at a place of its choice.
TOOL = """
\"\"\"Stops.\"\"\"
import signal, sys, time, weakref
sys.path.insert(0, {project!r})
__import__("replicate.stopping")
def send():
    signal.raise_signal({number})
    time.sleep(0.01)  # here its handler runs
class Sends:
    def __del__(self):
        send()
def deleted():
    Sends()
def callback():
    thing = type("Thing", (), {{}})()
    reference = weakref.ref(thing, lambda _: send())
    del thing
def caught():
    try:
        send()
    except:
        pass
def another():
    try:
        send()
    except BaseException as error:
        raise RuntimeError(str(error))
def finally_slow():
    try:
        send()
    finally:
        time.sleep(0.5)  # longer than a lost one takes to come again
        print("cleaned")
def work():
    send()
if {where!r} == "loading":
    send()
from tools import cli
def main(_):
    print("began", flush=True)
    {where}()
    time.sleep(30)
    print("went on")
if __name__ == "__main__":
    cli.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
@pytest.mark.parametrize(
    "where", ["loading", "work", "deleted", "callback", "caught", "another", "finally_slow"]
)
def test_a_stop_arrives_wherever_it_came(tmp_path, where, number):
    """One message, its status, no traceback, though `__del__` and a callback lose exceptions."""
    path = tmp_path / "tools" / "stops.py"
    path.parent.mkdir()
    path.write_text(TOOL.format(project=str(PROJECT), number=int(number), where=where))
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=25)
    assert done.returncode == 128 + number, done.stderr
    said = "interrupted" if number == signal.SIGINT else number.name
    assert re.fullmatch(rf"\nstops\.py: .*{said}.*\n", done.stderr)
    wrote = {"loading": "", "finally_slow": "began\ncleaned\n"}
    assert done.stdout == wrote.get(where, "began\n")


def test_every_tool_is_ready_for_a_stop_before_it_loads():
    """The first line after the project is on the path, in every tool."""
    tools = [path for path in (PROJECT / "tools").glob("*.py") if "cli.run(" in path.read_text()]
    assert len(tools) > 25
    for path in tools:
        if path.name == "cli.py":
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("sys.path.insert"))
        assert lines[at + 1].startswith('__import__("replicate.stopping")'), path.name
        tree = ast.parse(path.read_text(encoding="utf-8"))
        first = [each for each in tree.body if each.lineno < at + 1 and isinstance(each, _IMPORTS)]
        assert [each.names[0].name for each in first] == ["os", "sys"], path.name


def test_what_comes_before_it_is_short():
    """Until then Ctrl-C is Python's traceback; these took longer to import than all the rest."""
    slow = ("enum", "importlib", "pathlib", "re", "threading", "typing")
    program = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r}); import replicate.stopping; "
        f"print([name for name in {slow} if name in sys.modules])"
    )
    # -S: without site, which in some environments imports them before any line of a program.
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("command", [["tools/report.py"], ["-m", "replicate", "report"]])
def test_ctrl_c_among_a_tools_own_imports(tmp_path, command):
    """Stopped by a module that it imports, which stands for the moment."""
    (tmp_path / "absl.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, *command, "--run_dir=none"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "\nreport.py: interrupted before it began; nothing was changed\n"
