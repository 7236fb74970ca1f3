"""Every command that a document, a docstring or a message names has a tool and flags that exist."""

import ast
import functools
import pathlib
import re

import pytest

from tests.conftest import PROJECT
from tests.docs import blocks

SOURCES = [
    path
    for room in ("replicate", "tfrecords", "tools")
    for path in sorted((PROJECT / room).rglob("*.py"))
]
_COMMAND = re.compile(r"(python )?(?<![\w/])tools/(?!NAME)(\w+)\.py\b([^`\n]*)")
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9_]*)")
# Where a command ends: another tool, a pipe, or the sentence that goes on around it.
_AFTER = re.compile(r"\btools/\w+\.py|\||;|\s--\s|, | and |\. ")
# What stands for a file or a model, and is no word of a sentence.
_NAME = re.compile(r"[\w-]*[/.][\w./-]+|[A-Z][A-Z_]+")
# absl's own, on every tool.
_EVERYWHERE = {"help", "helpfull"}
_EXAMPLES = {"configs/NAME.config", "configs/MODEL.config", "tools/NAME.py"}


def _flags_of(tool):
    """The flags that a tool defines or adopts, read off its text: dict name -> kind."""
    return _flags_in(PROJECT / "tools" / f"{tool}.py")


def _takes_arguments(tool):
    """Whether its `main` looks at what is no flag: it names its parameter then."""
    text = (PROJECT / "tools" / f"{tool}.py").read_text(encoding="utf-8")
    return not re.search(r"def main\(_[:)]", text)


@functools.cache
def _flags_in(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found, imported = {}, {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tools":
            imported |= {each.asname or each.name: each.name for each in node.names}
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr.startswith("DEFINE_"):
            found[node.args[0].value] = node.func.attr
        elif node.func.attr == "adopt_module_key_flags":
            found |= _flags_in(PROJECT / "tools" / f"{imported[node.args[0].id]}.py")
    return found


def _problems(text):
    """What is wrong with the commands in a text: unknown tools, unknown flags."""
    text = re.sub(r"\\\n\s*", " ", text)
    for found in _COMMAND.finditer(text):
        python, tool, rest = found.groups()
        rest = _AFTER.split(rest)[0]
        if not (PROJECT / "tools" / f"{tool}.py").is_file():
            yield f"tools/{tool}.py does not exist"
            continue
        first = rest.split()[:1] if python and rest[:1] == " " else []
        if first and _NAME.fullmatch(first[0]) and not _takes_arguments(tool):
            yield f"tools/{tool}.py takes no '{first[0]}'"
        flags = _flags_of(tool)
        for name in _FLAG.findall(rest):
            negated = name.removeprefix("no")
            if name not in flags and negated not in flags and name not in _EVERYWHERE:
                yield f"tools/{tool}.py has no --{name}"


def _strings(path):
    """The string constants of a file, f-strings with their values left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (getattr(each, "value", "…") for each in node.values)
            yield "".join(each if isinstance(each, str) else "…" for each in parts)


@pytest.mark.parametrize("document", [*blocks.DOCUMENTS, "WORKSPACE_NOTES.md"])
def test_in_a_document(document):
    text = (PROJECT / document).read_text(encoding="utf-8")
    assert list(_problems(text)) == []


def test_in_docstrings_help_and_messages():
    found = [
        f"{path.relative_to(PROJECT)}: {problem}"
        for path in SOURCES
        for text in _strings(path)
        for problem in _problems(text)
    ]
    assert sorted(set(found)) == []


def test_in_the_templates_of_configs():
    for path in sorted((PROJECT / "configs").glob("*.config")):
        commands = re.sub(r"\n#\s*", " ", path.read_text(encoding="utf-8"))
        assert list(_problems(commands)) == [], path.name


def test_the_check_sees_a_fault():
    assert list(_problems("tools/benchmark.py exported/a --modle=x")) == [
        "tools/benchmark.py has no --modle"
    ]
    assert list(_problems("Try it: python tools/benchmark.py exported/a …")) == [
        "tools/benchmark.py takes no 'exported/a'"
    ]
    assert list(_problems("python tools/bench.py")) == ["tools/bench.py does not exist"]
    assert list(_problems("python tools/launch.py --nodes=2 \\\n   --notrial --model=x")) == []


def test_a_documents_other_files_exist():
    """Paths below the project in backticks: `replicate/train/loop.py`, `docs/scoring.md`."""
    path = re.compile(r"`((?:replicate|tfrecords|tests|docs|configs|tools)/[\w./-]+?)`")
    for document in blocks.DOCUMENTS:
        text = (PROJECT / document).read_text(encoding="utf-8")
        named = set(path.findall(text)) - _EXAMPLES
        missing = [each for each in named if not (PROJECT / each).exists()]
        assert [each for each in missing if pathlib.PurePath(each).suffix] == [], document
