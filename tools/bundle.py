"""Packs what a run claims into one file that others can check again.

    python tools/bundle.py runs/first --output=claim.tar.gz
    python tools/verify_claim.py claim.tar.gz --annotations_file=instances_val2017.json

It holds the config, the manifests of the records, the detections and metrics of the last
evaluation, the log, the environment, the lock file, the verdict and the report, and a list of them
with the SHA-256 of each. Of the groundtruth it holds hashes alone: no image, no annotation. What
lets someone in (a password in an address) is refused; folders of this machine that the files name
stay in them, and are told. The same run gives the same bytes.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

from absl import flags

from replicate.errors import UserError
from tools import cli

_OUTPUT = flags.DEFINE_string("output", None, "the .tar.gz to write")


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise UserError("give one run: python tools/bundle.py runs/first --output=claim.tar.gz")
    if not _OUTPUT.value.endswith((".tar.gz", ".tgz")):
        raise UserError(f"--output: {_OUTPUT.value}: a .tar.gz is written; name it so")
    from replicate import claim

    digest = claim.bundle(arguments[0], _OUTPUT.value)
    named = claim.folders_named(_OUTPUT.value)
    if named:
        print(
            f"the run's files are claimed as they are, and name folders of this machine: "
            f"{', '.join(named[:4])}{', …' * (len(named) > 4)}",
            file=sys.stderr,
        )
    print(f"{_OUTPUT.value}\nclaim.json has SHA-256 {digest}; publish it beside the file")


if __name__ == "__main__":
    cli.run(main, required=["output"])
