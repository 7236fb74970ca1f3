"""The fenced blocks of the project's documents, and the commands in them, in their order."""

import dataclasses
import re

from tests.conftest import PROJECT

DOCUMENTS = (
    "README.md",
    *(f"docs/{path.name}" for path in sorted((PROJECT / "docs").glob("*.md"))),
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# A block of commands begins with one of these, after comments.
_PROGRAMS = re.compile(r"^(python|pip|make|sky|\.venv/bin/|build/)", re.MULTILINE)
SHELL, PYTHON, OTHER = "shell", "python", "other"


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
      document: path below the project.
      line: of the fence.
      kind: SHELL, PYTHON or OTHER (layouts, snippets of configs).
      text: without the fences.
    """

    document: str
    line: int
    kind: str
    text: str

    def commands(self):
        """What is run: each shell command on one line, without comments; Python as a whole."""
        if self.kind == PYTHON:
            return [self.text]
        if self.kind == OTHER:
            return []
        joined = re.sub(r"\\\n\s*", " ", self.text)
        lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line]


def of(document):
    """The Blocks of a document, in order."""
    text = (PROJECT / document).read_text(encoding="utf-8")
    return [
        Block(document, text.count("\n", 0, found.start()) + 1, _kind(*found.groups()), found[2])
        for found in _BLOCK.finditer(text)
    ]


def _kind(language, text):
    if language == "python":
        return PYTHON
    if language in ("", "bash", "sh") and _PROGRAMS.search(text):
        return SHELL
    return OTHER
