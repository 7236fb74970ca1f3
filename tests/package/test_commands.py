"""Commands in messages are such as the user can type: a clone's, or the console command's."""

import subprocess
import sys

import pytest

from replicate.errors import UserError
from replicate.report import pages
from tests.conftest import PROJECT
from tfrecords import commands

# (as it is written, as it reads where the kit was started through the console command)
TEXTS = (
    ("python tools/download.py coco fetches it", "replicate-tf2-zoo download coco fetches it"),
    ("score it; tools/score.py --help", "score it; replicate-tf2-zoo score --help"),
    (
        "python tools/evaluate.py, then tools/verdict.py RUN",
        "replicate-tf2-zoo evaluate, then replicate-tf2-zoo verdict RUN",
    ),
    ("`tools/doctor.py`: all well", "`replicate-tf2-zoo doctor`: all well"),
    ("again: make demo", "again: replicate-tf2-zoo demo"),
    ("make demos; see docs/explain.md", None),
    # Paths, and what another Python is asked to run, are nobody's hint.
    ("/opt/kit/tools/score.py", "/opt/kit/tools/score.py"),
    ("make venv, then .venv/bin/python tools/doctor.py", None),
    ("my-tools/score.py and tools/score.pyc", None),
)


@pytest.mark.parametrize(("written", "by_console"), TEXTS)
def test_as_called(monkeypatch, written, by_console):
    assert commands.as_called(written) == written
    monkeypatch.setattr(commands, "_by_console", True)
    assert commands.as_called(written) == (by_console or written)


def test_what_a_wheel_brings_is_named_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "_by_console", True)
    monkeypatch.setattr(commands, "INSTALLED", tmp_path)
    assert commands.as_called("pip install -r requirements-onnx.txt (docs/export.md)") == (
        f"pip install -r {tmp_path}/requirements-onnx.txt ({tmp_path}/docs/export.md)"
    )
    assert commands.as_called("other/docs/export.md") == "other/docs/export.md"


def test_errors_and_pages_pass_through_it(monkeypatch):
    error = UserError("fetch it: python tools/download.py coco")
    assert str(error) == "fetch it: python tools/download.py coco"
    assert pages.escape_markdown("tools/render_config.py") == r"tools/render\_config.py"
    monkeypatch.setattr(commands, "_by_console", True)
    assert str(error) == "fetch it: replicate-tf2-zoo download coco"
    assert pages.escape_markdown("tools/render_config.py") == r"replicate-tf2-zoo render\_config"
    assert str(pages.soft("tools/render_config.py")) == "replicate-tf2-zoo render_<wbr>config"


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("tools/lint_config.py",), "python tools/lint_config.py pipeline.config"),
        (("-m", "replicate", "lint_config"), "replicate-tf2-zoo lint_config pipeline.config"),
    ],
    ids=["clone", "console"],
)
def test_a_tool_says_how_it_was_called(command, hint):
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=PROJECT, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.strip() == f"lint_config.py: give one config: {hint}"
