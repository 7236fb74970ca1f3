"""Runs a tool by its name, from any folder: `replicate-tf2-zoo render_config --model=…`.

    replicate-tf2-zoo                     the tools, a line each
    replicate-tf2-zoo NAME --help         what one does, with its flags
    replicate-tf2-zoo NAME …              as `python tools/NAME.py …` in a checkout
    replicate-tf2-zoo --version

`python -m replicate NAME …` is the same.
"""

import os
import sys

from replicate import stopping


def main() -> None:
    """The console command."""
    stopping.while_loading()
    import runpy

    from replicate import installation
    from replicate.errors import UserError
    from tfrecords import commands

    commands.by_console()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "help"):
        _answer(f"{__doc__.strip()}\n\ntools:\n{_list()}")
        return
    if name == "--version":
        _answer(installation.version())
        return
    try:
        path = str(installation.tool_path(name))
    except UserError as error:
        print(f"replicate-tf2-zoo: {error}", file=sys.stderr)
        sys.exit(2)
    sys.argv[:2] = [path]
    runpy.run_path(path, run_name="__main__")


def _answer(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody is left to tell


def _list() -> str:
    from replicate import installation

    names = installation.tool_names()
    width = max(map(len, names))
    return "\n".join(f"  {name:{width}}  {_does(name)}" for name in names)


def _does(name: str) -> str:
    """The first line of a tool's docstring."""
    import ast

    from replicate import installation
    from tfrecords import commands

    text = installation.tool_path(name).read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return commands.as_called(first)


if __name__ == "__main__":
    main()
