"""What the benchmarks' command lines have in common: a mistake of theirs ends with status 2.

Status 1 is that of a target that was missed.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from replicate.errors import UserError

USAGE = 2


def at_least(low: int) -> Callable[[str], int]:
    """A type of argparse: a whole number, not below `low`."""

    def whole_number(text: str) -> int:
        if (number := int(text)) < low:
            raise argparse.ArgumentTypeError(f"{number} is below {low}")
        return number

    return whole_number


def run(main: Callable[[], int | None]) -> None:
    """Ends with what main answers; with one message and USAGE where the kit refuses its input."""
    try:
        sys.exit(main())
    except UserError as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        sys.exit(USAGE)
