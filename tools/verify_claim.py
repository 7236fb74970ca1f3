"""Checks a claim again, from its bundle and your own annotation file.

    python tools/verify_claim.py claim.tar.gz --annotations_file=instances_val2017.json

Every file must have the hash that the bundle lists and be what its contract says; the detections,
scored against your annotations, must give the claimed metrics; the verdict, decided again from the
config, the log and the manifests, must be the claimed one; the report must be made of these files.
Nothing else is needed: no images, no weights, no run directory.

Exit status: 0 verified, 1 not (what differs is named), 2 the bundle or the annotation file cannot
be read.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
__import__("replicate.stopping")  # from here on Ctrl-C is one message

import re

from absl import flags

from replicate.errors import UserError
from tools import cli

_ANNOTATIONS = flags.DEFINE_string(
    "annotations_file", None, "your own COCO annotations (.json, .json.gz)"
)
_SHA256 = flags.DEFINE_string(
    "sha256", None, "of claim.json, where it was published: tells that it is this claim"
)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise UserError("give one bundle: python tools/verify_claim.py claim.tar.gz …")
    from replicate import claim

    expected = None if _SHA256.value is None else _SHA256.value.strip().lower()
    if expected is not None and not re.fullmatch("[0-9a-f]{64}", expected):
        raise UserError(f"--sha256={_SHA256.value}: 64 digits of 0-9a-f, as tools/bundle.py prints")
    verification = claim.verify(arguments[0], _ANNOTATIONS.value)
    if expected and verification.claim_sha256 != expected:
        verification.differences.insert(
            0, f"claim.json: has SHA-256 {verification.claim_sha256}, not {expected}"
        )
    print(verification.text())
    return cli.NEGATIVE if verification.differences else cli.DONE


if __name__ == "__main__":
    cli.run(main, required=["annotations_file"])
