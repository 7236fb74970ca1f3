"""A result that somebody else can check again: bundled by who claims it, verified by who doubts it.

    from replicate import claim
    claim.bundle("runs/a", "claim.tar.gz")
    claim.verify("claim.tar.gz", "instances_val2017.json").differences   # [] where it holds

A bundle holds what the figure and the verdict follow from (config, manifests, detections, logs,
environment, lock file), the figure, the verdict and the report, and `claim.json`, which has the
SHA-256 of each. Of the groundtruth it has the hashes, no image and no annotation.
"""

from replicate.claim.bundling import bundle, folders_named
from replicate.claim.verifying import Verification, verify

__all__ = ["Verification", "bundle", "folders_named", "verify"]
