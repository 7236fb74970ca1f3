"""Shows how all runs of a folder stand: state, step, time left, last AP, verdict.

    python tools/status.py runs
    python tools/status.py runs --watch

It reads what the runs keep in their directories, the processes of this machine and, where there
is one, Slurm's queue. A run whose process is gone without a word, or that has been silent for half
an hour on another machine, is dead: the command that launched it continues it.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import dataclasses
import json
import time
from typing import TYPE_CHECKING

from absl import flags

from replicate.errors import UserError
from tools import cli

if TYPE_CHECKING:
    from rich.console import RenderableType

    from replicate.launch.status import Status

_WATCH = flags.DEFINE_bool("watch", False, "show it again and again, until Ctrl-C.")
_INTERVAL = flags.DEFINE_float("interval_s", 5, "--watch: seconds between.", lower_bound=0.1)
_JSON = flags.DEFINE_bool("json", False, "a JSON list instead of the table.")


def main(folders: list[str]) -> int:
    if len(folders) != 1:
        raise UserError("give one folder of runs, or a run directory: python tools/status.py runs")
    if _WATCH.value:
        return _watch(folders[0])
    from replicate.launch import status

    runs = status.of_folder(folders[0])
    if _JSON.value:
        print(json.dumps([dataclasses.asdict(run) for run in runs], indent=1))
    else:
        from rich.console import Console

        console = Console()
        console.print(_page(folders[0], runs, console.width))
    return cli.DONE


def _page(folder: str, runs: "list[Status]", width: int) -> "RenderableType":
    from replicate.launch import board

    return board.table(runs, width) if runs else f"no run in {folder} yet"


def _watch(folder: str) -> int:
    from rich.console import Console
    from rich.live import Live

    from replicate.launch import status

    console = Console()
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while not getattr(sys.stdout, "unread", False):
            page = _page(folder, status.of_folder(folder), console.width)
            live.update(page, refresh=True)
            time.sleep(_INTERVAL.value)
    return cli.DONE


if __name__ == "__main__":
    cli.run(main)
