"""Every benchmark without arguments, one after the other: `python -m tests.bench`, `make bench`.

For a machine that does nothing else. Ends with one line for each: its seconds, and whether a target
was missed. Exit status 1 where one was, or a benchmark came to no end.
"""

import pathlib
import subprocess
import sys
import time

FOLDER = pathlib.Path(__file__).resolve().parent
#: bench_startup.py, bench_explain.py and bench_devices.py are run by themselves: they ask for more
#: room or time, or have no target.
NAMES = ("diff", "score", "convert", "pages", "input", "train", "evaluate")


def main():
    lines, missed = [], False
    begun_all = time.monotonic()
    for name in NAMES:
        print(f"-- bench_{name}.py", flush=True)
        begun = time.monotonic()
        status = subprocess.run([sys.executable, FOLDER / f"bench_{name}.py"]).returncode
        missed |= status != 0
        answer = {0: "no target missed", 1: "a target missed"}.get(status, f"status {status}")
        lines.append(f"{name:10} {time.monotonic() - begun:6.0f} s  {answer}")
    lines.append(f"{'in all':10} {time.monotonic() - begun_all:6.0f} s")
    print("--", *lines, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
