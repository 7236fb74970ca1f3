"""How the kit's tools are called here, in every text that names a command.

Texts are written as a checkout has it, `python tools/NAME.py …`; on their way out (messages of
tools, errors, pages) they pass through `as_called`. It stands in this room because all that print
are above it.
"""

import pathlib
import re

CONSOLE_COMMAND = "replicate-tf2-zoo"
# Where a wheel puts the tools; a checkout has none.
INSTALLED = pathlib.Path(__file__).resolve().parents[1] / "replicate_tf2_zoo"
# `python tools/NAME.py` or the bare script; not the end of a longer path, nor what another Python
# is asked to run (.venv/bin/python tools/NAME.py).
_TOOL = re.compile(r"(?<![\w/.-])(?:python |(?<!python ))tools/(\w+)\.py\b")

# What a wheel brings along elsewhere: a page of the documents, the pins of an extra.
_DOCUMENT = re.compile(r"(?<![\w/.-])docs/([\w-]+\.(?:md|ipynb))\b")
_PINS = re.compile(r"(?<![\w/.-])requirements-([\w-]+)\.txt\b")
_DEMO = re.compile(r"(?<![\w/.-])make demo\b")

_by_console = INSTALLED.is_dir()


def by_console() -> None:
    """Says that this process was started through the console command, from a checkout too."""
    global _by_console
    _by_console = True


def as_called(text: str) -> str:
    """`text` with every `python tools/NAME.py` and `tools/NAME.py` as the user can type it.

    In a checkout nothing changes; where the kit was installed, or was started through its console
    command, it is `replicate-tf2-zoo NAME`. Where it was installed, the documents and pins of
    extras are named where they lie then, too.
    """
    if not _by_console:
        return text
    text = _DEMO.sub(f"{CONSOLE_COMMAND} demo", _TOOL.sub(rf"{CONSOLE_COMMAND} \1", text))
    if not INSTALLED.is_dir():
        return text
    text = _DOCUMENT.sub(lambda match: str(INSTALLED / "docs" / match[1]), text)
    return _PINS.sub(lambda match: str(INSTALLED / match[0]), text)
