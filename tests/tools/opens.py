"""Runs a tool and notes every file that its process opens: `python opens.py LOG TOOL FLAG…`.

LOG gets one path a line, in the order in which they were opened.
"""

import os
import runpy
import sys


def main(log_path, tool, *arguments):
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def note(event, event_arguments):
        if event == "open" and isinstance(event_arguments[0], str | bytes | os.PathLike):
            os.write(log, os.fsencode(event_arguments[0]) + b"\n")

    sys.addaudithook(note)
    sys.argv = [tool, *arguments]
    sys.path[0] = os.path.dirname(tool)
    runpy.run_path(tool, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
