"""Where the kit's own files lie: in a checkout, or where its wheel was installed.

A checkout has configs/, tools/ and requirements.txt at its top; the wheel puts them into
`replicate_tf2_zoo/`, beside the packages, so that they take no common name there.
"""

import difflib
import importlib.metadata
import pathlib
import sys

from replicate.errors import UserError
from tfrecords.commands import CONSOLE_COMMAND, INSTALLED

DISTRIBUTION = CONSOLE_COMMAND
IS_CHECKOUT = not INSTALLED.is_dir()
HOME = INSTALLED.parent if IS_CHECKOUT else INSTALLED
CONFIGS = HOME / "configs"
TOOLS = HOME / "tools"
REQUIREMENTS = HOME / "requirements.txt"
# Beside the tools lies `replicate.py`, which an installed one would import instead of the package.
PYTHON_OPTIONS = () if IS_CHECKOUT else ("-P",)


def version() -> str:
    """The kit's version and where it runs from."""
    from replicate import __version__

    return f"{DISTRIBUTION} {__version__} ({HOME})"


def tool_names() -> list[str]:
    """The names of all tools, sorted."""
    return sorted(path.stem for path in TOOLS.glob("*.py") if _is_tool(path))


def tool_path(name: str) -> pathlib.Path:
    """The script of a tool.

    Raises:
      UserError: there is no tool of this name.
    """
    named = name.replace("-", "_").removeprefix("tools/").removesuffix(".py")
    if named not in tool_names():
        near = difflib.get_close_matches(named, tool_names(), 1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UserError(f"no tool is named {name!r}{hint} There are: {', '.join(tool_names())}")
    return TOOLS / f"{named}.py"


def tool_command(name: str) -> list[str]:
    """The beginning of a command line that runs a tool with this process's Python."""
    return [sys.executable, *PYTHON_OPTIONS, str(tool_path(name))]


def namesake() -> str | None:
    """The version of PyPI's `replicate`, another project with the same import name, or None."""
    try:
        return importlib.metadata.version("replicate")
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_tool(path: pathlib.Path) -> bool:
    return '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8")
